//! Response heads.

use std::{borrow::Cow, ops::Range};

use httparse::{EMPTY_HEADER, Status};

use super::{
    body::{Body, Framing},
    head::{Field, FieldKind, HeadError, Semantics, collect, range},
    request::Parsed,
};
use crate::info::head::{Fields, ResponseHead, lower_case};

/// Headers that are parsed without allocating.
const USUAL_HEADERS: usize = 64;
/// Headers a response may have. Envoy's default, too, is 100 unless configured.
const MAX_HEADERS: usize = 256;

/// A response head: where its parts lie in the buffer it was read into.
#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) reason: Range<usize>,
    pub(crate) minor_version: u8,
    pub(crate) fields: Vec<Field>,
    pub(crate) semantics: Semantics,
}

/// A response head with the buffer it was read into.
pub(crate) struct ReadResponse<'b> {
    pub(crate) bytes: &'b [u8],
    pub(crate) response: &'b Response,
}

// === impl ReadResponse ===

impl ReadResponse<'_> {
    fn text(&self, range: &Range<usize>) -> &str {
        let bytes = self.bytes.get(range.clone()).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl Fields for ReadResponse<'_> {
    fn any_line<'h>(&'h self, name: &str, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        let named = |field: &&Field| self.text(&field.name).eq_ignore_ascii_case(name);
        let mut lines = self.response.fields.iter().filter(named);
        lines.any(|field| look(self.text(&field.value).into()))
    }

    fn any_name<'h>(&'h self, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        let mut fields = self.response.fields.iter();
        fields.any(|field| look(lower_case(self.text(&field.name))))
    }
}

impl ResponseHead for ReadResponse<'_> {
    fn status(&self) -> u16 {
        self.response.status
    }
}

// === impl Response ===

impl Response {
    /// Reads a head from the front of `bytes`.
    pub(crate) fn parse(&mut self, bytes: &[u8]) -> Result<Parsed, HeadError> {
        let mut usual = [EMPTY_HEADER; USUAL_HEADERS];
        match self.parse_into(bytes, &mut usual) {
            Err(HeadError::TooManyHeaders) => {
                self.parse_into(bytes, &mut vec![EMPTY_HEADER; MAX_HEADERS])
            }
            parsed => parsed,
        }
    }

