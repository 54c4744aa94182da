//! Who is behind an endpoint.

use std::{cell::OnceCell, sync::Arc};

use weir_api::workload::Workload;

use crate::net::tls::TlsInfo;

/// Who is behind an endpoint, as discovery says, and as certificates have shown.
pub(crate) struct UpstreamPeer {
    pub(crate) workload: Arc<Workload>,
    /// Those who speak for it share an identity, so that the first handshake says it for all.
    principals: OnceCell<Box<Principals>>,
}

/// SPIFFE identities of both ends of a connection, by the certificates that they have shown.
pub(crate) struct Principals {
    pub(crate) own: Option<Box<str>>,
    pub(crate) peer: Box<str>,
}

// === impl UpstreamPeer ===

impl UpstreamPeer {
    pub(crate) fn new(workload: Arc<Workload>) -> Self {
        Self {
            workload,
            principals: OnceCell::new(),
        }
    }

    /// What certificates have shown; none before, and where there are none.
    pub(crate) fn principals(&self) -> Option<&Principals> {
        self.principals.get().map(|principals| &**principals)
    }

    /// A handshake with it is done.
    pub(crate) fn note(&self, tls: &TlsInfo) {
        if self.principals.get().is_none()
            && let Some(peer) = tls.peer_names().and_then(|names| names.uris.first())
        {
            let own = tls.local_names().and_then(|names| names.uris.first());
            self.principals.get_or_init(|| {
                Box::new(Principals {
                    own: own.map(|own| own.as_str().into()),
                    peer: peer.as_str().into(),
                })
            });
        }
    }
}
