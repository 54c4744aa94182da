//! Policies in, what they attach out.

use super::*;
use crate::{
    model::{Attachment, Attachments, Attribute, Event, Index, Interner, Labels, Object, Value},
    rules::{Rule as _, Settings},
};

fn parsed(yaml: &str) -> AuthorizationPolicy {
    let document = yaml_serde::Deserializer::from_str(yaml).next().expect(yaml);
    AuthorizationPolicy::deserialize(document).expect(yaml)
}

/// What a policy attaches, and the problems with it.
fn read(yaml: &str) -> (Option<Attachment>, Vec<String>) {
    let (names, settings) = (Interner::default(), Settings::default());
    let mut problems = Vec::new();
    let read = parsed(yaml).attachment(&names, &settings, &mut problems);
    (read, problems.iter().map(ToString::to_string).collect())
}

/// A policy of the namespace `shop` with that `spec`.
fn shop(spec: &str) -> String {
    format!("{{metadata: {{name: p, namespace: shop}}, spec: {spec}}}")
}

fn rule_of(spec: &str) -> (AuthorizationRule, Vec<String>) {
    let (attachment, problems) = read(&shop(spec));
    let Some(Effect::Authorization(rule)) = attachment.map(|it| it.effect) else {
        panic!("{spec} attaches nothing: {problems:?}");
    };
    (rule, problems)
}

#[test]
fn a_policy_without_rules_allows_nothing_and_an_empty_rule_is_about_everything() {
    let (nothing, problems) = rule_of("{}");
    assert_eq!(nothing.action, AuthorizationAction::Allow);
    assert!(nothing.clauses.is_empty() && problems.is_empty());
    let (everything, problems) = rule_of("{action: DENY, rules: [{}]}");
    assert_eq!(everything.action, AuthorizationAction::Deny);
    let [clause] = &everything.clauses[..] else {
        panic!("{everything:?}");
    };
    assert!(clause.sources.is_empty() && clause.operations.is_empty());
    assert!(clause.conditions.is_empty() && problems.is_empty());
}

#[test]
fn values_are_exact_prefixes_suffixes_presence_templates_networks_and_ports() {
    let names = Interner::default();
    let text = |text: &str| names.text(text);
    let net = |address: &str, length| Value::Network(address.parse().expect("an address"), length);
    let cases = [
        (Attribute::Host, "a.b", Value::Exact(text("a.b"))),
        (Attribute::Host, "*.b", Value::Suffix(text(".b"))),
        (Attribute::Path, "/a*", Value::Prefix(text("/a"))),
        (Attribute::Method, "*", Value::Present),
        (
            Attribute::Path,
            "/a/{*}/b/{**}",
            Value::Template(text("/a/{*}/b/{**}")),
        ),
        (Attribute::SourceIp, "10.0.0.0/8", net("10.0.0.0", 8)),
        (Attribute::RemoteIp, "fd00::1", net("fd00::1", 128)),
        (Attribute::DestinationPort, "8080", Value::Port(8080)),
        (
            Attribute::ServiceAccount,
            "pay",
            Value::Exact(text("shop/pay")),
        ),
        (
            Attribute::ServiceAccount,
            "bank/pay",
            Value::Exact(text("bank/pay")),
        ),
    ];
    for (attribute, said, expected) in cases {
        let read = values::value(&attribute, said, "shop", &names);
        assert_eq!(read, Ok(expected), "{attribute:?} {said}");
    }
    let wrong = [
        (Attribute::SourceIp, "10.0.0.0/33"),
        (Attribute::SourceIp, "fd00::/129"),
        (Attribute::SourceIp, "host"),
        (Attribute::DestinationPort, "0"),
        (Attribute::DestinationPort, "http"),
        (Attribute::DestinationPort, "65536"),
        (Attribute::ServiceAccount, "bank/*"),
        (Attribute::ServiceAccount, "a/b/c"),
        (Attribute::Path, "/a/{**}/b"),
        (Attribute::Path, "/a{*}"),
        (Attribute::Path, "/{x}"),
        (Attribute::Path, "a/{*}"),
        (Attribute::Host, ""),
    ];
    for (attribute, said) in wrong {
        let read = values::value(&attribute, said, "shop", &names);
        assert!(read.is_err(), "{attribute:?} {said}: {read:?}");
    }
}

