//! Messages: what makes one of fields, and what does not (RFC 9113 section 8).

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, request,
    response,
    uri::{Authority, PathAndQuery, Scheme},
};

use crate::http::{
    authority,
    codec::hpack::{Encoder, Field, Pseudo},
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// Fields that a map has room for at first: those of most messages, and some that are added.
const ROOM: usize = 12;

/// A field section on its way.
#[derive(Debug, Default)]
pub(super) struct Section {
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Option<PathAndQuery>,
    status: Option<StatusCode>,
    content_length: Option<u64>,
    fields: HeaderMap,
    size: usize,
    limit: usize,
    has_fields: bool,
    is_malformed: bool,
}

/// Marks a request whose fields are more than are taken: those that came last are missing.
#[derive(Debug, Clone, Copy)]
pub struct TooLarge;

/// The message is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

// === impl Section ===

impl Section {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// There is not as much room for it any more.
    pub(super) fn tighten(&mut self, limit: usize) {
        self.limit = self.limit.min(limit);
    }

    /// Bytes that it comes to, as RFC 9113 section 6.5.2 counts them: of what is too large, what is kept.
    pub(super) fn size(&self) -> usize {
        self.size.min(self.limit)
    }

    /// More than is taken.
    pub(super) fn is_too_large(&self) -> bool {
        self.size > self.limit
    }

    pub(super) fn add(&mut self, field: Field) {
        self.size = self.size.saturating_add(field.size());
        let added = match field {
            Field::Pseudo(..) if self.has_fields => Err(Malformed),
            Field::Pseudo(name, value) => self.add_pseudo(name, value),
            Field::Regular(name, value) => self.add_field(name, value),
            Field::NoValue(..) | Field::NoName(..) => Err(Malformed),
        };
        self.is_malformed |= added.is_err();
    }

    fn add_pseudo(&mut self, name: Pseudo, value: bytes::Bytes) -> Result<(), Malformed> {
        match name {
            Pseudo::Method => set(&mut self.method, Method::from_bytes(&value).ok()),
            Pseudo::Scheme => set(&mut self.scheme, Scheme::try_from(&value[..]).ok()),
            Pseudo::Authority => set(&mut self.authority, authority(value)),
            Pseudo::Path => {
                // A fragment never is sent (RFC 9110 section 7.1), and would be lost here.
                let whole = Some(value).filter(|path| !path.is_empty() && !path.contains(&b'#'));
                let path = whole.and_then(|path| PathAndQuery::from_maybe_shared(path).ok());
                set(&mut self.path, path)
            }
            Pseudo::Status => set(&mut self.status, StatusCode::from_bytes(&value).ok()),
            // It comes from those who were told that they may (RFC 8441).
            Pseudo::Protocol => Err(Malformed),
        }
    }

    fn add_field(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Malformed> {
        self.has_fields = true;
        if is_of_connection(&name) {
            return Err(Malformed);
        }
        if name == header::TE && !value.as_bytes().eq_ignore_ascii_case(b"trailers") {
            return Err(Malformed);
        }
        if name == header::CONTENT_LENGTH {
            let length = length(value.as_bytes()).ok_or(Malformed)?;
            // RFC 9110 section 8.6: said again it may be, once it is passed on.
            if let Some(before) = self.content_length.replace(length) {
                return if before == length {
                    Ok(())
                } else {
                    Err(Malformed)
                };
            }
        }
        // By what is asked for an answer is chosen, even to a request that is too large.
        if self.is_too_large() && name != header::CONTENT_TYPE {
            return Ok(());
        }
        if self.fields.capacity() == 0 {
            self.fields.reserve(ROOM);
        }
        self.fields.try_append(name, value).map_err(|_| Malformed)?;
        Ok(())
    }

    /// A request, and the length that its body says it has.
    pub(super) fn request(mut self) -> Result<(request::Parts, Option<u64>), Malformed> {
        let is_too_large = self.is_too_large();
        self.take_host()?;
        let method = self.method.take().ok_or(Malformed)?;
        let uri = match (self.scheme, self.authority, self.path) {
            (None, Some(authority), None) if method == Method::CONNECT => {
                let mut parts = http::uri::Parts::default();
                parts.authority = Some(authority);
                parts
            }
            (Some(scheme), Some(authority), Some(path))
                if method != Method::CONNECT && is_path_of(&path, &method) =>
            {
                let mut parts = http::uri::Parts::default();
                parts.scheme = Some(scheme);
                parts.authority = Some(authority);
                parts.path_and_query = Some(path);
                parts
            }
            _ => return Err(Malformed),
        };
        if self.is_malformed || self.status.is_some() {
            return Err(Malformed);
        }
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = method;
        head.uri = Uri::from_parts(uri).map_err(|_| Malformed)?;
        head.version = Version::HTTP_2;
        head.headers = self.fields;
        if is_too_large {
            head.extensions.insert(TooLarge);
        }
        Ok((head, self.content_length))
    }

    /// A response, and the length that its body says it has.
    pub(super) fn response(self) -> Result<(response::Parts, Option<u64>), Malformed> {
        let status = self.status.ok_or(Malformed)?;
        let is_wrong = self.is_malformed
            || self.is_too_large()
            || self.method.is_some()
            || self.scheme.is_some()
            || self.path.is_some()
            || self.authority.is_some()
            // RFC 9113 section 8.6: there is no switching.
            || status == StatusCode::SWITCHING_PROTOCOLS;
        if is_wrong {
            return Err(Malformed);
        }
        let (mut head, ()) = http::Response::new(()).into_parts();
        head.status = status;
        head.version = Version::HTTP_2;
        head.headers = self.fields;
        Ok((head, self.content_length))
    }

    /// Trailers. What frames or routes a message does not belong there (RFC 9110 section 6.5.1).
    pub(super) fn trailers(mut self) -> Result<HeaderMap, Malformed> {
        let is_wrong = self.is_malformed
            || self.is_too_large()
            || self.method.is_some()
            || self.scheme.is_some()
            || self.path.is_some()
            || self.authority.is_some()
            || self.status.is_some();
        if is_wrong {
            return Err(Malformed);
        }
        self.fields.remove(header::CONTENT_LENGTH);
        self.fields.remove(header::HOST);
        Ok(self.fields)
    }

    /// RFC 9113 section 8.3.1: `host` stands in for `:authority`, and says nothing else beside it.
    fn take_host(&mut self) -> Result<(), Malformed> {
        let header::Entry::Occupied(entry) = self.fields.entry(header::HOST) else {
            return Ok(());
        };
        let (_, mut values) = entry.remove_entry_mult();
        let host = values.next().ok_or(Malformed)?;
        if values.next().is_some() {
            return Err(Malformed);
        }
        drop(values);
        let host = authority(bytes::Bytes::copy_from_slice(host.as_bytes())).ok_or(Malformed)?;
        match &self.authority {
            None => self.authority = Some(host),
            Some(authority) if is_same(authority, &host, self.scheme.as_ref()) => {}
            Some(_) => return Err(Malformed),
        }
        Ok(())
    }
}

/// Once, and something.
fn set<T>(place: &mut Option<T>, value: Option<T>) -> Result<(), Malformed> {
    let value = value.ok_or(Malformed)?;
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed),
    }
}

