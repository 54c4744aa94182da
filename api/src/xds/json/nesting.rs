//! How deep messages sit in each other's `typed_config`. Decoding bounds the nesting of messages,
//! but each `Any` holds bytes of its own and starts the count anew.

use prost_reflect::{DynamicMessage, ReflectMessage, Value};

/// More than any configuration has, and well within a thread's stack.
pub(super) const LIMIT: usize = 16;

/// Whether at most `limit` `Any`s sit in each other.
pub(super) fn is_bounded(message: &DynamicMessage, limit: usize) -> bool {
    if message.descriptor().full_name() == "google.protobuf.Any" {
        let Some(limit) = limit.checked_sub(1) else {
            return false;
        };
        return content(message).is_none_or(|content| is_bounded(&content, limit));
    }
    message
        .fields()
        .all(|(_, value)| is_value_bounded(value, limit))
}

fn is_value_bounded(value: &Value, limit: usize) -> bool {
    match value {
        Value::Message(message) => is_bounded(message, limit),
        Value::List(values) => values.iter().all(|value| is_value_bounded(value, limit)),
        Value::Map(values) => values.values().all(|value| is_value_bounded(value, limit)),
        _ => true,
    }
}

/// The message in an `Any`, if its type is known and its bytes are of that type.
fn content(any: &DynamicMessage) -> Option<DynamicMessage> {
    let type_url = any.get_field_by_name("type_url")?;
    let bytes = any.get_field_by_name("value")?;
    let name = type_url.as_str()?.rsplit('/').next()?;
    let descriptor = any.descriptor().parent_pool().get_message_by_name(name)?;
    DynamicMessage::decode(descriptor, bytes.as_bytes()?.clone()).ok()
}
