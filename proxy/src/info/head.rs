//! What routing, filters and formats see of a message's head, whatever the version of HTTP.

mod matching;

use std::borrow::Cow;

pub(crate) use matching::header_matches;

/// Fields whose lines Envoy joins with `,` as they arrive, so that matchers and formats see one
/// value. Sorted.
const LISTS: [&str; 37] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "authentication",
    "authorization",
    "cache-control",
    "cdn-loop",
    "content-encoding",
    "content-type",
    "expect",
    "grpc-accept-encoding",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "referer",
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-external-address",
    "x-envoy-is-timeout-retry",
    "x-envoy-original-host",
    "x-envoy-original-path",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

/// Whether the lines of a field are one value.
pub(crate) fn is_list(name: &str) -> bool {
    LISTS.binary_search(&name).is_ok()
}

/// The name of a field as it is compared.
pub(crate) fn lower_case(name: &str) -> Cow<'_, str> {
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => name.to_ascii_lowercase().into(),
        false => name.into(),
    }
}

/// The fields of a head, or trailers.
pub trait Fields {
    /// Shows the lines of a field to `look`, in order, until it says yes: whether it did. The name
    /// is in lower case.
    fn any_line<'h>(&'h self, name: &str, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool;
    /// Shows the name of each line to `look`, in order and in lower case, until it says yes: whether
    /// it did.
    fn any_name<'h>(&'h self, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool;

    /// Whether there is a field of a lower-case name.
    fn has(&self, name: &str) -> bool {
        self.any_line(name, &mut |_| true)
    }

    /// The first of the fields of a lower-case name.
    fn first(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut first = None;
        self.any_line(name, &mut |line| {
            first = Some(line);
            true
        });
        first
    }

    /// A field's value by lower-case name: of several lines the first, of a list all of it.
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        let is_list = is_list(name);
        let mut value: Option<Cow<'_, str>> = None;
        self.any_line(name, &mut |line| {
            match &mut value {
                None => value = Some(line),
                Some(value) => {
                    let list = value.to_mut();
                    list.push(',');
                    list.push_str(&line);
                }
            }
            !is_list
        });
        value
    }
}

/// A request head.
pub trait RequestHead: Fields {
    /// The method.
    fn method(&self) -> &str;
    /// Path and query; `/` if there is none.
    fn path(&self) -> &str;
    /// `Host` or `:authority`; may be empty.
    fn authority(&self) -> &str;
    /// `HTTP/1.1`
    fn protocol(&self) -> &'static str;

    /// Whether `holds` is true of a value of a header or a pseudo header. Each line is looked at by
    /// itself: one more line must not hide another from a rule.
    fn any_value(&self, name: &str, holds: &mut dyn FnMut(&str) -> bool) -> bool {
        if name.starts_with(':') || name == "host" || is_list(name) {
            return self.field(name).is_some_and(|value| holds(&value));
        }
        self.any_line(name, &mut |line| holds(&line))
    }

    /// The path without the query and the fragment.
    fn path_only(&self) -> &str {
        let path = self.path();
        path.find(['?', '#']).map_or(path, |end| &path[..end])
    }

    /// A header or a pseudo header.
    fn field(&self, name: &str) -> Option<Cow<'_, str>> {
        match name {
            ":method" => Some(self.method().into()),
            ":path" => Some(self.path().into()),
            ":authority" | "host" => Some(self.authority().into()),
            ":scheme" => Some("http".into()),
            name => self.header(name),
        }
    }
}

/// A response head.
pub trait ResponseHead: Fields {
    /// The status.
    fn status(&self) -> u16;

    /// A header, or `:status`.
    fn field(&self, name: &str) -> Option<Cow<'_, str>> {
        match name {
            ":status" => Some(self.status().to_string().into()),
            name => self.header(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_found() {
        assert!(LISTS.is_sorted());
        assert!(is_list("x-forwarded-for") && !is_list("x-m"));
    }
}
