//! Paths in their normal form (RFC 3986 section 6.2.2), so that what a route forbids cannot be
//! asked for in other words. The details are Envoy's, so that a request takes the same route.

use crate::config::http::{EscapedSlashes, PathOptions};

/// A path that has no normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a path")]
pub struct BadPath;

/// What becomes of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It stays as it is.
    Same,
    /// This is used in its place.
    New(Vec<u8>),
    /// The client is to ask for this instead.
    Redirect(Vec<u8>),
}

// === impl PathOptions ===

impl PathOptions {
    /// What becomes of a path with its query. Escaped slashes come first, and merging last, so that no
    /// step makes what one before it would have seen.
    ///
    /// # Errors
    /// It has no normal form, or escaped slashes where these are not taken.
    pub fn apply(self, path: &[u8]) -> Result<Applied, BadPath> {
        // What is no path has no normal form: `*`, or nothing at all.
        if self == Self::default() || path.first() != Some(&b'/') {
            return Ok(Applied::Same);
        }
        let end = path.iter().position(|byte| *byte == b'?');
        let (path_only, query) = path.split_at(end.unwrap_or(path.len()));
        let unescaped = match self.escaped_slashes {
            EscapedSlashes::Keep => None,
            _ => unescape_slashes(path_only),
        };
        if unescaped.is_some() && self.escaped_slashes == EscapedSlashes::Reject {
            return Err(BadPath);
        }
        let redirects = unescaped.is_some() && self.escaped_slashes == EscapedSlashes::Redirect;
        let before = unescaped.as_deref().unwrap_or(path_only);
        let mut new = match self.normalize {
            true => normalize(before)?,
            false => before.to_vec(),
        };
        if self.merge_slashes {
            new.dedup_by(|next, before| (*next, *before) == (b'/', b'/'));
        }
        if new == path_only {
            return Ok(Applied::Same);
        }
        new.extend_from_slice(query);
        Ok(match redirects {
            true => Applied::Redirect(new),
            false => Applied::New(new),
        })
    }
}

/// A path as a reference (RFC 3986 section 4.2). One that begins with two slashes would name another host.
pub(crate) fn reference(path: &str) -> String {
    match path.starts_with("//") || path.starts_with("/\\") {
        true => format!("/.{path}"),
        false => path.to_owned(),
    }
}

/// The path with its escaped slashes, either of them, as what they stand for; none if there are none.
fn unescape_slashes(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match rest {
            [b'%', b'2', b'f' | b'F', after @ ..] => (b'/', after),
            [b'%', b'5', b'c' | b'C', after @ ..] => (b'\\', after),
            _ => (byte, after),
        };
        out.push(byte);
        rest = after;
    }
    (out.len() < path.len()).then_some(out)
}

/// Resolves dot segments, and escapes or unescapes what may be written both ways.
fn normalize(path: &[u8]) -> Result<Vec<u8>, BadPath> {
    let mut out = Vec::with_capacity(path.len());
    let is_slash = |byte: &u8| matches!(byte, b'/' | b'\\');
    let mut segments = path[1..].split(is_slash).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match dots(segment) {
            Some(count) => {
                if count == 2 {
                    let parent = out.iter().rposition(|byte| *byte == b'/');
                    out.truncate(parent.unwrap_or(0));
                }
                if is_last {
                    out.push(b'/');
                }
            }
            None => {
                out.push(b'/');
                push_segment(&mut out, segment)?;
            }
        }
    }
    Ok(out)
}

/// How many dots a segment consists of, if it is nothing else and they are one or two. Parameters
/// behind dots do not count, lest `/..;/` mean one thing here and another to a servlet container.
fn dots(segment: &[u8]) -> Option<u8> {
    let plain = segment.split(|byte| *byte == b';').next()?;
    if matches!(plain, b"." | b"..") {
        return u8::try_from(plain.len()).ok();
    }
    let (mut rest, mut count) = (segment, 0);
    while !rest.is_empty() {
        rest = match rest {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return None,
        };
        count += 1;
    }
    matches!(count, 1 | 2).then_some(count)
}

