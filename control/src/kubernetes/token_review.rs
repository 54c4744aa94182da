//! Who a sidecar is: asks the API server about its token, and remembers the answer for a while.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use weir_api::sidecar::TOKEN_AUDIENCE;
use weir_discovery::xds::{AuthError, Authenticator, Identity};

use super::{Metrics, failure, metrics::increment};

/// How long a good answer counts. A sidecar that comes back with the same token in this time costs
/// no request; a pod that was deleted is turned away after it.
const GOOD: Duration = Duration::from_secs(60);
/// How long a refusal counts, so that a client that asks again and again costs little.
const REFUSED: Duration = Duration::from_secs(10);
/// Answers that are remembered: a few bytes each, and more sidecars than come back in a minute.
const REMEMBERED: usize = 8192;
/// Requests under way at a time, so that sidecars that all come back do not flood the API server.
const REQUESTS: usize = 32;
/// Time for the API server to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Who the user of a service account's token is called, before namespace and name.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
/// Where the API server says which pod a token is bound to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";

/// Asks the API server.
pub(crate) struct TokenReviewer {
    api: Api<TokenReview>,
    metrics: Arc<Metrics>,
    requests: Semaphore,
    /// Two keys of our own, so that nobody can find a token with the hash of another's.
    hashers: [RandomState; 2],
    answers: Mutex<HashMap<[u64; 2], Answer>>,
}

#[derive(Clone)]
struct Answer {
    at: Instant,
    is: Result<Identity, String>,
}

// === impl TokenReviewer ===

impl TokenReviewer {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self {
            api: Api::all(client),
            metrics,
            requests: Semaphore::new(REQUESTS),
            hashers: [RandomState::new(), RandomState::new()],
            answers: Mutex::default(),
        }
    }

    /// What was answered about a token not long ago.
    fn remembered(&self, key: [u64; 2]) -> Option<Result<Identity, String>> {
        let answer = self.lock().get(&key).cloned()?;
        answer.counts(Instant::now()).then_some(answer.is)
    }

    fn remember(&self, key: [u64; 2], is: Result<Identity, String>) {
        let at = Instant::now();
        let mut answers = self.lock();
        if answers.len() >= REMEMBERED {
            answers.retain(|_, answer| answer.counts(at));
        }
        if answers.len() >= REMEMBERED {
            answers.clear();
        }
        answers.insert(key, Answer { at, is });
    }

    async fn ask(&self, token: &str) -> Result<Result<Identity, String>, AuthError> {
        // The semaphore is never closed, so this waits and does not fail.
        let _permit = self.requests.acquire().await;
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
        let unavailable = |reason: String| AuthError::Unavailable(reason);
        let answer = answer.map_err(|_| unavailable("the API server does not answer".into()))?;
        let review = answer.map_err(|error| unavailable(failure(&error)))?;
        Ok(identity(review.status.unwrap_or_default()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u64; 2], Answer>> {
        // Nothing panics while it is held.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl Authenticator for TokenReviewer {
    async fn authenticate(&self, token: &str) -> Result<Identity, AuthError> {
        let key = [0, 1].map(|at: usize| self.hashers[at].hash_one(token));
        let is = match self.remembered(key) {
            Some(is) => is,
            None => {
                let is = self.ask(token).await?;
                self.remember(key, is.clone());
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

// === impl Answer ===

impl Answer {
    fn counts(&self, now: Instant) -> bool {
        let life = if self.is.is_ok() { GOOD } else { REFUSED };
        now - self.at < life
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
