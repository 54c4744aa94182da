//! Request heads.

use std::{borrow::Cow, ops::Range};

use httparse::{EMPTY_HEADER, Status};

use super::{
    body::{Body, Framing},
    head::{Field, FieldKind, HeadError, Semantics, collect, range},
};
use crate::{
    http::authority::Authority,
    info::head::{Fields, RequestHead, lower_case},
};

/// Headers that are parsed without allocating.
const USUAL_HEADERS: usize = 64;

/// A request head: a copy of its bytes and where its parts lie. Its memory is used again for the
/// next request of the connection.
#[derive(Debug, Default)]
pub struct Request {
    pub(crate) bytes: Vec<u8>,
    pub(crate) method: Range<usize>,
    /// As it came: a path, a URL, an authority or `*`.
    pub(crate) target: Range<usize>,
    /// Within the target: path and query.
    pub(crate) path: Range<usize>,
    /// `Host`, or the authority of the target, which wins (RFC 9112 section 3.2.2).
    pub(crate) authority: Range<usize>,
    /// The target has an authority, and it is not what `Host` says.
    pub(crate) has_own_authority: bool,
    pub(crate) minor_version: u8,
    pub(crate) fields: Vec<Field>,
    pub(crate) semantics: Semantics,
}

/// Whether there is a whole head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// Yes, of this many bytes.
    Complete(usize),
    /// Not yet.
    Partial,
}

// === impl Request ===

impl Request {
    /// Reads a head from the front of `bytes`. After an error the request is empty.
    ///
    /// # Errors
    /// What is no head, or has more headers than allowed.
    pub fn parse(&mut self, bytes: &[u8], max_headers: usize) -> Result<Parsed, HeadError> {
        let mut usual = [EMPTY_HEADER; USUAL_HEADERS];
        let parsed = match self.parse_into(bytes, &mut usual[..max_headers.min(USUAL_HEADERS)]) {
            Err(HeadError::TooManyHeaders) if max_headers > USUAL_HEADERS => {
                self.parse_into(bytes, &mut vec![EMPTY_HEADER; max_headers])
            }
            parsed => parsed,
        };
        if !matches!(parsed, Ok(Parsed::Complete(_))) {
            self.clear();
        }
        parsed
    }

