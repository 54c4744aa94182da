//! Cookies, as Envoy reads and writes them.
//!
//! <https://www.rfc-editor.org/rfc/rfc6265>

use std::{borrow::Cow, fmt::Write as _};

use super::head::Fields;

/// What is said of a cookie beside its name and its value.
#[derive(Clone, Copy, Default)]
pub(crate) struct Attributes<'a> {
    /// `Max-Age`, in seconds; 0: none.
    pub(crate) max_age: u64,
    /// `Path`; empty: none.
    pub(crate) path: &'a str,
    /// Others, by name; those without a value are flags.
    pub(crate) others: &'a [(String, String)],
}

/// The value of a request's first cookie of this name, without quotes. None for an empty one.
pub(crate) fn cookie(request: &dyn Fields, name: &str) -> Option<String> {
    let mut found = None;
    request.any_line("cookie", &mut |line: Cow<'_, str>| {
        let mut values = line.split(';').filter_map(|pair| value(pair, name));
        found = values.next().map(str::to_owned);
        found.is_some()
    });
    found.filter(|value| !value.is_empty())
}

/// The value of `name=value`, if that is its name.
fn value<'p>(pair: &'p str, name: &str) -> Option<&'p str> {
    let (key, value) = pair.trim_start_matches(' ').split_once('=')?;
    let quoted = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    (key == name).then(|| quoted.unwrap_or(value))
}

/// The value of `set-cookie` for a cookie that no script of a page sees.
pub(crate) fn set_cookie(name: &str, value: &str, attributes: Attributes<'_>) -> String {
    let mut text = format!("{name}=\"{value}\"");
    // Writing to a string cannot fail.
    if attributes.max_age > 0 {
        let _ = write!(text, "; Max-Age={}", attributes.max_age);
    }
    if !attributes.path.is_empty() {
        let _ = write!(text, "; Path={}", attributes.path);
    }
    for (name, value) in attributes.others {
        let _ = match value.as_str() {
            "" => write!(text, "; {name}"),
            value => write!(text, "; {name}={value}"),
        };
    }
    text.push_str("; HttpOnly");
    text
}

#[cfg(test)]
mod tests {
    use super::{super::local_reply::ReplyFields, *};

    fn read(lines: &[&str], name: &str) -> Option<String> {
        let lines = lines.iter().map(|line| ("cookie", (*line).to_owned()));
        cookie(&ReplyFields(&lines.collect::<Vec<_>>()), name)
    }

    #[test]
    fn the_first_cookie_of_a_name_is_read() {
        for (lines, expected) in [
            (&["a=1; user=x; user=y"] as &[&str], Some("x")),
            (&["a=1", "user=x"], Some("x")),
            (&["user=\"quoted\""], Some("quoted")),
            (&["user=\""], Some("\"")),
            (&["user=a=b"], Some("a=b")),
            (&["user="], None),
            (&["user"], None),
            (&["User=x; my-user=y"], None),
            (&[], None),
        ] {
            assert_eq!(read(lines, "user").as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn attributes_come_in_envoys_order() {
        let others = [
            ("SameSite".to_owned(), "Lax".to_owned()),
            ("Secure".to_owned(), String::new()),
        ];
        let all = Attributes {
            max_age: 5,
            path: "/p",
            others: &others,
        };
        let text = set_cookie("k", "v", all);
        assert_eq!(
            text,
            "k=\"v\"; Max-Age=5; Path=/p; SameSite=Lax; Secure; HttpOnly"
        );
        assert_eq!(
            set_cookie("k", "v", Attributes::default()),
            "k=\"v\"; HttpOnly"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_reading_panic(line in "[ab=;\" é]{0,20}") {
            let _ = read(&[&line], "a");
        }
    }
}
