//! Heads of HTTP/2 messages.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, Uri, header, request::Parts, response};

use crate::http::head::{Fields, RequestHead, ResponseHead, is_list};

impl Fields for HeaderMap {
    fn any_line<'h>(&'h self, name: &str, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        if name == "cookie" {
            // Its crumbs are one line (RFC 9113 section 8.2.3).
            return joined(self, name).is_some_and(look);
        }
        let mut lines = self.get_all(name).iter();
        lines.any(|value| look(text(value).into()))
    }

    fn any_name<'h>(&'h self, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        let mut names = self.iter();
        names.any(|(name, _)| look(name.as_str().into()))
    }
}

impl Fields for Parts {
    fn any_line<'h>(&'h self, name: &str, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        self.headers.any_line(name, look)
    }

    fn any_name<'h>(&'h self, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        self.headers.any_name(look)
    }
}

impl RequestHead for Parts {
    fn method(&self) -> &str {
        self.method.as_str()
    }

    fn path(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }

    fn authority(&self) -> &str {
        match self.uri.authority() {
            Some(authority) => authority.as_str(),
            None => self.headers.get(header::HOST).map_or("", text),
        }
    }

    fn protocol(&self) -> &'static str {
        "HTTP/2"
    }
}

impl Fields for response::Parts {
    fn any_line<'h>(&'h self, name: &str, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        self.headers.any_line(name, look)
    }

    fn any_name<'h>(&'h self, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        self.headers.any_name(look)
    }
}

impl ResponseHead for response::Parts {
    fn status(&self) -> u16 {
        self.status.as_u16()
    }
}

/// A header by lower-case name; several are joined by `,`, crumbs of a cookie by `; `
/// (RFC 9113 section 8.2.3).
pub(crate) fn joined<'h>(headers: &'h HeaderMap, name: &str) -> Option<Cow<'h, str>> {
    let mut values = headers.get_all(name).iter().map(text);
    let first = values.next()?;
    let Some(second) = values.next() else {
        return Some(first.into());
    };
    let separator = if name == "cookie" { "; " } else { "," };
    let mut all = [first, separator, second].concat();
    for more in values {
        all.push_str(separator);
        all.push_str(more);
    }
    Some(all.into())
}

/// A header's value by lower-case name: of several lines the first, of a list all of it.
pub(crate) fn value<'h>(headers: &'h HeaderMap, name: &str) -> Option<Cow<'h, str>> {
    match name == "cookie" || is_list(name) {
        true => joined(headers, name),
        false => headers.get(name).map(|value| text(value).into()),
    }
}

/// The request's target with a new authority or a new path. What does not make a target changes
/// nothing.
pub(crate) fn with_target(uri: Uri, authority: Option<&str>, path: Option<&str>) -> Uri {
    if authority.is_none() && path.is_none() {
        return uri;
    }
    let before = uri.clone();
    let mut parts = uri.into_parts();
    if let Some(authority) = authority.and_then(|text| text.try_into().ok()) {
        parts.authority = Some(authority);
    }
    if let Some(path) = path.and_then(|text| text.try_into().ok()) {
        parts.path_and_query = Some(path);
    }
    Uri::from_parts(parts).unwrap_or(before)
}

/// What is not UTF-8 matches nothing, and is forwarded as it is.
fn text(value: &HeaderValue) -> &str {
    std::str::from_utf8(value.as_bytes()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_read_as_those_of_http1_do() {
        let request = http::Request::builder()
            .uri("http://h:80/a?b")
            .header("x-a", "1")
            .header("x-a", "2")
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        let (head, ()) = request.body(()).expect("a request").into_parts();
        assert_eq!((head.path(), head.path_only()), ("/a?b", "/a"));
        assert_eq!(head.field(":authority").as_deref(), Some("h:80"));
        assert_eq!(head.header("x-a").as_deref(), Some("1"));
        assert_eq!(value(&head.headers, "x-a").as_deref(), Some("1"));
        assert_eq!(head.header("cookie").as_deref(), Some("a=1; b=2"));
    }

    #[test]
    fn a_target_that_is_none_changes_nothing() {
        let uri = || Uri::from_static("http://h/a");
        let same = |authority, path| with_target(uri(), authority, path).to_string();
        assert_eq!(same(Some("o:81"), Some("/b?c")), "http://o:81/b?c");
        assert_eq!(same(Some("not a host"), None), "http://h/a");
    }
}
