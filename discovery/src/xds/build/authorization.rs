//! Who may do what at a pod: RBAC filters, for requests and for connections.
//!
//! There is one filter an action, in the order in which actions are asked, with one policy a clause of
//! a rule. Rules that are only watched are shadow rules of the same filter.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/security/rbac_filter>

mod custom;
mod expression;
mod token;

use std::sync::Arc;

use weir_api::{
    spiffe::TrustDomain,
    xds::{
        codec,
        envoy::{
            config::{
                listener::v3::Filter,
                rbac::v3::{Permission, Policy, Principal, Rbac, rbac},
            },
            extensions::filters::{
                http::rbac::v3::{Rbac as HttpRbac, RbacPerRoute},
                network::{
                    http_connection_manager::v3::{HttpFilter, http_filter},
                    rbac::v3::Rbac as NetworkRbac,
                },
            },
        },
        google::protobuf::Any,
    },
};

use super::{listener::network_filter, tokens};
use crate::model::{
    Attachment, Attribute, AuthorizationAction as Action, AuthorizationRule, Clause, TokenIssuer,
};
use crate::xds::ExtensionProvider;
use expression::{Expression, Names};

/// Statistics of connections are `tcp.rbac.*`, as Istio has them.
const TCP_STAT_PREFIX: &str = "tcp.";

/// Name of all filters of requests: a route speaks of all of them.
const HTTP_RBAC: &str = "envoy.filters.http.rbac";

/// What rules say of one pod, in the order of their actions; nothing known: nobody is let in.
#[derive(Debug, Clone)]
pub(in crate::xds) struct Authorization<'a> {
    /// The rules.
    pub(in crate::xds) rules: Option<Vec<Arc<Attachment>>>,
    /// Whose tokens count.
    pub(in crate::xds) tokens: Vec<TokenIssuer>,
    /// Ours, which rules may call `cluster.local`.
    pub(in crate::xds) trust_domain: &'a TrustDomain,
    /// Services that policies have asked.
    pub(in crate::xds) providers: &'a [ExtensionProvider],
}

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Requests,
    Connections,
}

/// Rules of one action.
struct Filtered {
    enforced: Option<Vec<Rbac>>,
    shadow: Option<Vec<Rbac>>,
    shadow_prefix: &'static str,
}

// === impl Authorization ===

