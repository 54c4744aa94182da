//! Objects in, what a pod's ports take out.

use super::*;
use crate::{
    model::{Attachments, Event, Index, Interner, Object},
    rules::{Rule as _, Settings},
};

/// Reads documents, each a rule. Every one must parse.
fn objects(yaml: &str) -> Vec<PeerAuthentication> {
    let documents = yaml_serde::Deserializer::from_str(yaml);
    let documents = documents.take(if yaml.is_empty() { 0 } else { usize::MAX });
    documents
        .map(|document| PeerAuthentication::deserialize(document).expect(yaml))
        .collect()
}

fn read(yaml: &str) -> (Attachments, Vec<String>) {
    let (names, settings) = (Interner::default(), Settings::default());
    let (mut problems, mut index) = (Vec::new(), Index::default());
    for object in objects(yaml) {
        let read = object.attachment(&names, &settings, &mut problems);
        read.into_iter()
            .for_each(|it| index.apply(Event::Applied(Object::Attachment(it))));
    }
    index.commit();
    let problems = problems.iter().map(ToString::to_string).collect();
    (index.snapshot().attachments().clone(), problems)
}

const MESH: &str =
    "{metadata: {name: default, namespace: weir-system}, spec: {mtls: {mode: STRICT}}}";
const SHOP: &str = "{metadata: {name: default, namespace: shop}, spec: {mtls: {mode: DISABLE}}}";
const WEB: &str = "{metadata: {name: web, namespace: shop}, spec: {selector: {matchLabels: {app: web}}, \
     mtls: {mode: PERMISSIVE}, portLevelMtls: {8080: {mode: STRICT}, 9000: {mode: UNSET}}}}";
const PORTS: &str = "{metadata: {name: ports, namespace: shop}, spec: {selector: {matchLabels: {app: web}}, \
     portLevelMtls: {8080: {mode: DISABLE}}}}";
const OLD: &str = "{metadata: {name: z, namespace: shop, creationTimestamp: 2026-01-01T00:00:00Z}, \
     spec: {mtls: {mode: STRICT}}}";
const YOUNG: &str = "{metadata: {name: a, namespace: shop, creationTimestamp: 2026-01-02T00:00:00Z}, \
     spec: {mtls: {mode: DISABLE}}}";
const UNSET: &str = "{metadata: {name: unset, namespace: shop}, spec: {mtls: {mode: UNSET}}}";
const NOTHING: &str = "{metadata: {name: nothing, namespace: shop}}";
const OLD_UNSET: &str = "{metadata: {name: u, namespace: shop, creationTimestamp: 2025-01-01T00:00:00Z}, \
     spec: {mtls: {}}}";
const EMPTY_SELECTOR: &str = "{metadata: {name: all, namespace: shop}, \
     spec: {selector: {matchLabels: {}}, mtls: {mode: STRICT}}}";
const TWO_LABELS: &str = "{metadata: {name: two, namespace: shop}, \
     spec: {selector: {matchLabels: {app: web, tier: front}}, mtls: {mode: STRICT}}}";

#[test]
fn the_narrowest_rule_that_says_something_decides_and_at_one_level_the_oldest() {
    use TlsMode::{Disable, Permissive, Strict};
    let cases: [(&[&str], &str, &str, u16, TlsMode); 22] = [
        (&[], "shop", "web", 80, Permissive),
        (&[MESH], "shop", "web", 80, Strict),
        (&[MESH], "weir-system", "web", 80, Strict),
        (&[MESH, SHOP], "shop", "web", 80, Disable),
        (&[MESH, SHOP], "other", "web", 80, Strict),
        (&[SHOP], "other", "web", 80, Permissive),
        (&[MESH, SHOP, WEB], "shop", "web", 80, Permissive),
        (&[MESH, SHOP, WEB], "shop", "web", 8080, Strict),
        (&[MESH, SHOP, WEB], "shop", "web", 9000, Permissive),
        (&[MESH, SHOP, WEB], "shop", "cart", 8080, Disable),
        (&[MESH, SHOP, WEB], "other", "web", 8080, Strict),
        // A rule for ports alone leaves the others as they were.
        (&[MESH, PORTS], "shop", "web", 80, Strict),
        (&[MESH, PORTS], "shop", "web", 8080, Disable),
        // The oldest, however they are named; without a time, the first by name.
        (&[YOUNG, OLD], "shop", "web", 80, Strict),
        (&[OLD, YOUNG], "shop", "web", 80, Strict),
        (&[WEB, PORTS], "shop", "web", 8080, Disable),
        // Unset inherits, and hides younger ones all the same.
        (&[MESH, UNSET], "shop", "web", 80, Strict),
        (&[MESH, NOTHING], "shop", "web", 80, Strict),
        (&[OLD_UNSET, OLD, MESH], "shop", "web", 80, Strict),
        (&[OLD_UNSET, YOUNG], "shop", "web", 80, Permissive),
        // No label is asked for.
        (&[EMPTY_SELECTOR], "shop", "cart", 80, Strict),
        // Each is.
        (&[TWO_LABELS], "shop", "web", 80, Permissive),
    ];
    for (rules, namespace, app, port, expected) in cases {
        let (attachments, problems) = read(&rules.join("\n---\n"));
        assert_eq!(problems, [""; 0], "{rules:?}");
        let labels = [("app".into(), app.into())].into();
        let in_force = attachments.inbound_tls(namespace, &labels);
        assert_eq!(
            in_force.on(port),
            expected,
            "{rules:?}: {namespace} {app} {port}"
        );
    }
}

