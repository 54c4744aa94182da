//! The webhook as an HTTP service. TLS, the listening socket and limits on connections belong to
//! the one who serves the router.

mod bodies;
mod handle;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::{Router, routing::post};
use bodies::Bodies;
use serde_json::Value;
use tokio::sync::Semaphore;
use weir_api::inbound_demands::InboundDemands;

use crate::{
    Cluster, Config, Decided, Decision, InjectError, Namespace, Place, ReviewError, WrongType,
    decide, inject,
    metrics::Metrics,
    review::{Known, Namespaces, Reviewed, Rules, review_in},
    validate::Validators,
};

/// Largest body that is read. An object the API server stores is at most 1.5 MiB; a review holds it
/// once or twice.
pub const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;

/// Up to here a review takes well below a millisecond; most are of 10 KiB.
const SMALL_BYTES: usize = 64 * 1024;
/// Larger ones reviewed at a time: they leave cores to the others.
const LARGE_REVIEWS: usize = 2;

/// Who hears of decisions.
type OnDecision = dyn Fn(&Decided) + Send + Sync;

/// What the handlers share: the configuration in force, and the counters.
pub struct Injector {
    config: ArcSwap<Config>,
    /// `None` outside a cluster.
    cluster: ArcSwapOption<Cluster>,
    namespaces: Box<Namespaces<'static>>,
    rules: Box<Rules>,
    on_decision: Box<OnDecision>,
    validators: Validators,
    metrics: Metrics,
    /// Places for large reviews.
    large: Arc<Semaphore>,
    /// Memory for what is being read and reviewed.
    bodies: Bodies,
}

/// The routes of the webhooks: `POST /inject` and `POST /validate`.
///
/// ```
/// use std::sync::Arc;
/// use weir_injector::{Config, webhook::{Injector, router}};
///
/// let injector = Arc::new(Injector::new(Config::default()));
/// let app = router(Arc::clone(&injector));
/// // Serve `app` over TLS. Later, with a configuration that was read and checked:
/// injector.set_config(Config::default());
/// let mut text = String::new();
/// injector.metrics().write_prometheus(&mut text);
/// # let _ = app;
/// ```
pub fn router(injector: Arc<Injector>) -> Router {
    Router::new()
        .route("/inject", post(handle::inject))
        .route("/validate", post(handle::validate))
        .with_state(injector)
}

// === impl Injector ===

impl Injector {
    /// An injector with this configuration.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config: ArcSwap::from_pointee(config),
            cluster: ArcSwapOption::empty(),
            namespaces: Box::new(|_| None),
            rules: Box::new(|_, _, _| None),
            on_decision: Box::new(|_| {}),
            validators: Validators::default(),
            metrics: Metrics::default(),
            large: Arc::new(Semaphore::new(LARGE_REVIEWS)),
            bodies: Bodies::default(),
        }
    }

    /// Looks up what is known of a namespace: its revision, OpenShift's users, its Pod Security
    /// level. It is asked for each review and must not block.
    #[must_use]
    pub fn with_namespaces(
        mut self,
        lookup: impl Fn(&str) -> Option<Arc<Namespace>> + Send + Sync + 'static,
    ) -> Self {
        self.namespaces = Box::new(lookup);
        self
    }

    /// Looks up what rules demand of whoever connects to a pod of that namespace and with these
    /// labels, given with the pod itself: its sidecar is told, and keeps to it until discovery says
    /// more. It is asked for each pod that is created and must not block.
    #[must_use]
    pub fn with_rules(
        mut self,
        lookup: impl Fn(&str, &BTreeMap<&str, &str>, &Value) -> Option<InboundDemands>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.rules = Box::new(lookup);
        self
    }

    /// Tells of each decision about a pod, such as to write an Event. Dry runs are not told of, for
    /// they must leave nothing behind. It is called before the answer is sent and must not block.
    #[must_use]
    pub fn with_on_decision(mut self, tell: impl Fn(&Decided) + Send + Sync + 'static) -> Self {
        self.on_decision = Box::new(tell);
        self
    }

    /// Judges objects with these validators instead of the default ones.
    #[must_use]
    pub fn with_validators(mut self, validators: Validators) -> Self {
        self.validators = validators;
        self
    }

    /// Says what the control plane knows of its cluster. Reviews under way keep what they began
    /// with.
    pub fn set_cluster(&self, cluster: Cluster) {
        self.cluster.store(Some(Arc::new(cluster)));
    }

    /// Replaces the configuration. Reviews under way keep the one they began with.
    pub fn set_config(&self, config: Config) {
        self.config.store(Arc::new(config));
    }

    /// What is decided about a pod under the configuration in force.
    ///
    /// # Errors
    /// A field is not of the type Kubernetes gives it.
    pub fn decide(&self, pod: &Value, namespace: &str) -> Result<Decision, WrongType> {
        let (about, cluster) = ((self.namespaces)(namespace), self.cluster.load());
        let place = Place {
            namespace,
            about: about.as_deref(),
            cluster: cluster.as_deref(),
            is_selected: false,
            inbound: None,
        };
        decide(pod, place, &self.config.load())
    }

    /// What the author of a pod should know, as the webhook would say it under the configuration in force.
    ///
    /// # Errors
    /// The pod cannot be injected.
    pub fn warnings(&self, pod: &Value, namespace: &str) -> Result<Vec<String>, InjectError> {
        let (about, cluster) = ((self.namespaces)(namespace), self.cluster.load());
        let place = Place {
            namespace,
            about: about.as_deref(),
            cluster: cluster.as_deref(),
            is_selected: true,
            inbound: None,
        };
        let injection = inject(pod, place, &self.config.load())?;
        Ok(injection.warnings)
    }

    /// What a stranger may hear of a namespace: nothing that only those who may read it know.
    fn told(&self, name: &str) -> Option<Arc<Namespace>> {
        let about = (self.namespaces)(name)?;
        if about.pod_security().is_none() {
            return Some(about);
        }
        Some(Arc::new(about.without_pod_security()))
    }

    /// Answers one review of an object that is to be validated, and counts it.
    ///
    /// # Errors
    /// The body is no AdmissionReview.
    pub fn validate(&self, body: &[u8]) -> Result<Value, ReviewError> {
        let (cluster, config) = (self.cluster.load(), self.config.load());
        let cluster = cluster.as_deref();
        let reviewed = self
            .validators
            .review(body, |name| self.told(name), cluster, &config);
        match reviewed {
            Ok((validation, response)) => {
                self.metrics.validated(validation);
                Ok(response)
            }
            Err(error) => {
                self.metrics.malformed();
                Err(error)
            }
        }
    }

    /// What was counted so far.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Answers one review and counts it.
    pub fn review(&self, body: &[u8]) -> Result<Reviewed, ReviewError> {
        let began = Instant::now();
        let (cluster, config) = (self.cluster.load(), self.config.load());
        let known = Known {
            about: &|name: &str| self.told(name),
            rules: &self.rules,
            cluster: cluster.as_deref(),
        };
        let reviewed = review_in(body, &known, &config);
        match &reviewed {
            Ok(reviewed) => {
                self.metrics.reviewed(reviewed.outcome, began.elapsed());
                let decided = reviewed.decided.as_ref();
                if let Some(decided) = decided.filter(|decided| !decided.dry_run) {
                    (self.on_decision)(decided);
                }
            }
            Err(_) => self.metrics.malformed(),
        }
        reviewed
    }
}

impl fmt::Debug for Injector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injector")
            .field("config", &self.config)
            .field("cluster", &self.cluster)
            .field("metrics", &self.metrics)
            .finish_non_exhaustive()
    }
}
