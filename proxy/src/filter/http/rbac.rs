//! `envoy.filters.http.rbac`: lets requests through by rules on who may do what.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/rbac_filter>

use serde_json::{Map, Value};

use super::{Decoding, Step};
use crate::{
    config::{
        http_filter::RouteSpecificFilterConfig,
        rbac::{Action, Filter, Rules},
    },
    filter::rbac_stats::RbacStats,
    http::local_reply::{FilterReply, LocalReply},
    rbac::{Attributes, Enforcement, Verdict},
    reason::Reason,
};

/// The namespace of what the filter says, whatever it is called.
const NAMESPACE: &str = "envoy.filters.http.rbac";
/// The namespace of what filters agree on.
const COMMON: &str = "envoy.common";

/// The filter in one request.
pub(super) struct RbacFilter<'c> {
    config: &'c Filter,
    stats: &'c RbacStats,
}

// === impl RbacFilter ===

impl<'c> RbacFilter<'c> {
    pub(super) fn new(config: &'c Filter, stats: &'c RbacStats) -> Self {
        Self { config, stats }
    }

    pub(super) fn on_request_headers(&self, name: &str, d: &mut Decoding<'_, 'c>) -> Step {
        let route = d.route();
        let of_route = route.and_then(|route| {
            let mut configs = route.filter_configs(name);
            configs.find_map(|config| match config {
                RouteSpecificFilterConfig::Rbac(filter) => Some(&**filter),
                _ => None,
            })
        });
        let config = of_route.unwrap_or(self.config);
        if let Some(rules) = &config.shadow_rules {
            self.evaluate(config, rules, Enforcement::Shadow, d);
        }
        let Some(rules) = &config.rules else {
            return Step::Continue;
        };
        let verdict = self.evaluate(config, rules, Enforcement::Enforced, d);
        if rules.action == Action::Log {
            let hint = (
                "access_log_hint".to_owned(),
                verdict.policy.is_some().into(),
            );
            d.stream.metadata.merge(COMMON, Map::from_iter([hint]));
        }
        if verdict.is_allowed {
            return Step::Continue;
        }
        let mut reply = LocalReply::from(Reason::AccessDenied);
        reply.of_filter = Some(Box::new(FilterReply {
            details: Some(verdict.details()),
            ..FilterReply::default()
        }));
        Step::Reply(Box::new(reply))
    }

    /// Has rules decide, and says and counts what they did.
    fn evaluate(
        &self,
        config: &Filter,
        rules: &'c Rules,
        enforcement: Enforcement,
        d: &mut Decoding<'_, 'c>,
    ) -> Verdict<'c> {
        let route = d.route();
        let verdict = {
            let request = d.request();
            rules.verdict(&Attributes {
                connection: d.stream.connection,
                request: Some(&request),
                metadata: d.stream.metadata,
                route_metadata: route.map(|route| &route.route.metadata),
                filter_state: d.stream.filter_state,
            })
        };
        self.stats
            .count(&verdict, enforcement, config.track_per_rule_stats);
        let said: Map<String, Value> = verdict.metadata(config, enforcement);
        d.stream.metadata.merge(NAMESPACE, said);
        verdict
    }
}

#[cfg(test)]
mod tests;
