//! What messages of gRPC look like on HTTP.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes before each message: whether it is compressed, and its length.
pub(crate) const PREFIX: usize = 5;

/// A message behind its prefix.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(0));
    framed.put_slice(message);
    framed.freeze()
}

/// The one message that is all of a body; none for what is compressed, cut or followed by another.
pub(crate) fn only_message(body: &Bytes) -> Option<Bytes> {
    let length = u32::from_be_bytes(body.get(1..PREFIX)?.try_into().ok()?);
    let is_whole = body.first() == Some(&0) && usize::try_from(length).ok()? == body.len() - PREFIX;
    is_whole.then(|| body.slice(PREFIX..))
}

/// A timeout as a header: up to eight digits and a unit.
pub(crate) fn timeout_text(timeout: Duration) -> String {
    const MOST: u128 = 99_999_999;
    let millis = timeout.as_millis();
    let units = [("m", 1), ("S", 1000), ("M", 60_000), ("H", 3_600_000)];
    let fits = units.iter().find(|(_, unit)| millis / unit <= MOST);
    let (name, unit) = fits.unwrap_or(&("H", 3_600_000));
    format!("{}{name}", (millis / unit).min(MOST))
}

/// Whether a `content-type` is one of gRPC.
pub(crate) fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_has_no_more_than_eight_digits() {
        let text = |seconds| timeout_text(Duration::from_secs(seconds));
        assert_eq!(text(60), "60000m");
        assert_eq!(text(99_999), "99999000m");
        assert_eq!(text(100_000), "100000S");
        assert_eq!(text(u64::MAX), "99999999H");
    }

    #[test]
    fn a_body_is_one_message_or_none() {
        let only = |body: &'static [u8]| only_message(&Bytes::from_static(body));
        assert_eq!(only(b"\0\0\0\0\x02ab").as_deref(), Some(&b"ab"[..]));
        assert_eq!(only(b"\0\0\0\0\0").as_deref(), Some(&b""[..]));
        assert_eq!(only_message(&framed(b"abc")).as_deref(), Some(&b"abc"[..]));
        for none in [
            &b"\x01\0\0\0\x02ab"[..],
            b"\0\0\0\0\x03ab",
            b"\0\0\0\0\x01ab",
            b"\0\0",
            b"",
        ] {
            assert_eq!(only(none), None, "{none:?}");
        }
    }
}
