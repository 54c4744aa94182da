//! `envoy.filters.network.rbac`: lets connections through by rules on who may connect. They are
//! decided when the connection is new and take effect when its first bytes come, so that a server
//! which speaks first is heard as behind Envoy.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/rbac_filter>

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use serde_json::Map;
use tokio::time::{Sleep, sleep};

use crate::{
    config::{
        network_filter::{EnforcementType, NetworkRbac as Config},
        rbac::{Action, Rules},
    },
    factory_context::FactoryContext,
    filter::rbac_stats::RbacStats,
    info::{ConnectionInfo, Finding},
    net::read_filter::{Passage, ReadFilter},
    rbac::{Attributes, ConnectionAttributes, Enforcement, Verdict},
    stats::{Scope, Within},
};

/// The namespace of what the filter says, whatever it is called.
const NAMESPACE: &str = "envoy.filters.network.rbac";
/// The namespace of what filters agree on.
const COMMON: &str = "envoy.common";

pub(crate) struct NetworkRbac {
    config: Arc<Config>,
    stats: Arc<Within<RbacStats>>,
}

/// What was decided of a connection, until its bytes come.
#[derive(Debug)]
struct Decided {
    config: Arc<Config>,
    stats: Arc<Within<RbacStats>>,
    shadow: Option<Decision>,
    enforced: Option<Decision>,
    finding: Rc<Finding>,
    /// Runs out when a refused connection is to be closed.
    delay: Option<Pin<Box<Sleep>>>,
}

/// A verdict that outlives what it was made from.
#[derive(Debug)]
struct Decision {
    is_allowed: bool,
    policy: Option<Box<str>>,
}

// === impl NetworkRbac ===

impl NetworkRbac {
    pub(super) fn new(config: &Arc<Config>, context: &Rc<FactoryContext>) -> Self {
        let scope = Scope {
            kind: "",
            name: config.stat_prefix.trim_end_matches('.').to_owned(),
            label: "envoy_rbac_prefix",
        };
        Self {
            config: Arc::clone(config),
            stats: RbacStats::register(&config.filter, &context.registry, &scope),
        }
    }

    /// What is to look at the connection's bytes, where there are rules.
    pub(super) fn on_new_connection(
        &self,
        connection: &mut ConnectionInfo,
    ) -> Option<Box<dyn ReadFilter>> {
        let filter = &self.config.filter;
        let mut finding = Finding::default();
        let shadow = filter.shadow_rules.as_ref().map(|rules| {
            let verdict = verdict(rules, connection);
            let said = verdict.metadata(filter, Enforcement::Shadow);
            finding.metadata.push((NAMESPACE, said));
            Decision::from(verdict)
        });
        let enforced = filter.rules.as_ref().map(|rules| {
            let verdict = verdict(rules, connection);
            if rules.action == Action::Log {
                let hint = (
                    "access_log_hint".to_owned(),
                    verdict.policy.is_some().into(),
                );
                finding.metadata.push((COMMON, Map::from_iter([hint])));
            }
            finding.refusal = (!verdict.is_allowed).then(|| verdict.details());
            Decision::from(verdict)
        });
        if shadow.is_none() && enforced.is_none() {
            return None;
        }
        let finding = Rc::new(finding);
        let findings = connection.findings.get_or_insert_default();
        findings.push(Rc::clone(&finding));
        Some(Box::new(Decided {
            config: Arc::clone(&self.config),
            stats: Arc::clone(&self.stats),
            shadow,
            enforced,
            finding,
            delay: None,
        }))
    }
}

fn verdict<'c>(rules: &'c Rules, connection: &ConnectionInfo) -> Verdict<'c> {
    rules.verdict(&Attributes {
        connection: &ConnectionAttributes {
            source: connection.remote.0,
            direct_remote: connection.direct_remote().0,
            remote: connection.remote.0,
            destination: connection.original_destination.0,
            server_name: connection.server_name.as_deref().unwrap_or_default(),
            tls: connection.tls.as_deref(),
        },
        request: None,
        metadata: &connection.metadata,
        route_metadata: None,
        filter_state: &connection.filter_state,
    })
}

// === impl Decided ===

impl Decided {
    fn count(&self, decision: Option<&Decision>, enforcement: Enforcement) {
        if let Some(decision) = decision {
            self.stats.count(&decision.verdict(), enforcement, false);
        }
    }
}

impl ReadFilter for Decided {
    fn on_data(&mut self) -> Passage {
        self.count(self.shadow.as_ref(), Enforcement::Shadow);
        self.count(self.enforced.as_ref(), Enforcement::Enforced);
        self.finding.holds.set(true);
        if self.finding.refusal.is_some() {
            self.delay = self.config.delay_deny.map(|delay| Box::pin(sleep(delay)));
            return Passage::Refused;
        }
        match self.config.enforcement_type {
            EnforcementType::OneTimeOnFirstByte => Passage::Open,
            EnforcementType::Continuous => Passage::Watched,
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(delay) = &mut self.delay {
            ready!(delay.as_mut().poll(cx));
            self.delay = None;
        }
        Poll::Ready(())
    }
}

// === impl Decision ===

impl Decision {
    fn verdict(&self) -> Verdict<'_> {
        Verdict {
            is_allowed: self.is_allowed,
            policy: self.policy.as_deref(),
        }
    }
}

impl From<Verdict<'_>> for Decision {
    fn from(verdict: Verdict<'_>) -> Self {
        Self {
            is_allowed: verdict.is_allowed,
            policy: verdict.policy.map(Into::into),
        }
    }
}
