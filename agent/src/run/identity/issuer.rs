//! Asks an issuer for one certificate.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::timeout;
use tonic::{Code, Request, metadata::AsciiMetadataValue, transport::Channel};
use weir_api::ca::{CertificateClient, CertificateRequest};
use weir_proxy::options::{self, ControlPlaneTls, EndpointError};

/// Time for one attempt, from the dial to the answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Where certificates come from.
#[derive(Debug, Clone)]
pub(in crate::run) struct Issuer {
    /// `host:port`, resolved on each attempt.
    pub(in crate::run) address: String,
    /// Speak TLS. The files are read for each attempt, so that they may rotate.
    pub(in crate::run) tls: Option<ControlPlaneTls>,
    /// Says who asks.
    pub(in crate::run) token_file: PathBuf,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(in crate::run) enum AskError {
    #[error("cannot make a key: {0}")]
    Key(String),
    /// The kubelet mounts it when it has it.
    #[error("cannot read {0}: {1}")]
    File(String, io::Error),
    #[error("the token in {0} is no text for a header")]
    Token(String),
    #[error("cannot reach the control plane: {0}")]
    Connect(String),
    #[error("the control plane did not answer within {0:?}")]
    Silent(Duration),
    #[error("the control plane said {:?}: {}", .0.code(), .0.message())]
    Refused(Box<tonic::Status>),
    #[error("the control plane's answer is none: {0}")]
    Answer(String),
}

// === impl Issuer ===

impl Issuer {
    /// Asks for a certificate by this signing request, and gives the chain.
    pub(super) async fn ask(&self, csr: String) -> Result<Vec<String>, AskError> {
        let attempt = timeout(DEADLINE, self.attempt(csr));
        attempt.await.unwrap_or(Err(AskError::Silent(DEADLINE)))
    }

    async fn attempt(&self, csr: String) -> Result<Vec<String>, AskError> {
        let mut request = Request::new(CertificateRequest {
            csr,
            ..CertificateRequest::default()
        });
        request
            .metadata_mut()
            .insert("authorization", self.bearer()?);
        let mut client = CertificateClient::new(self.connect().await?);
        let answer = client.create_certificate(request).await;
        let answer = answer.map_err(|status| AskError::Refused(Box::new(status)))?;
        Ok(answer.into_inner().cert_chain)
    }

    fn bearer(&self) -> Result<AsciiMetadataValue, AskError> {
        let token = read(&self.token_file)?;
        let value = format!("Bearer {}", String::from_utf8_lossy(&token).trim());
        let wrong = |_| AskError::Token(self.token_file.display().to_string());
        let mut value = AsciiMetadataValue::try_from(value).map_err(wrong)?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn connect(&self) -> Result<Channel, AskError> {
        let endpoint = options::endpoint(&self.address, self.tls.as_ref());
        let endpoint = endpoint.map_err(|error| match error {
            EndpointError::File(name, error) => AskError::File(name, error),
            EndpointError::Endpoint(error) => unreachable(error),
        })?;
        endpoint.connect().await.map_err(unreachable)
    }
}

fn unreachable(error: tonic::transport::Error) -> AskError {
    AskError::Connect(format!("{:#}", anyhow::Error::new(error)))
}

fn read(path: &Path) -> Result<Vec<u8>, AskError> {
    fs::read(path).map_err(|error| AskError::File(path.display().to_string(), error))
}

// === impl AskError ===

impl AskError {
    /// What to do about it, where the issuer does not say so itself.
    pub(super) fn next_step(&self) -> &'static str {
        match self {
            Self::File(..) => {
                "the kubelet mounts it; is the control plane there, and the namespace labelled?"
            }
            Self::Connect(_) | Self::Silent(_) => {
                "is the control plane there, and let in by network policies?"
            }
            Self::Refused(status) if status.code() == Code::Unimplemented => {
                "the control plane is older than this sidecar; upgrade it"
            }
            Self::Refused(_) => "its log says more, at debug",
            Self::Key(_) | Self::Token(_) | Self::Answer(_) => {
                "is another issuer behind that address?"
            }
        }
    }
}