/// RFC 9113 section 8.3.1: without user information, and one for whoever reads it.
fn authority(text: bytes::Bytes) -> Option<Authority> {
    authority::Authority::parse(&text).ok()?;
    Authority::from_maybe_shared(text).ok()
}

fn is_same(one: &Authority, other: &Authority, scheme: Option<&Scheme>) -> bool {
    let port = |authority: &Authority| {
        let usual = if scheme == Some(&Scheme::HTTPS) {
            443
        } else {
            80
        };
        authority.port_u16().unwrap_or(usual)
    };
    one == other || (one.host().eq_ignore_ascii_case(other.host()) && port(one) == port(other))
}

fn is_path_of(path: &PathAndQuery, method: &Method) -> bool {
    let path = path.as_str();
    path.starts_with('/') || (path == "*" && *method == Method::OPTIONS)
}

/// RFC 9113 section 8.2.2: they belong to a connection of HTTP/1.
fn is_of_connection(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::TRANSFER_ENCODING
        || *name == header::UPGRADE
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
}

/// A length: digits, and nothing else.
fn length(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| is_number)?;
    text.parse().ok()
}

/// Writes a request's fields.
pub(super) fn write_request(encoder: &mut Encoder, out: &mut Vec<u8>, head: &request::Parts) {
    encoder.begin(out);
    encoder.pseudo(out, Pseudo::Method, head.method.as_str());
    let uri = &head.uri;
    if head.method != Method::CONNECT {
        encoder.pseudo(out, Pseudo::Scheme, uri.scheme_str().unwrap_or("http"));
    }
    if let Some(authority) = uri.authority() {
        encoder.pseudo(out, Pseudo::Authority, authority.as_str());
    }
    if head.method != Method::CONNECT {
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        encoder.pseudo(out, Pseudo::Path, path);
    }
    write_fields(encoder, out, &head.headers);
}

