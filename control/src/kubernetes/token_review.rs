//! Who a sidecar is: asks the API server about its token, and remembers the answer for a while.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::timeout;
use weir_api::sidecar::TOKEN_AUDIENCE;
use weir_discovery::xds::{AuthError, Authenticator, Identity, Peer};

use super::{Metrics, failure, metrics::increment};

mod answers;
mod form;
mod turns;

use answers::Answers;
use turns::Turns;

/// Time for the API server to answer, and to wait for a turn to ask.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Who the user of a service account's token is called, before namespace and name.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
/// Where the API server says which pod a token is bound to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";

/// Asks the API server.
pub(crate) struct TokenReviewer {
    api: Api<TokenReview>,
    metrics: Arc<Metrics>,
    turns: Turns,
    /// Two keys of our own, so that nobody can find a token with the hash of another's.
    hashers: [RandomState; 2],
    answers: Mutex<Answers>,
}

// === impl TokenReviewer ===

impl TokenReviewer {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self {
            api: Api::all(client),
            metrics,
            turns: Turns::default(),
            hashers: [RandomState::new(), RandomState::new()],
            answers: Mutex::default(),
        }
    }

    async fn ask(&self, token: &str, peer: IpAddr) -> Result<Result<Identity, String>, AuthError> {
        let unavailable = |reason: String| AuthError::Unavailable(reason);
        let turn = timeout(TIMEOUT, self.turns.take(peer)).await;
        let _turn = turn.map_err(|_| unavailable("too many tokens are being checked".into()))?;
        increment(&self.metrics.token_reviews);
        let review = TokenReview {
            metadata: ObjectMeta::default(),
            spec: TokenReviewSpec {
                audiences: Some(vec![TOKEN_AUDIENCE.to_owned()]),
                token: Some(token.to_owned()),
            },
            status: None,
        };
        let params = PostParams::default();
        let answer = timeout(TIMEOUT, self.api.create(&params, &review)).await;
        let answer = answer.map_err(|_| unavailable("the API server does not answer".into()))?;
        let review = answer.map_err(|error| unavailable(failure(&error)))?;
        Ok(identity(review.status.unwrap_or_default()))
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        // Nothing panics while it is held.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl Authenticator for TokenReviewer {
    async fn authenticate(&self, token: &str, peer: Peer) -> Result<Identity, AuthError> {
        // What need not be asked about takes nobody's turn, and no place among the answers.
        form::check(token, SystemTime::now()).map_err(AuthError::Refused)?;
        let key = [0, 1].map(|at: usize| self.hashers[at].hash_one(token));
        let remembered = self.lock().get(key);
        let is = match remembered {
            Some(is) => is,
            None => {
                let peer = peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip());
                let is = self.ask(token, peer.to_canonical()).await?;
                self.lock().put(key, is.clone());
                is
            }
        };
        is.map_err(AuthError::Refused)
    }
}

impl fmt::Debug for TokenReviewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenReviewer").finish_non_exhaustive()
    }
}

/// Who the API server says it is, or why nobody.
fn identity(status: TokenReviewStatus) -> Result<Identity, String> {
    if status.authenticated != Some(true) {
        let reason = status.error.filter(|reason| !reason.is_empty());
        return Err(reason.unwrap_or_else(|| "the API server does not know it".to_owned()));
    }
    // An API server that knows nothing of audiences names none.
    let audiences = status.audiences.unwrap_or_default();
    if !audiences.iter().any(|audience| audience == TOKEN_AUDIENCE) {
        return Err(format!("it is not for the audience {TOKEN_AUDIENCE}"));
    }
    let user = status.user.unwrap_or_default();
    let name = user.username.unwrap_or_default();
    let account = name.strip_prefix(SERVICE_ACCOUNT);
    let Some((namespace, service_account)) = account.and_then(|name| name.split_once(':')) else {
        return Err(format!("{name:?} is no service account"));
    };
    let mut extra = user.extra.unwrap_or_default();
    let pod = extra
        .remove(POD_NAME)
        .and_then(|names| names.into_iter().next());
    Ok(Identity {
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        pod,
    })
}

#[cfg(test)]
mod tests;