impl Authorization<'_> {
    /// The filters of requests.
    pub(super) fn http_filters(&self) -> Vec<HttpFilter> {
        let tokens = tokens::http_filter(&self.tokens);
        let filters = self.filters(Of::Requests).into_iter();
        let others = filters.map(|filter| {
            let parts = filter.parts(|rules, shadow_rules| HttpRbac {
                rules,
                shadow_rules,
                shadow_rules_stat_prefix: filter.prefix(),
                ..HttpRbac::default()
            });
            let config = codec::pack_http_rbac(&parts);
            HttpFilter {
                name: HTTP_RBAC.to_owned(),
                config_type: Some(http_filter::ConfigType::TypedConfig(config)),
                ..HttpFilter::default()
            }
        });
        let custom = self.custom_filters();
        tokens.into_iter().chain(custom).chain(others).collect()
    }

    /// The filters of connections that are not HTTP.
    pub(super) fn network_filters(&self) -> Vec<Filter> {
        let filters = self.filters(Of::Connections).into_iter();
        filters
            .map(|filter| {
                let parts = filter.parts(|rules, shadow_rules| NetworkRbac {
                    rules,
                    shadow_rules,
                    shadow_rules_stat_prefix: filter.prefix(),
                    stat_prefix: TCP_STAT_PREFIX.to_owned(),
                    ..NetworkRbac::default()
                });
                network_filter(
                    "envoy.filters.network.rbac",
                    codec::pack_network_rbac(&parts),
                )
            })
            .collect()
    }

    /// Whether there is anybody whom it refuses.
    pub(in crate::xds) fn refuses(&self) -> bool {
        self.rules.as_ref().is_none_or(|rules| !rules.is_empty())
    }

    /// Whether a rule speaks of paths. What it says of `/admin` must hold of `/x/../admin`, too.
    pub(super) fn speaks_of_paths(&self) -> bool {
        let rules = self.rules.iter().flatten();
        let rules = rules.filter_map(|it| it.effect.authorization());
        let mut clauses = rules.flat_map(|rule| &rule.clauses);
        clauses.any(|clause| {
            let mut conditions = clause.operations.iter().flatten();
            conditions.any(|it| it.attribute == Attribute::Path)
        })
    }

    fn filters(&self, of: Of) -> Vec<Filtered> {
        let Some(rules) = &self.rules else {
            return vec![Filtered {
                enforced: Some(vec![empty(Action::Allow)]),
                shadow: None,
                shadow_prefix: "",
            }];
        };
        let actions = [
            (Action::Audit, ""),
            (Action::Deny, "istio_dry_run_deny_"),
            (Action::Allow, "istio_dry_run_allow_"),
        ];
        let filters = actions.into_iter().map(|(action, shadow_prefix)| {
            let of_action = rules.iter().filter_map(|it| {
                let rule = it.effect.authorization()?;
                // Nobody is asked about connections: they are refused.
                let counts_as = match (of, rule.action) {
                    (Of::Connections, Action::Custom) => Action::Deny,
                    (_, action) => action,
                };
                (counts_as == action).then_some((&**it, rule))
            });
            let (watched, followed): (Vec<_>, _) = of_action.partition(|(_, it)| it.is_dry_run);
            Filtered {
                enforced: self.rbac(action, &followed, of),
                shadow: self.rbac(action, &watched, of),
                shadow_prefix,
            }
        });
        let says_something = |it: &Filtered| it.enforced.is_some() || it.shadow.is_some();
        filters.filter(says_something).collect()
    }

    /// The message of these rules, in parts of one policy each.
    fn rbac(
        &self,
        action: Action,
        rules: &[(&Attachment, &AuthorizationRule)],
        of: Of,
    ) -> Option<Vec<Rbac>> {
        if rules.is_empty() {
            return None;
        }
        let mut parts = vec![empty(action)];
        for (attachment, rule) in rules {
            for clause in &rule.clauses {
                let of_connections = match of {
                    Of::Requests => None,
                    Of::Connections => match clause.of_connections(action) {
                        None => continue,
                        known => known,
                    },
                };
                let clause = of_connections.as_ref().unwrap_or(clause);
                let name = policy_name(attachment, clause);
                parts.push(Rbac {
                    policies: [(name, self.policy(clause))].into(),
                    ..empty(action)
                });
            }
        }
        Some(parts)
    }

    fn policy(&self, clause: &Clause) -> Policy {
        let names = Names {
            trust_domain: self.trust_domain,
        };
        Policy {
            permissions: Permission::alternatives(&clause.operations, &clause.conditions, names),
            principals: Principal::alternatives(&clause.sources, &clause.conditions, names),
            ..Policy::default()
        }
    }
}

// === impl Filtered ===

impl Filtered {
    fn prefix(&self) -> String {
        match self.shadow {
            Some(_) => self.shadow_prefix.to_owned(),
            None => String::new(),
        }
    }

    fn parts<M>(&self, message: impl Fn(Option<Rbac>, Option<Rbac>) -> M) -> Vec<M> {
        let enforced = self.enforced.iter().flatten();
        let enforced = enforced.map(|rules| message(Some(rules.clone()), None));
        let shadow = self.shadow.iter().flatten();
        let shadow = shadow.map(|rules| message(None, Some(rules.clone())));
        enforced.chain(shadow).collect()
    }
}

/// What a route says whose requests no rule is about.
pub(super) fn exempt() -> (String, Any) {
    let none = codec::pack_rbac_per_route(&RbacPerRoute::default());
    (HTTP_RBAC.to_owned(), none)
}

/// Of one action, without a policy: where it allows, nobody is let in.
fn empty(action: Action) -> Rbac {
    let action = match action {
        Action::Allow => rbac::Action::Allow,
        Action::Deny | Action::Custom => rbac::Action::Deny,
        Action::Audit => rbac::Action::Log,
    };
    Rbac {
        action: action.into(),
        ..Rbac::default()
    }
}

/// As Istio calls it: logs show it as what decided.
fn policy_name(attachment: &Attachment, clause: &Clause) -> String {
    let name = &attachment.rule.name;
    format!(
        "ns[{}]-policy[{}]-rule[{}]",
        name.namespace, name.name, clause.index
    )
}