fn push_segment(out: &mut Vec<u8>, segment: &[u8]) -> Result<(), BadPath> {
    let digit = |at: usize| char::from(*segment.get(at)?).to_digit(16);
    let mut at = 0;
    while let Some(&byte) = segment.get(at) {
        let escaped = match byte {
            b'%' => digit(at + 1).zip(digit(at + 2)),
            _ => None,
        };
        let value = escaped.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        match value {
            Some(0) => return Err(BadPath),
            Some(value) if is_unreserved(value) => {
                out.push(value);
                at += 3;
            }
            Some(_) => {
                out.extend_from_slice(&segment[at..at + 3]);
                at += 3;
            }
            None if matches!(byte, b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}') => {
                out.extend_from_slice(format!("%{byte:02X}").as_bytes());
                at += 1;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Ok(())
}

/// RFC 3986 section 2.3
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(normalize: bool, merge_slashes: bool, path: &str) -> String {
        let options = PathOptions {
            normalize,
            merge_slashes,
            escaped_slashes: EscapedSlashes::Keep,
        };
        made_of(options, path)
    }

    fn made_of(options: PathOptions, path: &str) -> String {
        let text = |path| String::from_utf8(path).expect("text");
        match options.apply(path.as_bytes()) {
            Ok(Applied::Same) => path.to_owned(),
            Ok(Applied::New(new)) => text(new),
            Ok(Applied::Redirect(new)) => format!("to {}", text(new)),
            Err(BadPath) => "bad".to_owned(),
        }
    }

    #[test]
    fn a_path_leads_to_no_other_host() {
        for (path, leads_to) in [
            ("/a//b", "/a//b"),
            ("//evil.example/x", "/.//evil.example/x"),
            ("/\\evil.example", "/./\\evil.example"),
        ] {
            assert_eq!(reference(path), leads_to);
        }
    }

    #[test]
    fn escaped_slashes_are_taken_before_anything_else() {
        let with = |escaped_slashes, rest: bool| PathOptions {
            normalize: rest,
            merge_slashes: rest,
            escaped_slashes,
        };
        use EscapedSlashes::{Forward, Keep, Redirect, Reject};
        for (path, action, alone, with_all) in [
            ("/a%2fb", Keep, "/a%2fb", "/a%2fb"),
            ("/a%2Fb%5C?%2f", Forward, "/a/b\\?%2f", "/a/b/?%2f"),
            ("/a/..%2f../b", Forward, "/a/../../b", "/b"),
            ("/a%252fb", Forward, "/a%252fb", "/a%252fb"),
            ("/a%2fb", Redirect, "to /a/b", "to /a/b"),
            ("/a%2f%2fb", Redirect, "to /a//b", "to /a/b"),
            ("/a//b?%2f", Redirect, "/a//b?%2f", "/a/b?%2f"),
            ("/a%5cb", Reject, "bad", "bad"),
            ("/a?%5cb", Reject, "/a?%5cb", "/a?%5cb"),
        ] {
            assert_eq!(
                made_of(with(action, false), path),
                alone,
                "{path} {action:?}"
            );
            assert_eq!(
                made_of(with(action, true), path),
                with_all,
                "{path} {action:?}"
            );
        }
    }

    /// What Envoy 1.40 makes of each.
    #[test]
    fn paths_become_what_envoy_makes_of_them() {
        for (path, normal) in [
            ("/", "/"),
            ("*", "*"),
            ("/a/../b", "/b"),
            ("/a/./b", "/a/b"),
            ("/../..", "/"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/b/../", "/a/"),
            ("/%2e/x", "/x"),
            ("/a/%2E%2e/b", "/b"),
            ("/a/.%2e", "/"),
            ("//a//b", "//a//b"),
            ("/a//../b", "/a/b"),
            ("//../x", "/x"),
            ("/a\\..\\b", "/b"),
            ("/%41%7e%2d", "/A~-"),
            ("/%2f%5c%5C", "/%2f%5c%5C"),
            ("/%zz/%/%4", "/%zz/%/%4"),
            ("/a/..?b/../c//d", "/?b/../c//d"),
            ("/\"<>`{}|^[]", "/%22%3C%3E%60%7B%7D%7C%5E[]"),
            ("/%c3%A9%0a", "/%c3%A9%0a"),
            ("/%00", "bad"),
            ("/a/.../.a/..a", "/a/.../.a/..a"),
            ("/a/..;x/b", "/b"),
            ("/a/.;/b", "/a/b"),
            ("/a/..%3b/b", "/a/..%3b/b"),
            ("/a/%2e%2e;/b", "/a/..;/b"),
            ("/a/%2e.%2f", "/a/..%2f"),
            ("/a%252e%252e/b", "/a%252e%252e/b"),
        ] {
            assert_eq!(apply(true, false, path), normal, "{path}");
            assert_eq!(apply(false, false, path), path);
        }
    }

    #[test]
    fn slashes_are_merged_in_the_path_alone() {
        for (path, merged) in [
            ("//a///b//", "/a/b/"),
            ("/a//../b?c//d", "/a/../b?c//d"),
            ("/a", "/a"),
        ] {
            assert_eq!(apply(false, true, path), merged, "{path}");
        }
        assert_eq!(apply(true, true, "//a/.//..//b"), "/a/b");
    }

    proptest::proptest! {
        #[test]
        fn a_normal_path_stays_as_it_is(path in "/[a.%2eE;/\\\\]{0,20}") {
            let once = apply(true, true, &path);
            if once != "bad" {
                let dots = |segment: &&str| matches!(*segment, "." | "..");
                proptest::prop_assert!(once.split('/').find(dots).is_none(), "{}", once);
            }
        }
    }
}
