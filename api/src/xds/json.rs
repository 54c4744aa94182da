//! YAML and JSON of xDS messages, through every `typed_config`.
//!
//! Reading is strict: a field Envoy's API does not have, a value of the wrong type and a key given
//! twice are errors that name the field. Writing gives what Envoy's `/config_dump` gives: proto
//! field names, 64-bit integers as strings, defaults left out.
//!
//! All of it needs protobuf descriptors, which take about 6 MB once loaded. [`Descriptors`] holds
//! them; drop it as soon as the text is read or written.

use std::{io::Read, thread};

use envoy_types::pb::{envoy::config::bootstrap::v3::Bootstrap, google::protobuf::Any};
use flate2::read::ZlibDecoder;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions, prost::Message};
use serde_json::Value;

use super::{codec, type_url};

mod nesting;
mod text;

/// Why a text is not the message it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text is neither YAML nor JSON, or a mapping has a key twice.
    #[error("line {line}, column {column}: {reason}")]
    Syntax {
        /// Line of the text, from 1; 0 where unknown.
        line: usize,
        /// Column in the line, from 1; 0 where unknown.
        column: usize,
        /// What is wrong.
        reason: String,
    },
    /// The text is well-formed, but a value does not belong where it is.
    #[error("{}: {reason}", if path.is_empty() { "top level" } else { path })]
    Field {
        /// The field, such as `static_resources.listeners[0].name`; empty at the top.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The message's own type is not among those this build can read.
    #[error("{0}: this type cannot be read from or written as text")]
    UnknownType(String),
}

/// The descriptors of every message that can be read and written as text.
#[derive(Debug)]
pub struct Descriptors(DescriptorPool);

/// Reads a bootstrap file: the YAML or JSON that `envoy --config-path` takes.
///
/// # Errors
/// [`JsonError`] names the place in the text or the field that is wrong.
pub fn read_bootstrap(text: &str) -> Result<Bootstrap, JsonError> {
    let mut bootstrap = Any {
        type_url: type_url::BOOTSTRAP.to_owned(),
        value: Vec::with_capacity(text.len().max(1)),
    };
    let read = || -> Result<(), JsonError> {
        let read = Descriptors::load().read(type_url::BOOTSTRAP, text)?;
        bootstrap.value.extend_from_slice(&read.value);
        Ok(())
    };
    // Reading takes 5 MiB for a moment. On a thread of its own, they go back to the system with the
    // thread's heap, as nothing stays in it: the bytes are in the caller's, and so are the
    // descriptors that prost-reflect keeps for ever. On the caller's, what lives on would pin them.
    drop(DescriptorPool::global());
    thread::scope(|scope| match scope.spawn(read).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })?;
    codec::unpack_bootstrap(&bootstrap).map_err(|error| JsonError::Field {
        path: String::new(),
        reason: error.to_string(),
    })
}

/// Reads one message of the given type URL from YAML or JSON.
///
/// # Errors
/// As [`read_bootstrap`], and [`JsonError::UnknownType`] for a type URL that `roots.txt` lacks.
pub fn message_from_yaml(type_url: &str, text: &str) -> Result<Any, JsonError> {
    Descriptors::load().read(type_url, text)
}

/// The message as JSON, with its type in `@type`. See [`Descriptors::to_json`].
#[must_use]
pub fn to_json(any: &Any) -> Value {
    Descriptors::load().to_json(any)
}

/// The message as YAML, with its type in `@type`. See [`Descriptors::to_json`].
#[must_use]
pub fn to_yaml(any: &Any) -> String {
    Descriptors::load().to_yaml(any)
}

// === impl Descriptors ===

impl Descriptors {
    /// Builds the descriptors: about 6 ms in a release build.
    #[must_use]
    pub fn load() -> Self {
        let embedded: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.zlib"));
        let mut descriptors = Vec::new();
        ZlibDecoder::new(embedded)
            .read_to_end(&mut descriptors)
            .expect("the build compressed it");
        let pool = DescriptorPool::decode(descriptors.as_slice());
        Self(pool.expect("tests decode the same bytes"))
    }

    /// Reads one message of the given type URL from YAML or JSON.
    ///
    /// # Errors
    /// [`JsonError`] names the place in the text or the field that is wrong.
    pub fn read(&self, type_url: &str, text: &str) -> Result<Any, JsonError> {
        let name = type_url.rsplit('/').next().unwrap_or_default();
        let unknown = || JsonError::UnknownType(type_url.to_owned());
        let descriptor = self.0.get_message_by_name(name).ok_or_else(unknown)?;
        let mut track = serde_path_to_error::Track::new();
        let tree = serde_path_to_error::Deserializer::new(text::parse(text)?, &mut track);
        let message = DynamicMessage::deserialize(descriptor, tree);
        let message = message.map_err(|error| JsonError::Field {
            path: text::field_path(&track.path()),
            reason: text::reason(&error.to_string()),
        })?;
        Ok(Any {
            type_url: type_url.to_owned(),
            value: message.encode_to_vec(),
        })
    }

    /// The message as JSON, with its type in `@type`. What cannot be decoded, or holds a type this
    /// build does not know, is shown as base64 in `value`.
    #[must_use]
    pub fn to_json(&self, any: &Any) -> Value {
        let options = SerializeOptions::new().use_proto_field_name(true);
        let descriptor = self.0.get_message_by_name("google.protobuf.Any");
        let written = descriptor
            .and_then(|any_type| DynamicMessage::decode(any_type, &*any.encode_to_vec()).ok())
            .filter(|message| nesting::is_bounded(message, nesting::LIMIT))
            .and_then(|message| {
                let tree = serde_json::value::Serializer;
                message.serialize_with_options(tree, &options).ok()
            });
        match written {
            Some(mut tree) => {
                text::shorten_numbers(&mut tree);
                tree
            }
            None => text::opaque(any),
        }
    }

    /// The message as YAML, with its type in `@type`. See [`Descriptors::to_json`].
    #[must_use]
    pub fn to_yaml(&self, any: &Any) -> String {
        yaml_serde::to_string(&self.to_json(any)).expect("a tree of JSON values is YAML")
    }
}

#[cfg(test)]
mod tests;