    fn parse_into<'b>(
        &mut self,
        bytes: &'b [u8],
        headers: &mut [httparse::Header<'b>],
    ) -> Result<Parsed, HeadError> {
        let mut request = httparse::Request::new(headers);
        let length = match request.parse(bytes) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Ok(Parsed::Partial),
            Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooManyHeaders),
            Err(_) => return Err(HeadError::Malformed),
        };
        let (Some(method), Some(target), Some(version)) =
            (request.method, request.path, request.version)
        else {
            return Err(HeadError::Malformed);
        };
        self.semantics = collect(bytes, request.headers, &mut self.fields)?;
        self.method = range(bytes, method.as_bytes());
        self.target = range(bytes, target.as_bytes());
        self.minor_version = version;
        if version == 0 && self.semantics.framing == Some(Framing::Chunked) {
            return Err(HeadError::Malformed);
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(&bytes[..length]);
        self.read_target()?;
        Ok(Parsed::Complete(length))
    }

    /// RFC 9112 section 3.2: the four forms of the target.
    fn read_target(&mut self) -> Result<(), HeadError> {
        let mut hosts = self
            .fields
            .iter()
            .filter(|field| field.kind == FieldKind::Host);
        let host = hosts.next().map(|field| field.value.clone());
        if hosts.next().is_some() {
            return Err(HeadError::Malformed);
        }
        let target = self.text(&self.target);
        // A fragment is the client's own affair (RFC 9110 section 4.2.5).
        if target.contains(&b'#') {
            return Err(HeadError::Malformed);
        }
        // Also where the target's authority wins: somebody behind us may look at this one.
        if let Some(host) = &host {
            Authority::parse(self.text(host))?;
        }
        let (start, end) = (self.target.start, self.target.end);
        let (authority, path) = if self.is_connect() {
            if !Authority::parse(target)?.names_a_port() {
                return Err(HeadError::Malformed);
            }
            // RFC 9110 section 9.3.6: what follows is the tunnel's.
            match self.semantics.framing {
                None | Some(Framing::Length(0)) => {}
                Some(Framing::Chunked) => return Err(HeadError::UnsupportedTransferCoding),
                Some(_) => return Err(HeadError::Malformed),
            }
            (Some(start..end), end..end)
        } else if target.starts_with(b"/") || (target == b"*" && self.is_options()) {
            (None, start..end)
        } else {
            let length = absolute_authority(target)?;
            (
                Some(length.start + start..length.end + start),
                length.end + start..end,
            )
        };
        let same = |own: &Range<usize>| {
            let host = host.as_ref().map(|host| self.text(host));
            host.is_some_and(|host| host == self.text(own))
        };
        self.has_own_authority = authority.as_ref().is_some_and(|own| !same(own));
        self.authority = authority.or(host).unwrap_or(end..end);
        self.path = path;
        Ok(())
    }

    /// Adds a field, in the place of all of its kind.
    pub(crate) fn set_field(&mut self, kind: FieldKind, name: &str, value: &str) {
        self.fields.retain(|field| field.kind != kind);
        let start = self.bytes.len();
        for part in [name, ": ", value] {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        let value = self.bytes.len() - value.len()..self.bytes.len();
        let name = start..start + name.len();
        self.fields.push(Field { name, value, kind });
    }

    /// Puts another path and query in the place of those that came.
    pub(crate) fn set_path(&mut self, path: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(path);
        self.path = start..self.bytes.len();
    }

    /// Puts another authority in the place of the one that came, or of none.
    pub(crate) fn set_authority(&mut self, authority: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(authority);
        self.authority = start..self.bytes.len();
        self.has_own_authority = true;
    }

    pub(crate) fn text(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }

    /// The value of the first header of this kind.
    pub(crate) fn field(&self, kind: FieldKind) -> Option<&[u8]> {
        let field = self.fields.iter().find(|field| field.kind == kind)?;
        Some(self.text(&field.value))
    }

    /// The values of all headers of this kind, in order.
    pub(crate) fn all(&self, kind: FieldKind) -> impl Iterator<Item = &[u8]> {
        let fields = self.fields.iter().filter(move |field| field.kind == kind);
        fields.map(|field| self.text(&field.value))
    }

    /// The protocol the client wants to switch to, lower case. Several are one that nobody knows.
    pub(crate) fn upgrade(&self) -> Option<String> {
        let mut offered = self
            .all(FieldKind::Upgrade)
            .filter(|_| self.semantics.upgrade);
        let mut upgrade = String::from_utf8_lossy(offered.next()?).to_ascii_lowercase();
        for more in offered {
            upgrade.push(',');
            upgrade.push_str(&String::from_utf8_lossy(more).to_ascii_lowercase());
        }
        Some(upgrade)
    }

    /// Whether the client may send another request on this connection.
    pub(crate) fn keeps_alive(&self) -> bool {
        match self.minor_version {
            0 => self.semantics.keep_alive && !self.semantics.close,
            _ => !self.semantics.close,
        }
    }

    /// Whether the endpoint is spoken to in HTTP/1.1, whatever the client speaks: not where a tunnel is
    /// asked for, or where there is no host to ask for.
    pub(crate) fn is_sent_on_as_http11(&self) -> bool {
        self.minor_version > 0 || !(self.authority.is_empty() || self.is_connect())
    }

    /// The body that follows.
    pub(crate) fn body(&self) -> Body {
        let framing = self.semantics.framing.unwrap_or(Framing::Length(0));
        Body::new(framing).without_trailers(&self.semantics.nominated)
    }

    /// Whether it asks for a tunnel.
    pub(crate) fn is_connect(&self) -> bool {
        self.text(&self.method) == b"CONNECT"
    }

    fn is_options(&self) -> bool {
        self.text(&self.method) == b"OPTIONS"
    }

    pub(crate) fn is_head(&self) -> bool {
        self.text(&self.method) == b"HEAD"
    }

    /// Forgets the head. Its memory stays unless it was unusually large.
    pub(crate) fn clear(&mut self) {
        let (mut bytes, mut fields) = (
            std::mem::take(&mut self.bytes),
            std::mem::take(&mut self.fields),
        );
        bytes.clear();
        fields.clear();
        if bytes.capacity() > 4096 {
            bytes = Vec::new();
        }
        *self = Self {
            bytes,
            fields,
            ..Self::default()
        };
    }
}

