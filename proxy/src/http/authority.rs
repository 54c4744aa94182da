//! Authorities: what `Host`, `:authority` and targets name. RFC 3986 section 3.2.

/// What names no authority, or more than one: it must not choose where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed authority")]
pub struct BadAuthority;

/// An authority, taken apart. There is no user in it: what may hold one is refused (RFC 9110
/// section 4.2.4, RFC 9113 section 8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'a> {
    /// A name, an address, or an IPv6 address in brackets; may be empty.
    pub host: &'a str,
    /// Digits, if there is a port; may be empty.
    pub port: Option<&'a str>,
}

// === impl Authority ===

impl<'a> Authority<'a> {
    /// Takes apart what was received.
    ///
    /// # Errors
    /// What two recipients could read differently.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BadAuthority> {
        let text = std::str::from_utf8(bytes).map_err(|_| BadAuthority)?;
        let this = Self::split(text);
        let is_digit = |byte: u8| byte.is_ascii_digit();
        if !this.port.is_none_or(|port| port.bytes().all(is_digit)) {
            return Err(BadAuthority);
        }
        let sound = match this.host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').is_some_and(is_address),
            None => is_name(this.host.as_bytes()),
        };
        if sound { Ok(this) } else { Err(BadAuthority) }
    }

    /// Takes apart what is known to be sound, or was configured.
    #[must_use]
    pub fn split(text: &'a str) -> Self {
        // Colons within brackets belong to the address.
        let from = text.rfind(']').map_or(0, |bracket| bracket + 1);
        match text[from..].find(':').map(|colon| from + colon) {
            Some(colon) => Self {
                host: &text[..colon],
                port: Some(&text[colon + 1..]),
            },
            None => Self {
                host: text,
                port: None,
            },
        }
    }
}

impl Authority<'_> {
    /// Whether it says where to connect to (RFC 9112 section 3.2.3).
    #[must_use]
    pub fn names_a_port(&self) -> bool {
        !self.host.is_empty() && self.port.is_some_and(|port| !port.is_empty())
    }
}

/// What may stand between brackets: an IPv6 address, with a zone, or of a version to come.
fn is_address(text: &str) -> bool {
    let known = |byte: u8| byte == b':' || is_name_byte(byte);
    !text.is_empty() && text.bytes().all(known)
}

/// A registered name or an IPv4 address (RFC 3986 section 3.2.2).
fn is_name(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                after
            }
            (b'%', _) => return false,
            (byte, after) if is_name_byte(byte) => after,
            _ => return false,
        };
    }
    true
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' | b'%' // unreserved, and what escapes
                | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for (text, host, port) in [
            ("", "", None),
            ("h", "h", None),
            ("h:80", "h", Some("80")),
            ("h:", "h", Some("")),
            ("under_score.example", "under_score.example", None),
            ("10.0.0.1:8080", "10.0.0.1", Some("8080")),
            ("[::1]", "[::1]", None),
            ("[fe80::1%25eth0]:443", "[fe80::1%25eth0]", Some("443")),
            ("a%20b!$&'()*+,;=~", "a%20b!$&'()*+,;=~", None),
        ] {
            let found = Authority::parse(text.as_bytes());
            assert_eq!(found, Ok(Authority { host, port }), "{text:?}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_none() {
        for text in [
            "u@h",
            "u:p@h",
            "h/x",
            "h?x",
            "h#x",
            "h\\x",
            "h x",
            "h\tx",
            "h:8x",
            "h:80:81",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[::1]x",
            "[a]b:80",
            "h%2",
            "h%zz",
            "<h>",
            "h\"",
            "h^",
            "{h}",
            "h|x",
            "h`",
            "\u{e9}.example",
        ] {
            assert_eq!(
                Authority::parse(text.as_bytes()),
                Err(BadAuthority),
                "{text:?}"
            );
        }
        assert_eq!(Authority::parse(b"\xff"), Err(BadAuthority));
    }
}
