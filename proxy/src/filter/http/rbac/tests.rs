use serde_json::json;

use super::*;
use crate::{
    config::{
        http_filter::HttpFilterConfig,
        rbac::{Policy, Rule},
    },
    filter::http::{
        ActiveFilters,
        tests::{Fixture, chain, overridden, stats},
    },
    http::edits::Edits,
    metadata::Metadata,
};

fn rules(action: Action, policy: &str) -> Rules {
    Rules {
        action,
        policies: vec![Policy {
            name: policy.to_owned(),
            permissions: vec![Rule::Any],
            principals: vec![Rule::Any],
        }],
    }
}

/// The details of a denial, what was said, and what was counted.
fn run(filter: Filter, of_route: Option<Filter>) -> (Option<String>, Value, Vec<(String, u64)>) {
    let (filters, registry) = chain(vec![("r", HttpFilterConfig::Rbac(Box::new(filter)))]);
    let of_route = of_route.map(|filter| RouteSpecificFilterConfig::Rbac(Box::new(filter)));
    let per_filter = vec![overridden("r", of_route, None)];
    let fixture = Fixture::new("GET / HTTP/1.1\r\nHost: h", per_filter);
    let mut active = ActiveFilters::new(&filters, fixture.matched().as_ref());
    let (mut edits, mut metadata) = (Edits::default(), Metadata::default());
    let step = fixture.decode(&mut active, &mut edits, &mut metadata);
    let denied = match step {
        Step::Reply(reply) => {
            assert_eq!(
                (reply.status, &reply.body[..]),
                (403, &b"RBAC: access denied"[..])
            );
            Some(reply.details().to_owned())
        }
        _ => None,
    };
    let said = [NAMESPACE, COMMON].map(|namespace| metadata.get(namespace).cloned());
    (denied, json!(said), stats(&registry))
}

fn counts(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    let owned = |(name, count): &(&str, u64)| ((*name).to_owned(), *count);
    pairs.iter().map(owned).collect()
}

#[test]
fn rules_are_followed_and_shadow_rules_are_watched() {
    let filter = Filter {
        rules: Some(rules(Action::Deny, "p")),
        shadow_rules: Some(rules(Action::Allow, "q")),
        rules_stat_prefix: "one".to_owned(),
        shadow_rules_stat_prefix: "two.".to_owned(),
        track_per_rule_stats: true,
    };
    let (denied, said, counted) = run(filter, None);
    let details = "rbac_access_denied_matched_policy[p]";
    assert_eq!(denied.as_deref(), Some(details));
    let expected = json!([{
        "oneenforced_effective_policy_id": "p",
        "oneenforced_engine_result": "denied",
        "two.shadow_effective_policy_id": "q",
        "two.shadow_engine_result": "allowed",
    }, null]);
    assert_eq!(said, expected);
    let expected = counts(&[
        ("rbac.one.denied", 1),
        ("rbac.two.shadow_allowed", 1),
        ("rbac.one.policy.p.denied", 1),
        ("rbac.two.policy.q.shadow_allowed", 1),
    ]);
    assert_eq!(counted, expected);
}

#[test]
fn a_rule_that_logs_marks_what_it_matches() {
    for (policies, expected) in [(true, true), (false, false)] {
        let mut rules = rules(Action::Log, "p");
        if !policies {
            rules.policies.clear();
        }
        let filter = Filter {
            rules: Some(rules),
            ..Filter::default()
        };
        let (denied, said, counted) = run(filter, None);
        assert_eq!(denied, None);
        assert_eq!(said[1], json!({ "access_log_hint": expected }));
        assert_eq!(counted, counts(&[("rbac.allowed", 1)]));
    }
}

#[test]
fn a_route_replaces_the_rules_or_takes_them_away() {
    let denying = || Filter {
        rules: Some(rules(Action::Deny, "p")),
        ..Filter::default()
    };
    assert!(run(denying(), None).0.is_some());
    let (denied, said, counted) = run(denying(), Some(Filter::default()));
    assert_eq!(
        (denied, said, counted),
        (None, json!([null, null]), Vec::new())
    );
    assert!(run(Filter::default(), Some(denying())).0.is_some());
    assert!(run(Filter::default(), None).0.is_none());
}
