//! A resource as it travels, and its version.

use std::{fmt, sync::Arc};

use weir_api::xds::{
    envoy::config::core::v3 as core,
    google::protobuf::{Any, Struct, Value, value},
    on_demand::METADATA_NAMESPACE,
};

/// A resource, encoded, under its name and version.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Its name.
    pub name: Arc<str>,
    /// Equal for equal content, whichever replica made it.
    pub version: Version,
    /// The message.
    pub body: Any,
}

/// A digest of a resource's content. Replicas that see the same objects give the same version, so a
/// client may reconnect to any of them and is sent only what differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

/// What `filter_metadata` says under the project's own key.
///
/// Protobuf maps are encoded in no particular order. So a message is digested without its metadata
/// and these pairs, in the order they were given, are digested after it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Metadata(Vec<(&'static str, String)>);

/// FNV-1a: stable across builds and machines, and versions guard against nobody.
#[derive(Debug, Clone, Copy)]
pub(super) struct Digest(u64);

// === impl Version ===

impl Version {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = (text.len() == 16).then_some(text)?;
        u64::from_str_radix(digits, 16).ok().map(Self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

// === impl Metadata ===

impl Metadata {
    pub(super) fn new(pairs: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// `None` if there is nothing to say.
    pub(super) fn to_message(&self) -> Option<core::Metadata> {
        let text = |text: &String| Value {
            kind: Some(value::Kind::StringValue(text.clone())),
        };
        let fields = self
            .0
            .iter()
            .map(|(key, value)| ((*key).to_owned(), text(value)));
        let fields = Struct {
            fields: fields.collect(),
        };
        (!self.0.is_empty()).then(|| core::Metadata {
            filter_metadata: [(METADATA_NAMESPACE.to_owned(), fields)].into(),
            ..core::Metadata::default()
        })
    }
}

// === impl Digest ===

impl Digest {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut digest = Self(0xcbf2_9ce4_8422_2325);
        digest.bytes(bytes);
        digest
    }

    /// Takes in the length too, so that two parts cannot trade bytes unnoticed.
    fn bytes(&mut self, bytes: &[u8]) {
        let length = (bytes.len() as u64).to_le_bytes();
        for byte in length.iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(super) fn metadata(mut self, metadata: &Metadata) -> Self {
        for (key, value) in &metadata.0 {
            self.bytes(key.as_bytes());
            self.bytes(value.as_bytes());
        }
        self
    }

    /// Takes in a resource by its name and version.
    pub(super) fn resource(mut self, resource: &Resource) -> Self {
        self.bytes(resource.name.as_bytes());
        self.bytes(&resource.version.0.to_le_bytes());
        self
    }

    /// Takes in that there is no resource of a name.
    pub(super) fn absent(mut self, name: &str) -> Self {
        self.bytes(name.as_bytes());
        self.bytes(b"");
        self
    }

    pub(super) fn version(self) -> Version {
        Version(self.0)
    }
}