impl Fields for Request {
    fn any_line<'h>(&'h self, name: &str, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        let named = |field: &&Field| self.text(&field.name).eq_ignore_ascii_case(name.as_bytes());
        let mut lines = self.fields.iter().filter(named);
        lines.any(|field| look(text(self.text(&field.value)).into()))
    }

    fn any_name<'h>(&'h self, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        let mut fields = self.fields.iter();
        fields.any(|field| look(lower_case(text(self.text(&field.name)))))
    }
}

impl RequestHead for Request {
    fn method(&self) -> &str {
        text(self.text(&self.method))
    }

    fn path(&self) -> &str {
        match text(self.text(&self.path)) {
            "" if !self.path.is_empty() => "",
            "" => "/",
            path => path,
        }
    }

    fn authority(&self) -> &str {
        text(self.text(&self.authority))
    }

    fn protocol(&self) -> &'static str {
        if self.minor_version == 0 {
            "HTTP/1.0"
        } else {
            "HTTP/1.1"
        }
    }
}

/// Where the authority of a target in absolute form lies.
fn absolute_authority(target: &[u8]) -> Result<Range<usize>, HeadError> {
    let scheme = target.windows(3).position(|three| three == b"://");
    let (scheme, rest) = target.split_at(scheme.ok_or(HeadError::Malformed)?);
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(HeadError::Malformed);
    }
    let rest = &rest[3..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
    let authority = &rest[..end.unwrap_or(rest.len())];
    // RFC 9110 section 4.2.1: there is a host.
    if Authority::parse(authority)?.host.is_empty() {
        return Err(HeadError::Malformed);
    }
    Ok(range(target, authority))
}

