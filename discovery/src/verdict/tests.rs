use serde_json::json;

use super::*;
use crate::rules::{KINDS, Settings};

const TELLER: &str = "spiffe://cluster.local/ns/shop/sa/teller";

fn rules(specs: &[serde_json::Value]) -> Vec<Arc<Attachment>> {
    let kind = KINDS.iter().find(|it| it.kind == "AuthorizationPolicy");
    let kind = kind.expect("known");
    let read = |(index, spec): (usize, &serde_json::Value)| {
        let metadata = json!({"name": format!("p{index}"), "namespace": "shop"});
        let object = json!({"metadata": metadata, "spec": spec});
        let attachment = kind.attachment(&object, &Settings::default());
        Arc::new(attachment.expect("an attachment"))
    };
    specs.iter().enumerate().map(read).collect()
}

fn unknown_headers(_: &str) -> Option<Vec<String>> {
    None
}

fn get(path: Path<'_>) -> Flow<'_> {
    Flow {
        speech: FlowKind::Request(Request {
            method: Some("GET"),
            host: None,
            path,
            headers: &unknown_headers,
            has_token: None,
        }),
        principal: Some(TELLER),
        source_ip: None,
        remote_ip: None,
        destination_ip: None,
        destination_port: 8080,
        server_name: None,
    }
}

fn verdict(specs: &[serde_json::Value], flow: &Flow<'_>) -> String {
    match decide(&rules(specs), flow, &TrustDomain::default()) {
        Verdict::Allowed(by) => {
            format!("allowed {}", by.map_or(String::new(), |it| it.to_string()))
        }
        Verdict::Denied(by) => format!("denied {}", by.map_or(String::new(), |it| it.to_string())),
        Verdict::Undecided(needs) => {
            let needs: Vec<_> = needs.iter().map(ToString::to_string).collect();
            format!("needs {}", needs.join(", "))
        }
    }
}

#[test]
fn rules_decide_in_the_order_of_their_actions_and_name_themselves() {
    let flow = get(Path::Raw("/admin"));
    let teller = json!({"rules": [{"to": [{"operation": {"methods": ["PUT"]}}]},
        {"from": [{"source": {"serviceAccounts": ["teller"]}}]}]});
    let deny =
        json!({"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/admin*"]}}]}]});
    let nobody = json!({});
    for (specs, expected) in [
        (vec![], "allowed "),
        (vec![nobody.clone()], "denied "),
        (
            vec![nobody, teller.clone()],
            "allowed AuthorizationPolicy shop/p1 rule 1",
        ),
        (
            vec![teller, deny],
            "denied AuthorizationPolicy shop/p1 rule 0",
        ),
    ] {
        assert_eq!(verdict(&specs, &flow), expected, "{specs:?}");
    }
}

#[test]
fn what_is_not_known_decides_only_where_it_must() {
    let flow = get(Path::Template("/users/{*}"));
    let header = |action: &str| {
        json!({"action": action,
        "rules": [{"when": [{"key": "request.headers[x-pass]", "values": ["a"]}]}]})
    };
    let guest = json!({"rules": [{"from": [{"source": {"serviceAccounts": ["guest"]}}]}]});
    let claim = json!({"rules": [{"from": [{"source": {"requestPrincipals": ["*"]}}]}]});
    let addresses = json!({"rules": [{"from": [{"source": {"ipBlocks": ["10.0.0.0/8"]}}]}]});
    let host = json!({"action": "DENY", "rules": [{"to": [{"operation": {"hosts": ["a"]}}]}]});
    for (specs, expected) in [
        (vec![header("ALLOW")], "needs header x-pass"),
        (vec![header("DENY"), guest.clone()], "denied "),
        (vec![header("ALLOW"), host], "needs the host, header x-pass"),
        (vec![claim, guest], "needs a claim of the token"),
        (vec![addresses], "needs the caller's address"),
    ] {
        assert_eq!(verdict(&specs, &flow), expected, "{specs:?}");
    }
}

#[test]
fn paths_that_are_known_in_part_are_judged_by_what_is_known() {
    let one = "/users/{*}/orders";
    let rest = "/files/{**}";
    for (path, said, expected) in [
        (one, "/users/*", "allowed"),
        (one, "/users/7*", "needs"),
        (one, "/admin*", "denied"),
        (one, "*/orders", "allowed"),
        (one, "*7/orders", "needs"),
        (one, "*/items", "denied"),
        (one, "/users/7/orders", "needs"),
        (one, "/users/7", "denied"),
        (one, "/users/{*}/orders", "allowed"),
        (one, "/users/{**}", "allowed"),
        (one, "/{*}/7/orders", "needs"),
        (one, "/users/{*}", "denied"),
        (one, "*", "allowed"),
        (rest, "/files/{**}", "allowed"),
        (rest, "/files/{*}", "needs"),
        (rest, "/files/a/b", "needs"),
        (rest, "/other/{**}", "denied"),
        ("/users", "/users", "allowed"),
        ("/users", "/users/{**}", "denied"),
    ] {
        let spec = json!({"rules": [{"to": [{"operation": {"paths": [said]}}]}]});
        let said_of = verdict(&[spec], &get(Path::Template(path)));
        assert!(said_of.starts_with(expected), "{path} {said}: {said_of}");
    }
}

#[test]
fn of_connections_a_rule_on_requests_refuses_and_does_not_allow() {
    let flow = Flow {
        speech: FlowKind::Connection,
        ..get(Path::Raw("/"))
    };
    let methods = json!([{"to": [{"operation": {"methods": ["GET"]}}]}]);
    let deny = json!({"action": "DENY", "rules": methods});
    let expected = "denied AuthorizationPolicy shop/p0 rule 0";
    assert_eq!(verdict(&[deny], &flow), expected);
    assert_eq!(verdict(&[json!({"rules": methods})], &flow), "denied ");
}
