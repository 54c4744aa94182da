//! Heads of messages: where their parts lie in the bytes as they came.

use std::ops::Range;

use weir_api::xds::peer::UNDELIVERED;

use super::body::Framing;
use crate::http::authority::BadAuthority;

/// A head that cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not HTTP, or ambiguous about where the message ends.
    #[error("malformed head")]
    Malformed,
    /// More headers than allowed.
    #[error("too many headers")]
    TooManyHeaders,
    /// A transfer coding other than chunked.
    #[error("unsupported transfer coding")]
    UnsupportedTransferCoding,
}

// === impl HeadError ===

impl From<BadAuthority> for HeadError {
    fn from(_: BadAuthority) -> Self {
        Self::Malformed
    }
}

/// A header field: where its name and its value lie.
#[derive(Debug, Clone)]
pub struct Field {
    /// Of the name.
    pub name: Range<usize>,
    /// Of the value, without surrounding white space.
    pub value: Range<usize>,
    /// What it means to a proxy.
    pub kind: FieldKind,
}

/// Headers a proxy acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// None of the below.
    Other,
    /// `Host`
    Host,
    /// `Connection`
    Connection,
    /// `Keep-Alive`, `Proxy-Connection`: of this hop alone.
    HopByHop,
    /// `Upgrade`
    Upgrade,
    /// `Content-Length`
    ContentLength,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `TE`
    Te,
    /// `Server`
    Server,
    /// `Date`
    Date,
    /// `X-Request-Id`
    RequestId,
    /// `X-Forwarded-Proto`
    ForwardedProto,
    /// `X-Forwarded-For`
    ForwardedFor,
    /// `X-Forwarded-Client-Cert`
    ForwardedClientCert,
    /// `X-Weir-Undelivered`
    Undelivered,
    /// Another header that begins with `x-envoy-`.
    XEnvoy,
}

/// What the fields of a head say together about the connection and the body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Semantics {
    /// `Connection: close`
    pub close: bool,
    /// `Connection: keep-alive`
    pub keep_alive: bool,
    /// `Connection: upgrade`
    pub upgrade: bool,
    /// Other names that `Connection` lists, lower case: these headers end at this hop.
    pub nominated: Vec<Box<str>>,
    /// How `Transfer-Encoding` and `Content-Length` frame the body, if they do.
    pub framing: Option<Framing>,
}

// === impl FieldKind ===

impl FieldKind {
    /// The kind of a header by its name, whatever its case.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match name.len() {
            2 if is(b"te") => Self::Te,
            4 if is(b"host") => Self::Host,
            4 if is(b"date") => Self::Date,
            6 if is(b"server") => Self::Server,
            7 if is(b"upgrade") => Self::Upgrade,
            10 if is(b"connection") => Self::Connection,
            10 if is(b"keep-alive") => Self::HopByHop,
            12 if is(b"x-request-id") => Self::RequestId,
            14 if is(b"content-length") => Self::ContentLength,
            15 if is(b"x-forwarded-for") => Self::ForwardedFor,
            16 if is(b"proxy-connection") => Self::HopByHop,
            17 if is(b"transfer-encoding") => Self::TransferEncoding,
            17 if is(b"x-forwarded-proto") => Self::ForwardedProto,
            18 if is(UNDELIVERED.as_bytes()) => Self::Undelivered,
            23 if is(b"x-forwarded-client-cert") => Self::ForwardedClientCert,
            9.. if name[..8].eq_ignore_ascii_case(b"x-envoy-") => Self::XEnvoy,
            _ => Self::Other,
        }
    }

    /// Whether such a field may stand behind a body: none that frames or routes the message, and
    /// none of this hop alone (RFC 9110 section 6.5.1).
    #[must_use]
    pub fn may_be_trailer(self) -> bool {
        !matches!(
            self,
            Self::Host
                | Self::Connection
                | Self::HopByHop
                | Self::Upgrade
                | Self::ContentLength
                | Self::TransferEncoding
                | Self::Te
        )
    }
}

/// Fields that a message means for all its recipients, so that `Connection` must not name them (RFC
/// 9110 section 7.6.1): an option that does is ignored. The field stays as the client said it,
/// whatever became of it on the way here.
const FOR_ALL_RECIPIENTS: [&[u8]; 15] = [
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"location",
    b"range",
    b"set-cookie",
    b"trailer",
    b"vary",
    b"via",
    b"x-forwarded-host",
];

