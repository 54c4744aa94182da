//! Paths as flows tell them: bounded, and without what tells one user from another.

/// Segments of a path that are told.
const MAX_SEGMENTS: usize = 8;
/// Longest segment that is told, bytes.
const MAX_SEGMENT: usize = 40;
/// Digits of a segment that is told: more are a number, a date or a key. `v1` and `2024` differ in that.
const MAX_DIGITS: usize = 2;

/// Writes what a path looks like: segments that look like names as they are, `{*}` for others. From
/// where its form may be another one to rules, or it is long, `{**}`.
pub(super) fn template(path: &str, into: &mut String) {
    into.clear();
    let Some(path) = path.strip_prefix('/') else {
        return into.push_str("{**}");
    };
    let mut segments = path.split('/').enumerate().peekable();
    while let Some((index, segment)) = segments.next() {
        into.push('/');
        // A proxy that normalizes paths takes them away, or finds a slash within.
        let is_odd = matches!(segment, "." | "..")
            || segment.contains(['%', '\\'])
            || segment.is_empty() && segments.peek().is_some();
        if is_odd || index == MAX_SEGMENTS {
            return into.push_str("{**}");
        }
        into.push_str(if is_name(segment) { segment } else { "{*}" });
    }
}

/// How a template begins: its first segment.
pub(super) fn beginning(template: &str) -> Option<&str> {
    let rest = template.strip_prefix('/')?;
    let first = &rest[..rest.find('/')?];
    (!first.contains('{')).then(|| &template[..=first.len()])
}

fn is_name(segment: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@$+,;=".contains(&byte);
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    segment.len() <= MAX_SEGMENT && digits <= MAX_DIGITS && segment.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_users_apart_is_left_out() {
        let mut text = String::new();
        for (path, expected) in [
            ("/", "/"),
            ("/api/v1/users", "/api/v1/users"),
            ("/users/17", "/users/17"),
            ("/users/1712", "/users/{*}"),
            ("/users/1712/orders/", "/users/{*}/orders/"),
            ("/o/7b0e7a3c-9df2-4c0e-8a3e-000000000000", "/o/{*}"),
            ("/a/../admin", "/a/{**}"),
            ("/a//b", "/a/{**}"),
            ("/a%2Fb/c", "/{**}"),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/{**}"),
            ("/h\u{e9}llo", "/{*}"),
            ("/a{*}", "/{*}"),
            ("*", "{**}"),
            ("/shop.Pay/Charge", "/shop.Pay/Charge"),
        ] {
            template(path, &mut text);
            assert_eq!(text, expected, "{path}");
        }
        let long = format!("/{}", "a".repeat(41));
        template(&long, &mut text);
        assert_eq!(text, "/{*}");
    }

    #[test]
    fn a_beginning_is_a_name() {
        assert_eq!(beginning("/users/{*}"), Some("/users"));
        for template in ["/users", "/{*}/a", "/", "{**}"] {
            assert_eq!(beginning(template), None, "{template}");
        }
    }
}
