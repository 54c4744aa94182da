//! Rules that say who may connect: what is wrong with them, and those that select no pod.

use std::{collections::BTreeSet, sync::Arc};

use kube::Client;
use serde_json::Value;
use weir_discovery::{
    rules::{
        Judgement, KINDS, KnownKind, Settings,
        gateway::{CONTROLLER_NAME, ROUTE_GROUP},
    },
    xds::MeshConfig,
};

use super::{
    Names,
    facts::{Facts, PAGE, Read, each_raw},
    finding::Finding,
};
use crate::attached;

const CHECK: &str = "rules";
/// Key of the settings of the whole mesh in Weir's ConfigMap.
const MESH_SETTINGS: &str = "mesh.yaml";
/// Findings that are told one by one.
const NAMED: usize = 10;
/// What an API server says of a kind that it does not serve.
const NOT_SERVED: u16 = 404;

/// An object that says who may connect.
#[derive(Debug)]
pub(super) struct Rule {
    kind: &'static KnownKind,
    object: Value,
    /// Whether it is about all namespaces.
    is_of_root: bool,
}

// === impl Rule ===

impl Rule {
    pub(super) fn new(kind: &'static KnownKind, object: Value, names: &Names) -> Self {
        let is_of_root = object["metadata"]["namespace"] == names.namespace.as_str();
        Self {
            kind,
            object,
            is_of_root,
        }
    }

    fn text(&self, field: &str) -> &str {
        self.object["metadata"][field].as_str().unwrap_or_default()
    }

    /// The labels that it selects pods by, if it does.
    fn labels(&self) -> Option<&serde_json::Map<String, Value>> {
        let labels = self.object.pointer("/spec/selector/matchLabels")?;
        labels.as_object().filter(|labels| !labels.is_empty())
    }

    /// Whether it is about a pod.
    pub(super) fn selects(&self, pod: &Value) -> bool {
        let labels = &pod["metadata"]["labels"];
        let mut asked = self.labels().into_iter().flatten();
        let is_here = pod["metadata"]["namespace"] == self.text("namespace");
        (self.is_of_root || is_here) && asked.all(|(key, value)| labels.get(key) == Some(value))
    }

    /// Whether it is about requests to services, and not about who may connect.
    fn is_route(&self) -> bool {
        [ROUTE_GROUP, "networking.istio.io"].contains(&self.kind.group)
    }

    /// Kind, namespace and name, for people and for kubectl.
    fn names(&self) -> (String, String) {
        let KnownKind { kind, path, .. } = self.kind;
        let (namespace, name) = (self.text("namespace"), self.text("name"));
        let plural = path.rsplit('/').next().unwrap_or_default();
        (
            format!("{kind} {namespace}/{name}"),
            format!("-n {namespace} {plural}.{}/{name}", self.kind.group),
        )
    }
}

/// Reads the rules of all kinds that the cluster serves.
pub(super) async fn read(client: &Client, names: &Names) -> Read<Vec<Rule>> {
    let mut rules = Vec::new();
    for kind in &KINDS {
        let take = |object| rules.push(Rule::new(kind, object, names));
        match each_raw(client, kind.path, PAGE, take).await {
            Err(kube::Error::Api(status)) if status.code == NOT_SERVED => {}
            read => read?,
        }
    }
    Ok(rules)
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let rules = match &facts.rules {
        Ok(rules) => rules,
        Err(unread) => return vec![unread.finding(CHECK)],
    };
    let settings = Settings {
        root_namespace: Arc::from(facts.names.namespace.as_str()),
        extension_providers: providers(facts),
        ..Settings::default()
    };
    let mut findings: Vec<_> = rules
        .iter()
        .flat_map(|rule| judged(rule, &settings))
        .collect();
    findings.extend(rules.iter().flat_map(not_in_force));
    findings.extend(in_vain(rules, &settings));
    if let Ok(census) = &facts.pods {
        let unused = rules.iter().enumerate();
        let unused = unused.filter(|(index, _)| !census.rules.contains(index));
        findings.extend(unused.filter_map(|(_, rule)| selects_none(rule)));
    }
    let more = findings.len().saturating_sub(NAMED);
    if more > 0 {
        findings.truncate(NAMED);
        findings.push(Finding::warning(
            CHECK,
            format!("{more} more findings about rules"),
            "mend those that are named, and run weir check again",
        ));
    }
    if findings.is_empty() {
        let message = match rules.len() {
            _ if rules.iter().all(Rule::is_route) => {
                "none says who may connect: everybody may connect to everybody".to_owned()
            }
            all => {
                format!("every rule is honoured, and selects pods where it names labels ({all})")
            }
        };
        findings.push(Finding::ok(CHECK, message));
    }
    findings
}

