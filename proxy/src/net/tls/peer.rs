//! What a handshake has shown of the peer.

use rustls::{CommonState, HandshakeKind, ProtocolVersion, pki_types::CertificateDer};

/// What a handshake has agreed on, and shown of the peer.
#[derive(Debug)]
pub(crate) struct TlsInfo {
    /// The peer's chain, leaf first; empty if it showed none.
    pub(crate) peer: Vec<CertificateDer<'static>>,
    /// ALPN, if the two have agreed on a protocol.
    pub(crate) application_protocol: Option<Box<str>>,
    /// `TLSv1.3`
    pub(crate) version: &'static str,
    /// By its standard name: `TLS_AES_128_GCM_SHA256`.
    pub(crate) cipher_suite: &'static str,
    /// An earlier session was resumed.
    pub(crate) is_resumed: bool,
}

// === impl TlsInfo ===

impl TlsInfo {
    pub(super) fn of(common: &CommonState) -> Self {
        let protocol = common.alpn_protocol();
        let suite = common.negotiated_cipher_suite();
        Self {
            peer: common
                .peer_certificates()
                .map(<[_]>::to_vec)
                .unwrap_or_default(),
            application_protocol: protocol.map(|name| String::from_utf8_lossy(name).into()),
            version: match common.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "",
            },
            cipher_suite: suite
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or_default(),
            is_resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}