/// Whether a field of this name stays whatever `Connection` lists. What frames or addresses a
/// message stays above all: it is decided by what was parsed.
fn is_for_all_recipients(name: &[u8]) -> bool {
    match FieldKind::of(name) {
        FieldKind::Host
        | FieldKind::ContentLength
        | FieldKind::TransferEncoding
        | FieldKind::Te
        | FieldKind::Server
        | FieldKind::Date
        | FieldKind::RequestId
        | FieldKind::ForwardedClientCert
        | FieldKind::ForwardedProto
        | FieldKind::ForwardedFor => true,
        FieldKind::Connection
        | FieldKind::HopByHop
        | FieldKind::Upgrade
        | FieldKind::Undelivered
        | FieldKind::XEnvoy => false,
        FieldKind::Other => {
            let is = |known: &&[u8]| name.eq_ignore_ascii_case(known);
            FOR_ALL_RECIPIENTS.iter().any(is)
        }
    }
}

/// Whether a list in a field's value has this element, whatever its parameters.
pub(crate) fn lists(value: &[u8], element: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|listed| {
        let name = listed.split(|byte| *byte == b';').next();
        name.is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(element))
    })
}

/// Locates `part`, which lies within `whole`.
pub(super) fn range(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

/// Fills `fields` from parsed headers and says what they mean together.
pub(super) fn collect(
    bytes: &[u8],
    headers: &[httparse::Header<'_>],
    fields: &mut Vec<Field>,
) -> Result<Semantics, HeadError> {
    let mut semantics = Semantics::default();
    let (mut length, mut chunked) = (None::<u64>, false);
    fields.clear();
    fields.reserve(headers.len());
    for header in headers {
        let kind = FieldKind::of(header.name.as_bytes());
        match kind {
            FieldKind::Connection => semantics.read_connection(header.value),
            // Never standard, and still sent by old clients that talk to a proxy.
            FieldKind::HopByHop if header.value.eq_ignore_ascii_case(b"close") => {
                semantics.close = true;
            }
            FieldKind::ContentLength => {
                let value = content_length(header.value).ok_or(HeadError::Malformed)?;
                if length.replace(value).is_some_and(|other| other != value) {
                    return Err(HeadError::Malformed);
                }
            }
            FieldKind::TransferEncoding if header.value.eq_ignore_ascii_case(b"chunked") => {
                // Twice chunked is a message that two parsers may read differently.
                if chunked {
                    return Err(HeadError::Malformed);
                }
                chunked = true;
            }
            FieldKind::TransferEncoding => return Err(HeadError::UnsupportedTransferCoding),
            _ => {}
        }
        let (name, value) = (
            range(bytes, header.name.as_bytes()),
            range(bytes, header.value),
        );
        fields.push(Field { name, value, kind });
    }
    semantics.framing = match (chunked, length) {
        // RFC 9112 section 6.1: the way requests are smuggled.
        (true, Some(_)) => return Err(HeadError::Malformed),
        (true, None) => Some(Framing::Chunked),
        (false, Some(length)) => Some(Framing::Length(length)),
        (false, None) => None,
    };
    Ok(semantics)
}

/// Digits and nothing else; a list of equal values counts as one (RFC 9110 section 8.6).
fn content_length(value: &[u8]) -> Option<u64> {
    let mut values = std::str::from_utf8(value).ok()?.split(',').map(|value| {
        let value = value.trim_matches([' ', '\t']);
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| value.parse::<u64>().ok()).flatten()
    });
    let first = values.next()??;
    values.all(|value| value == Some(first)).then_some(first)
}

impl Semantics {
    fn read_connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else if !option.is_empty() && !is_for_all_recipients(option) {
                let name = String::from_utf8_lossy(option).to_ascii_lowercase();
                self.nominated.push(name.into());
            }
        }
    }

    /// Whether `Connection` lists this header.
    #[must_use]
    pub fn nominates(&self, name: &[u8]) -> bool {
        self.nominated
            .iter()
            .any(|nominated| name.eq_ignore_ascii_case(nominated.as_bytes()))
    }
}
