//! PROXY protocol headers that endpoints are sent.

/// `envoy.config.core.v3.ProxyProtocolConfig`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// How the header is written.
    pub version: ProxyProtocolVersion,
    /// Types and values that follow the addresses in version 2 (`added_tlvs`), each type once.
    pub added_tlvs: Vec<(u8, Vec<u8>)>,
    /// Which of those that the client's own header had follow them.
    pub pass_through: PassThroughTlvs,
}

/// `envoy.config.core.v3.ProxyProtocolPassThroughTLVs`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PassThroughTlvs {
    /// Without one.
    #[default]
    None,
    /// `INCLUDE_ALL`
    All,
    /// `INCLUDE` of these types.
    Types(Vec<u8>),
}

/// `ProxyProtocolConfig.Version`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocolVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

// === impl PassThroughTlvs ===

impl PassThroughTlvs {
    /// Whether one of this type is passed on.
    #[must_use]
    pub fn has(&self, kind: u8) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Types(types) => types.contains(&kind),
        }
    }
}
