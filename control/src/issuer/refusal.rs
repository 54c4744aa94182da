//! Why a certificate is not issued: what the client is told, and as what it is counted.

use std::time::Duration;

use tonic::{Code, Status};
use weir_api::spiffe::SpiffeError;

use crate::certificates::RequestError;

/// Why a certificate is not issued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "this control plane has no API server to ask whose a token is (--manifests); start it with \
         --service-account-key"
    )]
    NoAuthenticator,
    /// The token is missing or no good.
    #[error("{}", .0.message())]
    Token(Status),
    #[error("too many requests of {0}; ask again in {1:?}")]
    Quota(String, Duration),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the token's identity cannot be in a certificate: {0}")]
    Identity(#[from] SpiffeError),
    #[error(
        "the signing request asks for {asked:?}, but the token is of {own}; leave names out, or \
         use the token of that service account"
    )]
    ForeignName { asked: String, own: String },
    #[error("metadata {0} is not supported; leave it out")]
    Metadata(&'static str),
    #[error("the control plane has not read its CA yet; ask again")]
    NotYet,
    #[error(
        "this control plane was given its own certificate and no CA (--serving-cert-dir); give it a \
         CA in its place (--ca-cert-dir), or ask another issuer"
    )]
    NoAuthority,
    #[error("the CA has ended; replace it: annotate its Secret with weir.dev/rotate=ca")]
    Ended,
    #[error("the control plane is busy signing; ask again")]
    Busy,
    #[error("cannot sign: {0}; the CA's key may be damaged, see the log of the control plane")]
    Sign(String),
}

/// As what a refusal is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Unauthenticated,
    TokenUnchecked,
    Quota,
    Request,
    ForeignName,
    Authority,
    Busy,
}

// === impl Reason ===

impl Reason {
    pub(crate) const ALL: [Self; 7] = [
        Self::Unauthenticated,
        Self::TokenUnchecked,
        Self::Quota,
        Self::Request,
        Self::ForeignName,
        Self::Authority,
        Self::Busy,
    ];

    /// As the metric's label has it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::TokenUnchecked => "token-unchecked",
            Self::Quota => "quota",
            Self::Request => "request",
            Self::ForeignName => "foreign-name",
            Self::Authority => "authority",
            Self::Busy => "busy",
        }
    }
}

// === impl Refusal ===

impl Refusal {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Token(status) if status.code() == Code::Unavailable => Reason::TokenUnchecked,
            Self::Token(_) => Reason::Unauthenticated,
            Self::Quota(..) => Reason::Quota,
            Self::Request(_) | Self::Metadata(_) => Reason::Request,
            Self::Identity(_) | Self::ForeignName { .. } => Reason::ForeignName,
            Self::NoAuthenticator => Reason::TokenUnchecked,
            Self::NotYet | Self::NoAuthority | Self::Ended | Self::Sign(_) => Reason::Authority,
            Self::Busy => Reason::Busy,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Token(status) => status.code(),
            Self::Quota(..) => Code::ResourceExhausted,
            Self::Request(_) | Self::Metadata(_) => Code::InvalidArgument,
            Self::Identity(_) | Self::ForeignName { .. } => Code::PermissionDenied,
            Self::NoAuthenticator | Self::NoAuthority | Self::Ended => Code::FailedPrecondition,
            Self::NotYet | Self::Busy => Code::Unavailable,
            Self::Sign(_) => Code::Internal,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}