    fn parse_into<'b>(
        &mut self,
        bytes: &'b [u8],
        headers: &mut [httparse::Header<'b>],
    ) -> Result<Parsed, HeadError> {
        let mut response = httparse::Response::new(headers);
        let length = match response.parse(bytes) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Ok(Parsed::Partial),
            Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooManyHeaders),
            Err(_) => return Err(HeadError::Malformed),
        };
        let (Some(status), Some(version)) = (response.code, response.version) else {
            return Err(HeadError::Malformed);
        };
        // RFC 9110 section 15. What is beyond 599 is some server's own, and unambiguous.
        if status < 100 {
            return Err(HeadError::Malformed);
        }
        self.semantics = collect(bytes, response.headers, &mut self.fields)?;
        self.status = status;
        self.minor_version = version;
        self.reason = response
            .reason
            .map_or(0..0, |reason| range(bytes, reason.as_bytes()));
        Ok(Parsed::Complete(length))
    }

    /// The first value of a header, whatever its case, in the `bytes` it was parsed from.
    pub(crate) fn header<'b>(&self, bytes: &'b [u8], name: &[u8]) -> Option<&'b [u8]> {
        let mut fields = self.fields.iter();
        let named = |field: &&Field| bytes[field.name.clone()].eq_ignore_ascii_case(name);
        fields.find(named).map(|field| &bytes[field.value.clone()])
    }

    /// Whether there is a field of this kind.
    pub(crate) fn has(&self, kind: FieldKind) -> bool {
        self.fields.iter().any(|field| field.kind == kind)
    }

    /// Whether another response follows: 1xx, but not 101.
    pub(crate) fn is_informational(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// The body that follows (RFC 9112 section 6.3).
    pub(crate) fn body(&self, to_head_request: bool) -> Body {
        let bodiless = (100..200).contains(&self.status) || matches!(self.status, 204 | 304);
        if to_head_request || bodiless {
            return Body::none();
        }
        let framing = self.semantics.framing.unwrap_or(Framing::UntilClose);
        Body::new(framing).without_trailers(&self.semantics.nominated)
    }

    /// How the body is framed, or one would be that is not sent. A message of which nobody can
    /// say what its framing would mean has none (RFC 9110 section 8.6, RFC 9112 section 6.1).
    pub(crate) fn framing(&self) -> Option<Framing> {
        match (self.status, self.semantics.framing) {
            (100..200 | 204, _) | (304, Some(Framing::Chunked)) => None,
            (_, framing) => framing,
        }
    }

    /// Whether the endpoint will take another request on this connection.
    pub(crate) fn keeps_alive(&self) -> bool {
        // Who frames a body where none can be may send one.
        let odd = self.framing().is_none()
            && !matches!(self.semantics.framing, None | Some(Framing::Length(0)));
        if odd {
            return false;
        }
        match self.minor_version {
            // Who speaks HTTP/1.0 and says chunked may mean either (RFC 9112 section 6.1).
            0 if self.semantics.framing == Some(Framing::Chunked) => false,
            0 => self.semantics.keep_alive && !self.semantics.close,
            _ => !self.semantics.close,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Response {
        let mut response = Response::default();
        let parsed = response
            .parse(format!("{head}\r\n\r\n").as_bytes())
            .expect(head);
        assert!(matches!(parsed, Parsed::Complete(_)));
        response
    }

    #[test]
    fn the_body_follows_from_status_method_and_framing() {
        let framing = |head: &str| parse(head).body(false).framing();
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nContent-Length: 3"),
            Framing::Length(3)
        );
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"),
            Framing::Chunked
        );
        assert_eq!(framing("HTTP/1.1 200 OK"), Framing::UntilClose);
        for head in [
            "HTTP/1.1 204 No Content",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 3",
        ] {
            assert!(parse(head).body(false).has_ended(), "{head}");
        }
        assert!(
            parse("HTTP/1.1 200 OK\r\nContent-Length: 3")
                .body(true)
                .has_ended()
        );
    }

    #[test]
    fn what_has_no_status_is_no_response() {
        for line in [
            "HTTP/1.1 099 X",
            "HTTP/1.1 000 X",
            "HTTP/1.1 20 X",
            "HTTP/1.1 2000 X",
        ] {
            let bytes = format!("{line}\r\n\r\n");
            let parsed = Response::default().parse(bytes.as_bytes());
            assert_eq!(parsed, Err(HeadError::Malformed), "{line}");
        }
        assert_eq!(parse("HTTP/1.1 999 Denied").status, 999);
    }

    #[test]
    fn versions_have_different_defaults_for_keeping_alive() {
        assert!(parse("HTTP/1.1 200 OK").keeps_alive());
        assert!(!parse("HTTP/1.1 200 OK\r\nConnection: Close").keeps_alive());
        assert!(!parse("HTTP/1.0 200 OK").keeps_alive());
        assert!(!parse("HTTP/1.1 204 No Content\r\nContent-Length: 2").keeps_alive());
        assert!(!parse("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked").keeps_alive());
        assert!(parse("HTTP/1.1 304 Not Modified\r\nContent-Length: 2").keeps_alive());
        assert!(parse("HTTP/1.1 204 No Content\r\nContent-Length: 0").keeps_alive());
        let kept = "HTTP/1.0 200 OK\r\nConnection: keep-alive";
        assert!(parse(kept).keeps_alive());
        assert!(!parse(&format!("{kept}\r\nTransfer-Encoding: chunked")).keeps_alive());
    }
}