/// Writes a response's fields.
pub(super) fn write_response(encoder: &mut Encoder, out: &mut Vec<u8>, head: &response::Parts) {
    encoder.begin(out);
    encoder.pseudo(out, Pseudo::Status, head.status.as_str());
    write_fields(encoder, out, &head.headers);
}

/// Writes trailers.
pub(super) fn write_trailers(encoder: &mut Encoder, out: &mut Vec<u8>, trailers: &HeaderMap) {
    encoder.begin(out);
    write_fields(encoder, out, trailers);
}

/// Writes all fields that can be said.
fn write_fields(encoder: &mut Encoder, out: &mut Vec<u8>, fields: &HeaderMap) {
    for (name, value) in fields {
        let is_sayable = !is_of_connection(name) && (name != header::TE || value == "trailers");
        if is_sayable {
            encoder.field(out, name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::http::codec::hpack::Decoder;

    /// The section of `fields`, read as a peer would send it.
    fn section(fields: &[(&str, &str)]) -> Section {
        let mut octets = Vec::new();
        for (name, value) in fields {
            let lengths = [name, value].map(|text| u8::try_from(text.len()).expect("short"));
            octets.extend_from_slice(&[0, lengths[0]]);
            octets.extend_from_slice(name.as_bytes());
            octets.push(lengths[1]);
            octets.extend_from_slice(value.as_bytes());
        }
        let mut section = Section::new(300);
        let read = Decoder::default().decode(&octets, |field| section.add(field));
        assert_eq!(read, Ok(octets.len()));
        section
    }

    /// `GET http://h/` with changes: a field without a value is left out.
    fn get(changes: &[(&str, &str)]) -> Result<request::Parts, Malformed> {
        let usual = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "h"),
            (":path", "/"),
        ];
        let is_changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
        let usual = usual.into_iter().filter(|(name, _)| !is_changed(name));
        let changes = changes.iter().copied().filter(|(_, value)| *value != "-");
        let fields: Vec<_> = match changes.clone().all(|(name, _)| name.starts_with(':')) {
            true => changes.chain(usual).collect(),
            false => usual.chain(changes).collect(),
        };
        section(&fields).request().map(|(head, _)| head)
    }

    #[test]
    fn requests_are_read() {
        let cases: [(&[(&str, &str)], &str); 8] = [
            (&[], "http://h/"),
            (&[(":path", "/a?b")], "http://h/a?b"),
            (&[(":authority", "-"), ("host", "o:81")], "http://o:81/"),
            (&[("host", "h")], "http://h/"),
            (&[("host", "H:80")], "http://h/"),
            (&[(":method", "OPTIONS"), (":path", "*")], "http://h*"),
            (
                &[(":method", "CONNECT"), (":scheme", "-"), (":path", "-")],
                "h",
            ),
            (&[("te", "trailers")], "http://h/"),
        ];
        for (changes, uri) in cases {
            let head = get(changes).expect(uri);
            let is_same = head.uri == uri
                || (uri == "http://h*" && head.uri.path_and_query().is_some_and(|p| p == "*"));
            assert!(is_same, "{changes:?}: {}", head.uri);
            assert!(!head.headers.contains_key(header::HOST));
        }
    }

    #[test]
    fn malformed_requests_are_refused() {
        let cases: [&[(&str, &str)]; 41] = [
            &[(":method", "-")],
            &[(":method", "G T")],
            &[(":scheme", "-")],
            &[(":path", "-")],
            &[(":path", "")],
            &[(":path", "a")],
            &[(":path", "*")],
            &[(":path", "/a#b")],
            &[(":authority", "-")],
            &[(":authority", "")],
            &[(":authority", "u:p@h")],
            &[(":authority", "h/a")],
            &[(":authority", "-"), ("host", "u@h")],
            &[(":authority", "-"), ("host", "x/y")],
            &[("host", "other")],
            &[("host", "h:81")],
            &[("host", "h"), ("host", "h")],
            &[(":method", "GET"), (":method", "GET")],
            &[(":path", "/"), (":path", "/")],
            &[(":status", "200")],
            &[(":protocol", "websocket")],
            &[(":unknown", "a")],
            &[("a", "b"), (":extra", "c")],
            &[("A", "b")],
            &[("a b", "c")],
            &[("a", "b\r\nc: d")],
            &[("a", " b")],
            &[("a", "b\t")],
            &[("connection", "close")],
            &[("keep-alive", "1")],
            &[("proxy-connection", "close")],
            &[("transfer-encoding", "chunked")],
            &[("upgrade", "h2c")],
            &[("te", "gzip")],
            &[("te", "trailers, gzip")],
            &[("content-length", "1"), ("content-length", "2")],
            &[("content-length", "+1")],
            &[("content-length", "1, 1")],
            &[("content-length", "")],
            &[(":method", "CONNECT")],
            &[
                (":method", "CONNECT"),
                (":scheme", "-"),
                (":path", "-"),
                (":authority", "-"),
            ],
        ];
        for changes in cases {
            assert_eq!(
                get(changes).map(|head| head.uri),
                Err(Malformed),
                "{changes:?}"
            );
        }
        let late = [
            (":method", "GET"),
            (":path", "/"),
            ("a", "b"),
            (":scheme", "http"),
            (":authority", "h"),
        ];
        assert!(section(&late).request().is_err());
    }

    #[test]
    fn a_length_is_said_once() {
        let same = [("content-length", "2"), ("content-length", "2")];
        let head = get(&same).expect("a request");
        assert_eq!(
            head.headers.get_all(header::CONTENT_LENGTH).iter().count(),
            1
        );
    }

    #[test]
    fn a_request_that_is_too_large_keeps_what_came_first() {
        let long = "v".repeat(120);
        let head = get(&[
            ("a", "b"),
            ("x", &long),
            ("y", &long),
            ("content-type", "c"),
        ]);
        let head = head.expect("a request");
        assert!(head.extensions.get::<TooLarge>().is_some());
        let names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["a", "content-type"]);
        assert!(get(&[("a", "b")]).expect("a request").extensions.is_empty());
    }

    #[test]
    fn responses_are_read_or_refused() {
        let response = |fields: &[(&str, &str)]| {
            section(fields)
                .response()
                .map(|(head, length)| (head.status.as_u16(), length))
        };
        assert_eq!(response(&[(":status", "200")]), Ok((200, None)));
        assert_eq!(
            response(&[(":status", "999"), ("content-length", "7")]),
            Ok((999, Some(7)))
        );
        let wrong: [&[(&str, &str)]; 8] = [
            &[],
            &[(":status", "99")],
            &[(":status", "099")],
            &[(":status", "1000")],
            &[(":status", "101")],
            &[(":status", "200"), (":status", "200")],
            &[(":status", "200"), (":path", "/")],
            &[(":status", "200"), ("connection", "close")],
        ];
        for fields in wrong {
            assert_eq!(response(fields), Err(Malformed), "{fields:?}");
        }
    }

    #[test]
    fn trailers_carry_no_pseudo_fields_and_frame_nothing() {
        let trailers = |fields: &[(&str, &str)]| section(fields).trailers().map(|map| map.len());
        assert_eq!(
            trailers(&[("a", "b"), ("host", "h"), ("content-length", "3")]),
            Ok(1)
        );
        assert_eq!(trailers(&[(":path", "/x")]), Err(Malformed));
        assert_eq!(trailers(&[("connection", "close")]), Err(Malformed));
    }

    #[test]
    fn what_cannot_be_said_is_left_out() {
        let (mut head, ()) = http::Response::new(()).into_parts();
        for (name, value) in [
            ("connection", "x"),
            ("te", "gzip"),
            ("upgrade", "h2c"),
            ("a", "b"),
        ] {
            head.headers.insert(name, HeaderValue::from_static(value));
        }
        let (mut out, mut fields) = (Vec::new(), Vec::new());
        write_response(&mut Encoder::default(), &mut out, &head);
        let read = Decoder::default().decode(&out, |field| fields.push(field));
        assert_eq!(read, Ok(out.len()));
        let status = Field::Pseudo(Pseudo::Status, Bytes::from_static(b"200"));
        let field = Field::Regular(HeaderName::from_static("a"), HeaderValue::from_static("b"));
        assert_eq!(fields, [status, field]);
    }
}
