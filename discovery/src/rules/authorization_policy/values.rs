//! What policies say an attribute may be.

use std::net::IpAddr;

use crate::model::{Attribute, Interner, Value};

/// The value that a text is, or why it is none. Accounts without a namespace are of `namespace`.
pub(super) fn value(
    attribute: &Attribute,
    text: &str,
    namespace: &str,
    names: &Interner,
) -> Result<Value, String> {
    if text.is_empty() {
        return Err("is empty: name a value, or leave it out".to_owned());
    }
    match attribute {
        Attribute::SourceIp | Attribute::RemoteIp | Attribute::DestinationIp => network(text),
        Attribute::DestinationPort => match text.parse() {
            Ok(0) | Err(_) => Err(format!("{text:?} is not a port (1 to 65535)")),
            Ok(port) => Ok(Value::Port(port)),
        },
        Attribute::ServiceAccount => account(text, namespace, names),
        Attribute::Path if text.contains(['{', '}']) => template(text, names),
        _ => Ok(pattern(text, names)),
    }
}

fn pattern(text: &str, names: &Interner) -> Value {
    if text == "*" {
        Value::Present
    } else if let Some(suffix) = text.strip_prefix('*') {
        Value::Suffix(names.text(suffix))
    } else if let Some(prefix) = text.strip_suffix('*') {
        Value::Prefix(names.text(prefix))
    } else {
        Value::Exact(names.text(text))
    }
}

/// An address, or a network as `ADDRESS/LENGTH`.
fn network(text: &str) -> Result<Value, String> {
    let wrong = || format!("{text:?} is neither an IP address nor a network such as 10.0.0.0/8");
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => longest,
        Some(length) => length.parse().map_err(|_| wrong())?,
    };
    match length {
        0..=128 if length <= longest => Ok(Value::Network(address, length)),
        _ => Err(wrong()),
    }
}

/// `NAMESPACE/ACCOUNT`, or an account of the policy's own namespace.
fn account(text: &str, namespace: &str, names: &Interner) -> Result<Value, String> {
    let (namespace, account) = text.split_once('/').unwrap_or((namespace, text));
    let is_name = |name: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        !name.is_empty() && name.bytes().all(known)
    };
    if !is_name(namespace) || !is_name(account) {
        return Err(format!(
            "{text:?} is no service account: NAMESPACE/NAME or NAME, without *"
        ));
    }
    Ok(Value::Exact(names.text(&format!("{namespace}/{account}"))))
}

/// A path of which segments are `{*}`, and the last may be `{**}`.
fn template(text: &str, names: &Interner) -> Result<Value, String> {
    let wrong = |reason: &str| Err(format!("{text:?}: {reason}"));
    let Some(segments) = text.strip_prefix('/') else {
        return wrong("a path template begins with a slash");
    };
    let mut segments = segments.split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "{*}" => {}
            "{**}" if segments.peek().is_none() => {}
            "{**}" => return wrong("{**} must be the last segment"),
            _ if segment.contains(['{', '}', '*']) => {
                return wrong("{*} and {**} must be whole segments, and * stands in no other");
            }
            _ => {}
        }
    }
    Ok(Value::Template(names.text(text)))
}
