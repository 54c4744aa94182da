//! What rules on who may do what decide of one flow: the rules that sidecars get as RBAC filters, asked
//! without a proxy, and of a flow of which not everything is known.
//!
//! What is not known is [`Truth::Unknown`] with what would have to be. It decides only where it must:
//! whom a `DENY` rule refuses for certain is refused, whatever the others would need to know.

mod condition;
mod identity;
mod path;
mod truth;

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use weir_api::spiffe::TrustDomain;

use crate::model::{Attachment, AuthorizationAction, Clause, Condition, RuleName};

pub use path::Path;
pub use truth::{Need, Truth};

/// A connection or a request, as far as it is known. Its caller is always known: who has shown no
/// certificate is nobody.
#[derive(Clone, Copy)]
pub struct Flow<'a> {
    /// What it is.
    pub speech: FlowKind<'a>,
    /// SPIFFE identity of the caller, by its certificate: `spiffe://cluster.local/ns/shop/sa/web`.
    pub principal: Option<&'a str>,
    /// Address of the peer of the connection.
    pub source_ip: Option<IpAddr>,
    /// Address of the client, as far as trusted proxies name it.
    pub remote_ip: Option<IpAddr>,
    /// Address that the connection was made to.
    pub destination_ip: Option<IpAddr>,
    /// Its port.
    pub destination_port: u16,
    /// SNI; empty where there was none.
    pub server_name: Option<&'a str>,
}

/// What a flow is.
#[derive(Clone, Copy)]
pub enum FlowKind<'a> {
    /// A connection that carries no HTTP.
    Connection,
    /// A request.
    Request(Request<'a>),
}

/// A request, as far as it is known.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Its method.
    pub method: Option<&'a str>,
    /// The host it names.
    pub host: Option<&'a str>,
    /// Its path, without a query.
    pub path: Path<'a>,
    /// The lines of a header by its name; none: whether it is there is not known.
    pub headers: &'a dyn Fn(&str) -> Option<Vec<String>>,
    /// Whether it brings a token; none: that is not known.
    pub has_token: Option<bool>,
}

/// What is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is let through: by a rule, or because no rule allows anything.
    Allowed(Option<Decider>),
    /// It is refused: by a rule, or because none of those that allow is about it.
    Denied(Option<Decider>),
    /// That depends on what is not known.
    Undecided(BTreeSet<Need>),
}

/// The rule that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decider {
    /// The object.
    pub rule: RuleName,
    /// Which of its rules, from 0.
    pub index: usize,
}

/// What the rules of one action say.
struct Said {
    truth: Truth,
    decider: Option<Decider>,
}

/// Decides about a flow by the rules about its destination, in which any order will do.
///
/// <https://istio.io/latest/docs/reference/config/security/authorization-policy/>
#[must_use]
pub fn decide(rules: &[Arc<Attachment>], flow: &Flow<'_>, trust_domain: &TrustDomain) -> Verdict {
    let of_action = |action| said(rules, action, flow, trust_domain);
    let denied = of_action(AuthorizationAction::Deny);
    if denied.truth == Truth::Holds {
        return Verdict::Denied(denied.decider);
    }
    let asked = match asked(of_action(AuthorizationAction::Custom), rules, flow) {
        Ok(truth) => truth,
        Err(refused) => return refused,
    };
    let allowed = match enforced(rules, AuthorizationAction::Allow).next() {
        Some(_) => of_action(AuthorizationAction::Allow),
        None => Said {
            truth: Truth::Holds,
            decider: None,
        },
    };
    match (denied.truth.or(asked), allowed.truth) {
        (_, Truth::Fails) => Verdict::Denied(None),
        (Truth::Unknown(mut needs), Truth::Unknown(more)) => {
            needs.extend(more);
            Verdict::Undecided(needs)
        }
        (Truth::Unknown(needs), _) | (_, Truth::Unknown(needs)) => Verdict::Undecided(needs),
        (_, Truth::Holds) => Verdict::Allowed(allowed.decider),
    }
}

/// Whether a service refuses the flow, which only it knows: rules say no more than whether it is asked.
/// Nobody is asked about connections, which are refused.
fn asked(custom: Said, rules: &[Arc<Attachment>], flow: &Flow<'_>) -> Result<Truth, Verdict> {
    let mut needs = match (custom.truth, flow.speech) {
        (Truth::Fails, _) => return Ok(Truth::Fails),
        (Truth::Holds, FlowKind::Connection) => return Err(Verdict::Denied(custom.decider)),
        (unknown, FlowKind::Connection) => return Ok(unknown),
        (Truth::Holds, FlowKind::Request(_)) => BTreeSet::new(),
        (Truth::Unknown(needs), FlowKind::Request(_)) => needs,
    };
    let rules = rules.iter().filter_map(|it| it.effect.authorization());
    let providers = rules.filter(|rule| rule.action == AuthorizationAction::Custom);
    needs.extend(providers.filter_map(|rule| Some(Need::Provider(rule.provider.clone()?))));
    Ok(Truth::Unknown(needs))
}

/// The clauses of one action that are followed, each with its object.
fn enforced(
    rules: &[Arc<Attachment>],
    action: AuthorizationAction,
) -> impl Iterator<Item = (&RuleName, &[Clause])> {
    rules.iter().filter_map(move |attachment| {
        let rule = attachment.effect.authorization()?;
        let counts = rule.action == action && !rule.is_dry_run;
        counts.then_some((&attachment.rule, &*rule.clauses))
    })
}

/// Whether a clause of that action is about the flow, and the first that is.
fn said(
    rules: &[Arc<Attachment>],
    action: AuthorizationAction,
    flow: &Flow<'_>,
    trust_domain: &TrustDomain,
) -> Said {
    let mut truth = Truth::Fails;
    for (rule, clauses) in enforced(rules, action) {
        for clause in clauses {
            let of_connections = match flow.speech {
                FlowKind::Request(_) => None,
                FlowKind::Connection => match clause.of_connections(action) {
                    None => continue,
                    known => known,
                },
            };
            let of_clause = of_connections.as_ref().unwrap_or(clause);
            truth = truth.or(of_clause.is_about(flow, trust_domain));
            if truth == Truth::Holds {
                let decider = Some(Decider {
                    rule: rule.clone(),
                    index: clause.index,
                });
                return Said { truth, decider };
            }
        }
    }
    Said {
        truth,
        decider: None,
    }
}

// === impl Clause ===

impl Clause {
    fn is_about(&self, flow: &Flow<'_>, trust_domain: &TrustDomain) -> Truth {
        let all = |conditions: &[Condition]| {
            let mut truth = Truth::Holds;
            for condition in conditions {
                truth = truth.and(condition.holds(flow, trust_domain));
            }
            truth
        };
        let one_of = |alternatives: &[Vec<Condition>]| match alternatives {
            [] => Truth::Holds,
            some => {
                let each = some.iter().map(|conditions| all(conditions));
                each.fold(Truth::Fails, Truth::or)
            }
        };
        one_of(&self.operations)
            .and(one_of(&self.sources))
            .and(all(&self.conditions))
    }
}

// === impl Decider ===

impl std::fmt::Display for Decider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rule {}", self.rule, self.index)
    }
}

#[cfg(test)]
mod tests;
