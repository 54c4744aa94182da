use serde_json::{Value, json};

use super::{
    judge::{Candidates, Outcome, judge},
    *,
};
use crate::objects::Placed;

fn policy(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec,
    })
}

fn traffic(policies: &[Value]) -> Traffic {
    let flow = |source: Option<&str>, method: Option<&str>, path: Option<&str>, protocol: &str| {
        json!({
            "source": source.map(|it| format!("spiffe://cluster.local/ns/shop/sa/{it}")),
            "port": 8080, "protocol": protocol, "method": method, "path": path,
            "verdict": "allowed", "count": 10,
        })
    };
    let pod = |name: &str| {
        json!({
            "namespace": "shop", "name": name, "labels": {"app": "web"},
            "summary": {
                "minutes": 60,
                "not_kept": {"allowed": 1, "denied": 0},
                "flows": [
                    flow(None, Some("GET"), Some("/"), "http"),
                    flow(Some("teller"), Some("GET"), Some("/users/{*}"), "http"),
                    flow(Some("teller"), Some("DELETE"), Some("/users/{*}"), "http"),
                    flow(Some("guest"), None, None, "tcp"),
                ],
            },
        })
    };
    let saved = json!({"pods": [pod("web-1"), pod("web-2")], "policies": policies});
    serde_json::from_value(saved).expect("traffic")
}

fn outcome(in_force: &[Value], candidates: &[Value]) -> Outcome {
    let placed = candidates.iter().map(|object| Placed {
        file: None,
        object: object.clone(),
    });
    let candidates = Candidates::read(placed.collect(), None).expect("policies");
    let settings = weir_discovery::rules::Settings::default();
    judge(
        &traffic(in_force),
        &candidates,
        &settings,
        &TrustDomain::default(),
    )
}

#[test]
fn flows_that_would_change_are_told_with_why() {
    let teller = policy(
        "teller",
        &json!({"rules": [{
            "from": [{"source": {"serviceAccounts": ["teller"]}}],
            "to": [{"operation": {"methods": ["GET"], "paths": ["/users/*"]}}],
        }]}),
    );
    let expected = "\
4 flows of the last 60 minutes would change or cannot be told
denied         20  (no certificate) -> shop/web:8080  GET /
                   is allowed; no ALLOW policy is about it
denied         20  shop/teller -> shop/web:8080  DELETE /users/{*}
                   is allowed; no ALLOW policy is about it
denied         20  shop/guest -> shop/web:8080  tcp
                   is allowed; by AuthorizationPolicy shop/risky rule 0
undecided      20  shop/teller -> shop/web:8080  GET /users/{*}
                   is allowed; depends on header x-risk
unchanged: 0 flows, 0 times
not told apart, for want of room: 2 allowed and 0 denied
";
    let risky = policy(
        "risky",
        &json!({"action": "DENY", "rules": [{
            "to": [{"operation": {"methods": ["GET"], "paths": ["/users/*"]}}],
            "when": [{"key": "request.headers[x-risk]", "values": ["high"]}],
        }]}),
    );
    let outcome = outcome(&[], &[teller, risky]);
    assert_eq!(show::text(&outcome), expected);
}

#[test]
fn policies_in_force_count_and_those_of_the_same_name_are_replaced() {
    let nobody = policy("it", &json!({}));
    let everybody = policy("it", &json!({"rules": [{}]}));
    let same = outcome(std::slice::from_ref(&nobody), std::slice::from_ref(&nobody));
    assert!(same.changes.is_empty());
    assert_eq!((same.unchanged.flows, same.unchanged.count), (4, 80));
    let opened = outcome(&[nobody], &[everybody]);
    let by: Vec<_> = opened.changes.iter().map(|it| it.by.as_deref()).collect();
    assert_eq!(by, [Some("AuthorizationPolicy shop/it rule 0"); 4]);
}

#[test]
fn a_policy_of_other_pods_changes_nothing() {
    let other = policy("it", &json!({"selector": {"matchLabels": {"app": "db"}}}));
    assert!(outcome(&[], &[other]).changes.is_empty());
}

#[test]
fn lines_have_a_hundred_columns() {
    let named = "a-policy-with-a-name-that-nobody-would-type-twice-".repeat(4);
    let deny = policy(&named, &json!({"action": "DENY", "rules": [{}]}));
    let text = show::text(&outcome(&[], &[deny]));
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    assert!(text.contains('…'));
}

#[test]
fn what_is_no_policy_or_wrong_is_refused() {
    let of = |object: Value| Candidates::read(vec![Placed { file: None, object }], None);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
    assert!(of(pod).is_err_and(|it| it.is_usage()));
    let wrong = policy(
        "it",
        &json!({"rules": [{"to": [{"operation": {"verbs": ["GET"]}}]}]}),
    );
    let error = of(wrong).expect_err("refused");
    assert!(error.to_string().contains("verbs"), "{error}");
}
