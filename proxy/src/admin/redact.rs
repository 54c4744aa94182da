//! What is secret is not shown: fields that Envoy's messages mark as sensitive.

use serde_json::Value as Json;

/// What stands in their place.
const REDACTED: &str = "[redacted]";
/// The same as bytes are shown, base64.
const REDACTED_BYTES: &str = "W3JlZGFjdGVkXQ==";
/// Fields whose every text is secret.
const SECRET: [&str; 6] = [
    "private_key",
    "private_key_provider",
    "pkcs12",
    "password",
    "session_ticket_keys",
    "generic_secret",
];

/// Takes what is secret out of a message.
pub(super) fn redact(message: &mut Json) {
    match message {
        Json::Object(fields) => {
            for (name, value) in fields {
                match SECRET.contains(&name.as_str()) {
                    true => blot_out(name, value),
                    false => redact(value),
                }
            }
        }
        Json::Array(values) => values.iter_mut().for_each(redact),
        _ => {}
    }
}

fn blot_out(name: &str, value: &mut Json) {
    match value {
        Json::Object(fields) => fields
            .iter_mut()
            .for_each(|(name, value)| blot_out(name, value)),
        Json::Array(values) => values.iter_mut().for_each(|value| blot_out(name, value)),
        Json::String(text) => {
            let redacted = match name {
                // The type of what cannot be read, which says nothing of it.
                "@type" => return,
                "inline_bytes" | "value" => REDACTED_BYTES,
                _ => REDACTED,
            };
            redacted.clone_into(text);
        }
        _ => {}
    }
}