/// Bytes as text. What is not UTF-8 matches nothing, and is forwarded as it is.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Request, HeadError> {
        let mut request = Request::default();
        match request.parse(text.as_bytes(), 100)? {
            Parsed::Complete(length) => assert_eq!(length, text.len()),
            Parsed::Partial => panic!("partial: {text:?}"),
        }
        Ok(request)
    }

    #[test]
    fn targets_give_authority_and_path() {
        for (line, authority, path) in [
            ("GET /a?b HTTP/1.1\r\nHost: h:80", "h:80", "/a?b"),
            (
                "GET http://other:81/a?b HTTP/1.1\r\nHost: h",
                "other:81",
                "/a?b",
            ),
            ("GET http://other HTTP/1.1\r\nHost: h", "other", "/"),
            ("OPTIONS * HTTP/1.1\r\nHost: h", "h", "*"),
            ("GET HTTPS://o?b HTTP/1.1\r\nHost: h", "o", "?b"),
            ("CONNECT h:443 HTTP/1.1\r\nHost: x", "h:443", "/"),
            ("CONNECT [::1]:443 HTTP/1.0", "[::1]:443", "/"),
            ("GET / HTTP/1.0", "", "/"),
        ] {
            let request = parse(&format!("{line}\r\n\r\n")).expect(line);
            assert_eq!(
                (request.authority(), request.path()),
                (authority, path),
                "{line}"
            );
        }
    }

    #[test]
    fn ambiguous_messages_are_refused() {
        for headers in [
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1, 2",
            "Content-Length: +1",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Host: a\r\nHost: b",
            "Bad Name: x",
        ] {
            let error = parse(&format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n")).err();
            assert_eq!(error, Some(HeadError::Malformed), "{headers}");
        }
        let error = parse("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n").err();
        assert_eq!(error, Some(HeadError::UnsupportedTransferCoding));
        assert!(parse("POST / HTTP/1.1\r\nContent-Length: 2, 2\r\n\r\n").is_ok());
    }

    #[test]
    fn targets_and_hosts_that_are_none_are_refused() {
        for line in [
            "GET /a#frag HTTP/1.1\r\nHost: h",
            "GET http://h/a#frag HTTP/1.1\r\nHost: h",
            "GET http://h#frag HTTP/1.1\r\nHost: h",
            "GET / HTTP/1.1\r\nHost: x/y",
            "GET / HTTP/1.1\r\nHost: u:p@x",
            "GET / HTTP/1.1\r\nHost: a b",
            "GET / HTTP/1.1\r\nHost: h:port",
            "GET http://good/ HTTP/1.1\r\nHost: x/y",
            "GET http://u:p@h/ HTTP/1.1\r\nHost: h",
            "GET http:///a HTTP/1.1\r\nHost: h",
            "GET ftp://h/a HTTP/1.1\r\nHost: h",
            "GET h/a HTTP/1.1\r\nHost: h",
            "GET * HTTP/1.1\r\nHost: h",
            "CONNECT h:443 HTTP/1.1\r\nHost: h\r\nContent-Length: 2",
            "CONNECT h HTTP/1.1\r\nHost: h",
            "CONNECT :443 HTTP/1.1\r\nHost: h",
            "CONNECT h: HTTP/1.1\r\nHost: h",
            "CONNECT http://h:443/ HTTP/1.1\r\nHost: h",
            "CONNECT /a HTTP/1.1\r\nHost: h",
        ] {
            let error = parse(&format!("{line}\r\n\r\n")).err();
            assert_eq!(error, Some(HeadError::Malformed), "{line}");
        }
    }

    #[test]
    fn connection_names_only_what_may_end_at_this_hop() {
        for (options, nominated) in [
            ("content-length", ""),
            ("close, Content-Length ,x-a", "x-a"),
            ("TRANSFER-ENCODING", ""),
            ("\thost\t, x-a,,x-b", "x-a x-b"),
            (
                "te, trailer, authorization, cookie, cache-control, set-cookie",
                "",
            ),
            (
                "x-forwarded-for, X-Forwarded-Proto, x-forwarded-host, via",
                "",
            ),
            ("keep-alive, upgrade, http2-settings", "http2-settings"),
        ] {
            let head =
                format!("POST / HTTP/1.1\r\nConnection: {options}\r\nContent-Length: 0\r\n\r\n");
            let found = parse(&head).expect(options).semantics.nominated.join(" ");
            assert_eq!(found, nominated, "{options}");
        }
    }

    #[test]
    fn more_headers_than_allowed_are_refused() {
        let headers = |n: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(n));
        assert!(
            Request::default()
                .parse(headers(100).as_bytes(), 100)
                .is_ok()
        );
        let error = Request::default().parse(headers(101).as_bytes(), 100).err();
        assert_eq!(error, Some(HeadError::TooManyHeaders));
    }

    /// Looks at everything there is to see.
    fn look(request: &Request) {
        let _ = (
            request.method(),
            request.path_only(),
            request.authority(),
            request.upgrade(),
        );
        let _ = (
            request.header("host"),
            request.header("content-type"),
            request.keeps_alive(),
        );
    }

    #[test]
    fn a_refused_head_leaves_nothing_behind() {
        let mut request = Request::default();
        for head in [
            "GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
            "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
        ] {
            let _ = request.parse(head.as_bytes(), 100);
            look(&request);
        }
        assert_eq!((request.method(), request.header("host")), ("", None));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            tail in proptest::collection::vec(0_u8..=255, 0..80),
            headers in "([A-Za-z-]{1,20}: ?[a-z0-9,]{0,5}\r\n){0,4}",
        ) {
            let mut request = Request::default();
            let plain = format!("GET / HTTP/1.1\r\n{headers}\r\n");
            let odd = [&b"GET "[..], &tail, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            for bytes in [plain.as_bytes(), &odd, &tail] {
                let _ = request.parse(bytes, 100);
                look(&request);
            }
        }
    }
}