#[test]
fn a_pod_that_is_not_known_is_served_as_the_strictest_rule_that_may_select_it_says() {
    use TlsMode::{Disable, Permissive, Strict};
    let cases: [(&[&str], &str, u16, TlsMode); 8] = [
        (&[], "shop", 8080, Permissive),
        (&[SHOP], "shop", 8080, Disable),
        (&[SHOP, WEB], "shop", 8080, Strict),
        (&[SHOP, WEB], "shop", 80, Permissive),
        (&[MESH, WEB], "shop", 80, Strict),
        (&[WEB, PORTS], "shop", 8080, Strict),
        (&[TWO_LABELS], "shop", 80, Strict),
        (&[TWO_LABELS], "other", 80, Permissive),
    ];
    for (rules, namespace, port, expected) in cases {
        let (attachments, problems) = read(&rules.join("\n---\n"));
        assert!(problems.is_empty(), "{problems:?}");
        let mode = attachments.inbound_tls_of_unknown(namespace).on(port);
        assert_eq!(mode, expected, "{rules:?}: {namespace} {port}");
    }
}

#[test]
fn the_rules_that_do_not_count_beside_an_older_one_are_known() {
    let (attachments, _) = read(&[YOUNG, OLD, WEB, MESH, UNSET].join("\n---\n"));
    let rivals = |name: &str, namespace: &str| -> Vec<String> {
        let rule = Spec::rule(crate::model::NamespacedName::new(namespace, name));
        let attachment = attachments.get(&rule).expect("a rule");
        let rivals = attachments.rivals(attachment);
        rivals.map(|rule| rule.name.name.to_string()).collect()
    };
    assert_eq!(rivals("a", "shop"), ["z", "a", "unset"]);
    assert_eq!(rivals("web", "shop"), ["web"]);
    assert_eq!(rivals("default", "weir-system"), ["default"]);
}

#[test]
fn what_cannot_be_honoured_is_named_and_the_rest_counts() {
    let cases = [
        (
            "{metadata: {name: a, namespace: weir-system}, spec: {selector: {matchLabels: {app: web}}, \
             mtls: {mode: STRICT}}}",
            "PeerAuthentication weir-system/a: spec.selector: ",
            TlsMode::Permissive,
        ),
        (
            "{metadata: {name: a, namespace: shop}, spec: {mtls: {mode: STRICT}, \
             portLevelMtls: {80: {mode: DISABLE}}}}",
            "PeerAuthentication shop/a: spec.portLevelMtls: ",
            TlsMode::Strict,
        ),
        (
            "{metadata: {name: a, namespace: shop}, spec: {selector: {matchLabels: {app: web}}, \
             mtls: {mode: STRICT}, portLevelMtls: {0: {mode: DISABLE}}}}",
            "PeerAuthentication shop/a: spec.portLevelMtls[0]: ",
            TlsMode::Strict,
        ),
        (
            "{metadata: {namespace: shop}, spec: {mtls: {mode: STRICT}}}",
            "PeerAuthentication shop/(without a name): metadata.name: ",
            TlsMode::Permissive,
        ),
    ];
    for (rule, problem, expected) in cases {
        let (attachments, problems) = read(rule);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(problem), "{problems:?}");
        let labels = [("app".into(), "web".into())].into();
        assert_eq!(
            attachments.inbound_tls("shop", &labels).on(80),
            expected,
            "{rule}"
        );
    }
}

#[test]
fn what_is_not_known_is_no_rule() {
    for (spec, named) in [
        (
            "{mtls: {mode: strict}}",
            "mtls.mode: unknown variant `strict`",
        ),
        ("{mtls: {modes: STRICT}}", "unknown field `modes`"),
        ("{mtsl: {mode: STRICT}}", "unknown field `mtsl`"),
        (
            "{selector: {matchExpressions: []}}",
            "unknown field `matchExpressions`",
        ),
        ("{portLevelMtls: {http: {mode: STRICT}}}", "portLevelMtls"),
        ("{portLevelMtls: {70000: {mode: STRICT}}}", "portLevelMtls"),
    ] {
        let document = yaml_serde::Deserializer::from_str(spec);
        let value = yaml_serde::Value::deserialize(document).expect("YAML");
        let value = serde_json::to_value(value).expect("JSON");
        let error = serde_path_to_error::deserialize::<_, Spec>(value).expect_err(spec);
        let error = error.to_string();
        assert!(error.contains(named), "{spec}: {error}");
    }
}