/// Of a policy that allows, the rule with a part that cannot be honoured is left out; of one that
/// denies, the part counts as held.
#[test]
fn nobody_is_let_in_by_what_cannot_be_honoured() {
    let cases = [
        (
            "from: [{source: {principal: [a]}}]",
            "from[0].source.principal",
        ),
        ("from: [{source: {}}]", "from[0].source"),
        (
            "from: [{source: {ipBlocks: [x]}}]",
            "from[0].source.ipBlocks[0]",
        ),
        (
            "from: [{source: {notIpBlocks: [x]}}]",
            "from[0].source.notIpBlocks[0]",
        ),
        ("to: [{operation: {ports: []}}]", "to[0].operation"),
        (
            "to: [{operation: {paths: ['/{a}']}}]",
            "to[0].operation.paths[0]",
        ),
        ("when: [{key: request.body, values: [a]}]", "when[0].key"),
        (
            "when: [{key: 'request.headers[]', values: [a]}]",
            "when[0].key",
        ),
        ("when: [{key: source.ip}]", "when[0].values"),
    ];
    for (rule, field) in cases {
        let (allows, problems) = rule_of(&format!("{{rules: [{{{rule}}}, {{}}]}}"));
        assert_eq!(problems.len(), 1, "{rule}: {problems:?}");
        let named = format!("AuthorizationPolicy shop/p: spec.rules[0].{field}: ");
        assert!(
            problems[0].starts_with(&named),
            "{problems:?} is not {named}"
        );
        let left: Vec<_> = allows.clauses.iter().map(|it| it.index).collect();
        assert_eq!(left, [1], "{rule}");

        let (denies, problems) = rule_of(&format!("{{action: DENY, rules: [{{{rule}}}]}}"));
        assert_eq!(problems.len(), 1, "{rule}: {problems:?}");
        let [clause] = &denies.clauses[..] else {
            panic!("{rule}: {denies:?}");
        };
        let all = clause.sources.iter().chain(&clause.operations).flatten();
        assert_eq!(
            all.chain(&clause.conditions).count(),
            0,
            "{rule}: {clause:?}"
        );
    }
}

#[test]
fn an_empty_list_beside_another_field_lets_nobody_in() {
    let (allows, problems) = rule_of("{rules: [{to: [{operation: {ports: [], paths: [/]}}]}, {}]}");
    let left: Vec<_> = allows.clauses.iter().map(|it| it.index).collect();
    assert_eq!(left, [1]);
    let named = "AuthorizationPolicy shop/p: spec.rules[0].to[0].operation.ports: ";
    assert!(problems[0].starts_with(named), "{problems:?}");
}

#[test]
fn what_sidecars_cannot_do_is_named() {
    let cases = [
        ("{provider: {name: x}, rules: [{}]}", "spec.provider: "),
        (
            "{targetRefs: [{kind: Gateway, name: g}], rules: [{}]}",
            "spec.targetRefs: ",
        ),
        ("{action: DENY}", "spec.rules: "),
    ];
    for (spec, named) in cases {
        let (_, problems) = read(&shop(spec));
        let expected = format!("AuthorizationPolicy shop/p: {named}");
        assert!(
            matches!(&problems[..], [one] if one.starts_with(&expected)),
            "{spec}: {problems:?}"
        );
    }
    let (custom, problems) = rule_of("{action: CUSTOM, provider: {name: x}, rules: [{}]}");
    let asked = (custom.action, custom.provider.as_deref());
    assert_eq!(asked, (AuthorizationAction::Custom, Some("x")));
    assert!(problems.is_empty(), "{problems:?}");
    assert!(
        read(&shop("{targetRef: {kind: Gateway, name: g}}"))
            .0
            .is_none()
    );
}

#[test]
fn an_annotation_makes_a_policy_one_that_is_only_watched() {
    for (value, dry_run, problems) in [("true", true, 0), ("false", false, 0), ("yes", false, 1)] {
        let (attachment, found) = read(&format!(
            "{{metadata: {{name: p, namespace: shop, annotations: {{istio.io/dry-run: {value:?}}}}}}}"
        ));
        let rule = attachment.expect("attaches");
        let rule = rule.effect.authorization().expect("of the kind");
        assert_eq!(
            (rule.is_dry_run, found.len()),
            (dry_run, problems),
            "{value}"
        );
    }
}

