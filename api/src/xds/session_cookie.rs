//! What the cookie of a stateful session holds, as Envoy writes it: a message of two fields, which no
//! published `.proto` has.

use prost::Message;

/// Where a session is served, and until when.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SessionCookie {
    /// The endpoint, `10.0.0.1:80`.
    #[prost(string, tag = "1")]
    pub address: String,
    /// Seconds since 1970; 0: for ever.
    #[prost(uint64, tag = "2")]
    pub expires: u64,
}

// === impl SessionCookie ===

impl SessionCookie {
    /// None for bytes that are no such message.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes).ok()
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}
