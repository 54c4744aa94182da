//! What routing and filters see of a request, whatever the version of HTTP.

use std::borrow::Cow;

/// A request head.
pub trait RequestHead {
    /// The method.
    fn method(&self) -> &str;
    /// Path and query; `/` if there is none.
    fn path(&self) -> &str;
    /// `Host` or `:authority`; may be empty.
    fn authority(&self) -> &str;
    /// A header by lower-case name; several are joined by `,`.
    fn header(&self, name: &str) -> Option<Cow<'_, str>>;
    /// The first of the headers of a lower-case name.
    fn first(&self, name: &str) -> Option<Cow<'_, str>>;
    /// `HTTP/1.1`
    fn protocol(&self) -> &'static str;

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