#[test]
fn connections_are_refused_whatever_their_requests_would_be_and_allowed_only_by_what_is_known() {
    let rules = "rules: [{to: [{operation: {ports: ['80'], methods: [GET]}}]}, \
                 {from: [{source: {namespaces: [a]}}], when: [{key: 'request.headers[x]', values: [b]}]}, \
                 {from: [{source: {namespaces: [a]}}]}]";
    let of_connections = |action: &str| {
        let (rule, _) = rule_of(&format!("{{action: {action}, {rules}}}"));
        let action = rule.action;
        let clauses = rule.clauses.iter();
        clauses
            .filter_map(|clause| clause.of_connections(action))
            .map(|it| {
                let all = it.sources.iter().chain(&it.operations).flatten();
                (it.index, all.chain(&it.conditions).count())
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(of_connections("DENY"), [(0, 1), (1, 1), (2, 1)]);
    assert_eq!(of_connections("ALLOW"), [(2, 1)]);
    assert_eq!(of_connections("AUDIT"), [(2, 1)]);
}

fn attachments(policies: &[&str]) -> Attachments {
    let mut index = Index::default();
    for yaml in policies {
        let attachment = read(yaml).0.expect(yaml);
        index.apply(Event::Applied(Object::Attachment(attachment)));
    }
    index.commit();
    index.snapshot().attachments().clone()
}

#[test]
fn all_policies_about_a_pod_count_whatever_their_age_and_those_of_the_root_namespace_select_anywhere()
 {
    let all = attachments(&[
        "{metadata: {name: mesh, namespace: weir-system}, spec: {action: DENY}}",
        "{metadata: {name: any-web, namespace: weir-system}, \
          spec: {selector: {matchLabels: {app: web}}, action: AUDIT}}",
        "{metadata: {name: all, namespace: shop}}",
        "{metadata: {name: web, namespace: shop}, spec: {selector: {matchLabels: {app: web}}}}",
        "{metadata: {name: bank, namespace: bank}, spec: {action: DENY}}",
    ]);
    let of = |namespace: &str, app: &str| -> Vec<String> {
        let rules = all.authorization(namespace, &Labels::from([("app".into(), app.into())]));
        rules
            .iter()
            .map(|it| it.rule.name.name.to_string())
            .collect()
    };
    assert_eq!(of("shop", "web"), ["any-web", "mesh", "all", "web"]);
    assert_eq!(of("shop", "db"), ["mesh", "all"]);
    assert_eq!(of("bank", "web"), ["any-web", "bank", "mesh"]);
    assert_eq!(of("other", "db"), ["mesh"]);
}

#[test]
fn a_pod_is_guarded_by_policies_that_refuse_somebody() {
    let annotations = "annotations: {istio.io/dry-run: 'true'}";
    for (policy, is_guarded) in [
        ("{metadata: {name: a, namespace: shop}}".to_owned(), true),
        (shop("{action: DENY, rules: [{}]}"), true),
        (shop("{selector: {matchLabels: {app: web}}}"), true),
        (shop("{selector: {matchLabels: {app: db}}}"), false),
        (shop("{action: AUDIT, rules: [{}]}"), false),
        (
            format!("{{metadata: {{name: a, namespace: shop, {annotations}}}}}"),
            false,
        ),
        ("{metadata: {name: a, namespace: bank}}".to_owned(), false),
        (
            "{metadata: {name: a, namespace: weir-system}}".to_owned(),
            true,
        ),
    ] {
        let labels = Labels::from([("app".into(), "web".into())]);
        let is = attachments(&[&policy]).is_guarded("shop", &labels);
        assert_eq!(is, is_guarded, "{policy}");
    }
}

/// Before a pod is known nobody can say which policies are about it.
#[test]
fn of_a_pod_that_is_not_known_nothing_is_said_where_a_policy_may_select_it() {
    let of_namespace = "{metadata: {name: all, namespace: shop}}";
    let of_workload =
        "{metadata: {name: web, namespace: shop}, spec: {selector: {matchLabels: {app: web}}}}";
    let known = attachments(&[of_namespace]).authorization_of_unknown("shop");
    assert_eq!(known.map(|it| it.len()), Some(1));
    let both = attachments(&[of_namespace, of_workload]);
    assert_eq!(both.authorization_of_unknown("shop"), None);
    assert_eq!(both.authorization_of_unknown("bank"), Some(Vec::new()));
}
