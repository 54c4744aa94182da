use ipnet::IpNet;
use serde_json::json;

use super::*;
use crate::{
    config::{
        matcher::{StringMatcher, StringPattern},
        metadata::{MetadataMatcher, ValueMatcher},
        route::{HeaderCondition, HeaderMatcher},
    },
    http::codec::h1::request::Request,
};

fn text(pattern: StringPattern) -> StringMatcher {
    StringMatcher {
        pattern,
        ignore_case: false,
    }
}

fn exact(text: &str) -> StringMatcher {
    self::text(StringPattern::Exact(text.to_owned()))
}

fn range(text: &str) -> IpNet {
    text.parse().expect(text)
}

fn header(name: &str, value: &str) -> Rule {
    Rule::Header(HeaderMatcher {
        name: name.to_owned(),
        condition: HeaderCondition::Value(exact(value)),
        invert: false,
        treat_missing_as_empty: false,
    })
}

fn metadata(source: MetadataSource) -> Rule {
    Rule::Metadata {
        source,
        matcher: MetadataMatcher {
            filter: "f".to_owned(),
            path: vec!["k".to_owned()],
            value: ValueMatcher::Text(exact("v")),
            invert: false,
        },
    }
}

fn said() -> Metadata {
    let mut metadata = Metadata::default();
    metadata.merge("f", Map::from_iter([("k".to_owned(), json!("v"))]));
    metadata
}

fn connection() -> ConnectionAttributes<'static> {
    let address = |text: &str| text.parse().expect(text);
    ConnectionAttributes {
        source: address("10.0.0.1:1000"),
        direct_remote: address("10.0.0.2:2000"),
        remote: address("10.0.0.3:0"),
        destination: address("10.1.0.1:8080"),
        server_name: "sni.example",
        tls: None,
    }
}

fn request() -> Request {
    let mut request = Request::default();
    let head = b"GET /a/b?c HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-A: 2\r\n\r\n";
    request.parse(head, 100).expect("a head");
    request
}

/// Each with what it is of a request, and of a connection without one.
#[test]
fn conditions_hold_of_what_they_are_about() {
    let not = |rule| Rule::Not(Box::new(rule));
    let port = |start, end| Rule::DestinationPort { start, end };
    let cases = [
        (Rule::Any, true, true),
        (not(Rule::Any), false, false),
        (Rule::And(vec![Rule::Any, header("x-a", "1")]), true, false),
        (
            Rule::Or(vec![not(Rule::Any), header("x-a", "2")]),
            true,
            false,
        ),
        (header("x-a", "1,2"), false, false),
        (header(":method", "GET"), true, false),
        (header(":authority", "h"), true, false),
        (not(header("x-b", "1")), true, true),
        (Rule::UrlPath(exact("/a/b")), true, false),
        (Rule::UrlPath(exact("/a/b?c")), false, false),
        (not(Rule::UrlPath(exact("/"))), true, true),
        (Rule::DestinationIp(range("10.1.0.0/16")), true, true),
        (Rule::DestinationIp(range("10.2.0.0/16")), false, false),
        (port(8080, 8081), true, true),
        (port(8000, 8080), false, false),
        (Rule::SourceIp(range("10.0.0.1/32")), true, true),
        (Rule::DirectRemoteIp(range("10.0.0.2/32")), true, true),
        (Rule::RemoteIp(range("10.0.0.3/32")), true, true),
        (Rule::RemoteIp(range("10.0.0.1/32")), false, false),
        (Rule::RequestedServerName(exact("sni.example")), true, true),
        (metadata(MetadataSource::Dynamic), true, true),
        (metadata(MetadataSource::Route), false, false),
    ];
    let (connection, request, said) = (connection(), request(), said());
    for (rule, of_request, of_connection) in cases {
        for (head, expected) in [(Some(&request), of_request), (None, of_connection)] {
            let attributes = Attributes {
                connection: &connection,
                request: head.map(|request| request as &dyn RequestHead),
                metadata: &said,
                route_metadata: None,
                filter_state: &FilterState::EMPTY,
            };
            assert_eq!(rule.matches(&attributes), expected, "{rule:?}");
        }
    }
}

#[test]
fn the_routes_metadata_is_looked_at_where_there_is_a_route() {
    let (connection, said) = (connection(), said());
    let attributes = Attributes {
        connection: &connection,
        request: None,
        metadata: &Metadata::default(),
        route_metadata: Some(&said),
        filter_state: &FilterState::EMPTY,
    };
    assert!(metadata(MetadataSource::Route).matches(&attributes));
    assert!(!metadata(MetadataSource::Dynamic).matches(&attributes));
}

#[test]
fn the_first_policy_that_matches_decides() {
    let policy = |name: &str, permission, principal| Policy {
        name: name.to_owned(),
        permissions: vec![permission],
        principals: vec![principal],
    };
    let never = || Rule::Not(Box::new(Rule::Any));
    let (connection, nothing) = (connection(), Metadata::default());
    let attributes = Attributes {
        connection: &connection,
        request: None,
        metadata: &nothing,
        route_metadata: None,
        filter_state: &FilterState::EMPTY,
    };
    for (action, matches, is_allowed, policy_id) in [
        (Action::Allow, true, true, Some("b")),
        (Action::Allow, false, false, None),
        (Action::Deny, true, false, Some("b")),
        (Action::Deny, false, true, None),
        (Action::Log, true, true, Some("b")),
        (Action::Log, false, true, None),
    ] {
        let mut policies = vec![
            policy("a", Rule::Any, never()),
            policy("a2", never(), Rule::Any),
        ];
        if matches {
            policies.push(policy("b", Rule::Any, Rule::Any));
            policies.push(policy("c", Rule::Any, Rule::Any));
        }
        let rules = Rules { action, policies };
        let expected = Verdict {
            is_allowed,
            policy: policy_id,
        };
        assert_eq!(rules.verdict(&attributes), expected, "{action:?} {matches}");
    }
}

#[test]
fn what_became_of_it_is_said_behind_the_prefix() {
    let filter = Filter {
        rules_stat_prefix: "r_".to_owned(),
        ..Filter::default()
    };
    let denied = Verdict {
        is_allowed: false,
        policy: Some("p one"),
    };
    let expected = json!({
        "r_enforced_effective_policy_id": "p one",
        "r_enforced_engine_result": "denied",
    });
    let said = denied.metadata(&filter, Enforcement::Enforced);
    assert_eq!(Value::Object(said), expected);
    assert_eq!(denied.details(), "rbac_access_denied_matched_policy[p_one]");
    let allowed = Verdict {
        is_allowed: true,
        policy: None,
    };
    let said = allowed.metadata(&filter, Enforcement::Shadow);
    assert_eq!(
        Value::Object(said),
        json!({ "shadow_engine_result": "allowed" })
    );
    assert_eq!(allowed.details(), "rbac_access_denied_matched_policy[none]");
}
