//! The issuer over gRPC.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use tonic::{Request, Response, Status};
use weir_api::ca::{CertificateRequest, CertificateResponse, CertificateService};
use weir_discovery::xds::{Authenticator, identify};

use super::{Issuer, Refusal};

/// The issuer, and who tells it who asks.
#[derive(Debug, Clone)]
pub(crate) struct CertificateAuthority {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    /// Of each connection.
    pub(crate) peer: Option<SocketAddr>,
}

// === impl CertificateAuthority ===

impl CertificateAuthority {
    /// The same for the connection of that peer.
    pub(crate) fn for_peer(&self, peer: SocketAddr) -> Self {
        Self {
            peer: Some(peer),
            ..self.clone()
        }
    }

    async fn answer(&self, request: Request<CertificateRequest>) -> Result<Vec<String>, Refusal> {
        let authenticator = self.authenticator.as_deref();
        let authenticator = authenticator.ok_or(Refusal::NoAuthenticator)?;
        let identity = identify(authenticator, self.peer, request.metadata()).await;
        let identity = identity.map_err(Refusal::Token)?;
        let now = SystemTime::now();
        self.issuer.issue(&identity, request.get_ref(), now).await
    }
}

#[tonic::async_trait]
impl CertificateService for CertificateAuthority {
    async fn create_certificate(
        &self,
        request: Request<CertificateRequest>,
    ) -> Result<Response<CertificateResponse>, Status> {
        let outcome = self.answer(request).await;
        self.issuer.count(&outcome);
        match outcome {
            Ok(cert_chain) => Ok(Response::new(CertificateResponse { cert_chain })),
            Err(refusal) => {
                let reason = refusal.reason().word();
                tracing::debug!(peer = ?self.peer, reason, %refusal, "issued no certificate");
                Err(refusal.into())
            }
        }
    }
}