/// Names of the mesh's extension providers, if its settings can be read.
fn providers(facts: &Facts) -> Option<BTreeSet<String>> {
    let config = facts.config.as_ref().ok()?;
    let data = config.as_ref().and_then(|map| map.data.as_ref());
    let text = data.and_then(|data| data.get(MESH_SETTINGS));
    let mesh: Option<MeshConfig> = yaml_serde::from_str(text.map_or("", String::as_str)).ok()?;
    Some(mesh.unwrap_or_default().provider_names())
}

/// What the validating webhook would say of it; it may be older than that.
fn judged(rule: &Rule, settings: &Settings) -> Vec<Finding> {
    let (what, at) = rule.names();
    let Judgement { errors, warnings } =
        rule.kind
            .judge(&rule.object, rule.text("namespace"), settings);
    let said = errors.into_iter().chain(warnings);
    let advice = format!("kubectl edit {at}");
    said.map(|said| Finding::warning(CHECK, format!("{what}: {said}"), advice.clone()))
        .collect()
}

/// What the control plane says in the status of a route that is not in force as it is written.
fn not_in_force(rule: &Rule) -> Vec<Finding> {
    let parents = rule.object["status"]["parents"]
        .as_array()
        .into_iter()
        .flatten();
    let ours = parents.filter(|parent| parent["controllerName"] == CONTROLLER_NAME);
    let conditions = ours.flat_map(|it| it["conditions"].as_array().into_iter().flatten());
    let (what, at) = rule.names();
    let mut said: Vec<_> = conditions
        .filter(|it| it["status"] == "False")
        .map(|it| {
            let text = |field: &str| it[field].as_str().unwrap_or_default();
            let (kind, reason, message) = (text("type"), text("reason"), text("message"));
            format!("{what}: not {kind} ({reason}): {message}")
        })
        .collect();
    // Of several parents it is said once.
    said.sort();
    said.dedup();
    let advice = format!("kubectl get {at} -o jsonpath={{.status.parents}}");
    said.into_iter()
        .map(|said| Finding::warning(CHECK, said, advice.clone()))
        .collect()
}

/// Rules about calls that say something in vain because of what others say, or do not.
fn in_vain(rules: &[Rule], settings: &Settings) -> Vec<Finding> {
    let attached = rules.iter().map(|rule| (rule.kind, &rule.object));
    let snapshot = attached::snapshot(attached, settings);
    let overruled = snapshot.overruled().into_iter().map(|(rule, ignored)| {
        let said = format!("{ignored}: does not count where {rule} is about the same Service");
        let advice = format!("leave the Service to one of them: {rule}, or {ignored}");
        Finding::warning(CHECK, said, advice)
    });
    let lost = snapshot.lost_subsets().into_iter();
    let lost = lost.map(|(rule, service, subset)| {
        let said = format!(
            "{rule}: sends requests to subset {subset} of Service {service}, which no DestinationRule \
             has: they are answered 503"
        );
        let advice = "kubectl get destinationrules.networking.istio.io --all-namespaces";
        Finding::warning(CHECK, said, advice)
    });
    let entries = snapshot.attachments().entries();
    let shadowed = entries.shadowed().map(|(host, rule, ignored)| {
        let said = format!(
            "{ignored}: does not count for {}, which {rule} declares",
            host.name
        );
        let advice = format!("leave the host to one of them: {rule}, or {ignored}");
        Finding::warning(CHECK, said, advice)
    });
    let undeclared = snapshot.undeclared_hosts().into_iter();
    let undeclared = undeclared.map(|(rule, host)| {
        let said = format!(
            "{rule}: {host:?} is no name of a Service, and no ServiceEntry declares it: what the rule \
             says of it is in force nowhere"
        );
        let advice = "write NAME, or NAME.NAMESPACE.svc.cluster.local for a Service, or a ServiceEntry";
        Finding::warning(CHECK, said, advice)
    });
    overruled
        .chain(lost)
        .chain(shadowed)
        .chain(undeclared)
        .collect()
}

/// A rule whose labels no pod with a sidecar has is in force nowhere.
fn selects_none(rule: &Rule) -> Option<Finding> {
    let labels = rule.labels()?.iter();
    let labels = labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    let labels = labels.collect::<Vec<_>>().join(",");
    let pods = match rule.is_of_root {
        true => "--all-namespaces".to_owned(),
        false => format!("-n {}", rule.text("namespace")),
    };
    let (what, _) = rule.names();
    Some(Finding::warning(
        CHECK,
        format!("{what}: spec.selector: selects no pod with a sidecar, so it is in force nowhere"),
        format!("kubectl get pods {pods} -l {labels}"),
    ))
}
