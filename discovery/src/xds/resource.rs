//! A resource as it travels, and its version.

use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc};

use weir_api::{
    annotations::TLS_MODE_MUTUAL,
    xds::{
        TLS_MODE,
        envoy::config::core::v3 as core,
        google::protobuf::{Any, Struct, Value, value},
        on_demand::METADATA_NAMESPACE,
    },
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
pub(super) struct Metadata {
    ours: Vec<(&'static str, String)>,
    /// What stands for an endpoint on a hash ring, under Envoy's key.
    hash_key: Option<String>,
    /// How an endpoint is spoken with, under Envoy's key.
    tls_mode: Option<&'static str>,
}

/// Key of what balancers read, and what one on a hash ring reads of it.
const OF_BALANCERS: &str = "envoy.lb";
const HASH_KEY: &str = "hash_key";
/// Key of what clusters read to choose a transport socket.
const OF_TRANSPORT_SOCKETS: &str = "envoy.transport_socket_match";

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
        Self {
            ours: pairs.into_iter().collect(),
            ..Self::default()
        }
    }

    /// This, of an endpoint that takes mutual TLS.
    pub(super) fn mutual_tls(mut self) -> Self {
        self.tls_mode = Some(TLS_MODE_MUTUAL);
        self
    }

    /// This, of an endpoint that has its place on a hash ring by its IP address alone.
    pub(super) fn hashed_by(mut self, address: IpAddr) -> Self {
        self.hash_key = Some(address.to_string());
        self
    }

    /// `None` if there is nothing to say.
    pub(super) fn to_message(&self) -> Option<core::Metadata> {
        let hash_key = self.hash_key.iter().map(|key| (HASH_KEY, key));
        let ours = self.ours.iter().map(|(key, value)| (*key, value));
        let tls_mode = self.tls_mode.map(str::to_owned);
        let tls_mode = tls_mode.iter().map(|mode| (TLS_MODE, mode));
        let parts = [
            (METADATA_NAMESPACE, fields(ours)),
            (OF_BALANCERS, fields(hash_key)),
            (OF_TRANSPORT_SOCKETS, fields(tls_mode)),
        ];
        let parts = parts
            .into_iter()
            .filter(|(_, part)| !part.fields.is_empty());
        let parts: HashMap<_, _> = parts.map(|(key, part)| (key.to_owned(), part)).collect();
        (!parts.is_empty()).then(|| core::Metadata {
            filter_metadata: parts,
            ..core::Metadata::default()
        })
    }
}

fn fields<'a>(pairs: impl Iterator<Item = (&'static str, &'a String)>) -> Struct {
    let text = |text: &String| Value {
        kind: Some(value::Kind::StringValue(text.clone())),
    };
    Struct {
        fields: pairs
            .map(|(key, value)| (key.to_owned(), text(value)))
            .collect(),
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
        let hash_key = metadata.hash_key.iter().map(|key| (HASH_KEY, key));
        let ours = metadata.ours.iter().map(|(key, value)| (*key, value));
        for (key, value) in ours.chain(hash_key) {
            self.bytes(key.as_bytes());
            self.bytes(value.as_bytes());
        }
        if let Some(mode) = metadata.tls_mode {
            self.bytes(TLS_MODE.as_bytes());
            self.bytes(mode.as_bytes());
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
