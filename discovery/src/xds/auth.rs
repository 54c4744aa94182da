//! Who a client is, and what it may say about itself.

use std::{fmt, net::SocketAddr, sync::Arc};

use tonic::{Status, metadata::MetadataMap};
use weir_api::{node::NodeId, xds::envoy::config::core::v3::Node};

use crate::model::NamespacedName;

/// Where a client connects from, where that is known.
pub type Peer = Option<SocketAddr>;

/// Tells who is behind a token.
#[tonic::async_trait]
pub trait Authenticator: fmt::Debug + Send + Sync + 'static {
    /// Who is behind the token of an `authorization: Bearer` header, which `peer` shows.
    ///
    /// # Errors
    /// Nobody, or it cannot be told right now.
    async fn authenticate(&self, token: &str, peer: Peer) -> Result<Identity, AuthError>;
}

/// Who is behind a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Namespace of the service account, and so of the pod.
    pub namespace: String,
    /// The service account.
    pub service_account: String,
    /// The pod the token was made for, where the token is bound to one.
    pub pod: Option<String>,
}

/// Why nobody is known to be behind a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The token is no good. The client has to come back with another one.
    #[error("the token is refused: {0}")]
    Refused(String),
    /// It cannot be told now. The client may come back with the same one.
    #[error("the token cannot be checked now: {0}")]
    Unavailable(String),
}

/// Who sends a request.
///
/// # Errors
/// It has no good token, or that cannot be told right now.
pub async fn identify(
    authenticator: &dyn Authenticator,
    peer: Peer,
    metadata: &MetadataMap,
) -> Result<Identity, Status> {
    let token = token(metadata)?;
    let identity = authenticator.authenticate(token, peer).await;
    identity.map_err(Status::from)
}

/// The token of a request.
fn token(metadata: &MetadataMap) -> Result<&str, Status> {
    let refused = |reason| Status::unauthenticated(format!("{reason}; {HOW}"));
    let header = metadata
        .get("authorization")
        .ok_or_else(|| refused("no authorization header"))?;
    let token = header
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("Bearer "));
    match token.map(str::trim) {
        Some(token) if !token.is_empty() => Ok(token),
        _ => Err(refused("the authorization header is no bearer token")),
    }
}

const HOW: &str = "send `authorization: Bearer <token>` with a service account token of the pod, \
                   made for the audience of this control plane";

// === impl AuthError ===

impl From<AuthError> for Status {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Refused(_) => Self::unauthenticated(error.to_string()),
            AuthError::Unavailable(_) => Self::unavailable(error.to_string()),
        }
    }
}

// === impl Identity ===

impl Identity {
    /// Whether a client of this identity may be that node: what is made for one pod is nobody
    /// else's business. A token that is bound to no pod is good for those that run as its account,
    /// as far as `account_of` knows.
    pub(super) fn may_be(
        &self,
        node: &Node,
        account_of: impl FnOnce(&NamespacedName) -> Option<Arc<str>>,
    ) -> Result<(), Status> {
        let denied = |reason: String| Status::permission_denied(format!("node id: {reason}"));
        let id: NodeId = node
            .id
            .parse()
            .map_err(|error| denied(format!("{error}")))?;
        if id.namespace != self.namespace {
            return Err(denied(format!(
                "{:?} is of another namespace than the token of {self}",
                node.id
            )));
        }
        if let Some(pod) = &self.pod {
            return match *pod == id.pod {
                true => Ok(()),
                false => Err(denied(format!(
                    "{:?} is another pod than the token's, {pod:?}",
                    node.id
                ))),
            };
        }
        match account_of(&NamespacedName::new(&id.namespace, &id.pod)) {
            Some(account) if *account == *self.service_account => Ok(()),
            _ => Err(denied(format!(
                "{:?} is not known to run as {self}, whose token is bound to no pod; send the \
                 projected token of the pod, or come back once the pod is known",
                node.id
            ))),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            service_account,
            ..
        } = self;
        write!(f, "{namespace}/{service_account}")
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn only_bearer_tokens_are_tokens() {
        let mut metadata = MetadataMap::new();
        fn code(metadata: &MetadataMap) -> Result<&str, Code> {
            token(metadata).map_err(|status| status.code())
        }
        assert_eq!(code(&metadata), Err(Code::Unauthenticated));
        for wrong in ["Basic YTpi", "Bearer ", "Bearer"] {
            metadata.insert("authorization", wrong.parse().expect("header"));
            assert_eq!(code(&metadata), Err(Code::Unauthenticated), "{wrong}");
        }
        metadata.insert("authorization", "Bearer abc".parse().expect("header"));
        assert_eq!(code(&metadata), Ok("abc"));
    }

    #[test]
    fn a_token_is_good_for_its_own_pod_and_no_other() {
        let identity = |pod: Option<&str>| Identity {
            namespace: "shop".to_owned(),
            service_account: "web".to_owned(),
            pod: pod.map(str::to_owned),
        };
        let node = |id: &str| Node {
            id: id.to_owned(),
            ..Node::default()
        };
        let own = node("sidecar~10.4.0.7~web-0.shop~shop.svc.cluster.local");
        assert!(identity(Some("web-0")).may_be(&own, |_| None).is_ok());
        for foreign in [
            "sidecar~10.4.0.8~web-1.shop~shop.svc.cluster.local",
            "sidecar~10.4.0.7~web-0.bank~bank.svc.cluster.local",
            "envoy",
            "",
        ] {
            for identity in [identity(Some("web-0")), identity(None)] {
                let denied = identity.may_be(&node(foreign), |_| Some("batch".into()));
                let code = denied.map_err(|status| status.code());
                assert_eq!(code, Err(Code::PermissionDenied), "{foreign}");
            }
        }
    }

    #[test]
    fn a_token_of_no_pod_is_good_for_pods_of_its_account() {
        let identity = Identity {
            namespace: "shop".to_owned(),
            service_account: "web".to_owned(),
            pod: None,
        };
        let node = Node {
            id: "sidecar~10.4.0.7~web-0.shop~shop.svc.cluster.local".to_owned(),
            ..Node::default()
        };
        let code = |account: Option<&str>| {
            let account = account.map(Arc::from);
            let answer = identity.may_be(&node, |pod| {
                assert_eq!(*pod, NamespacedName::new("shop", "web-0"));
                account
            });
            answer.map_err(|status| status.code())
        };
        assert_eq!(code(Some("web")), Ok(()));
        assert_eq!(code(Some("admin")), Err(Code::PermissionDenied));
        assert_eq!(code(None), Err(Code::PermissionDenied));
    }
}
