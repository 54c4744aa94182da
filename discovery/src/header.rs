//! What names and values of headers are made of (RFC 9110, 5.1 and 5.5).

/// Whether a text is the name of a header.
pub(crate) fn is_token(name: &str) -> bool {
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_of_token)
}

/// Whether a text can be the value of a header.
pub(crate) fn is_value(value: &str) -> bool {
    let is_plain = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
    !value.trim().is_empty() && value.bytes().all(is_plain)
}
