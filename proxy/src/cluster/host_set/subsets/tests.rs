use std::{collections::BTreeSet, sync::Arc};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    super::super::{Cluster, LoadBalancerContext, Tried, fixture},
    *,
};
use crate::config::{
    LoadAssignment,
    endpoint::{Endpoint, LocalityEndpoints},
};

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// A cluster whose hosts have this metadata; their ports are their indexes.
fn cluster(fields: &str, metadata: &[Value]) -> Cluster {
    let endpoint = |(port, metadata): (u16, &Value)| Endpoint {
        lb_metadata: Some(Arc::new(object(metadata))),
        ..Endpoint::at(([10, 0, 0, 1], port).into())
    };
    let endpoints = LoadAssignment {
        localities: vec![LocalityEndpoints {
            endpoints: (0..).zip(metadata).map(endpoint).map(Arc::new).collect(),
            ..LocalityEndpoints::default()
        }],
        ..LoadAssignment::default()
    };
    let cluster = Cluster::new(&fixture::config(fields), Arc::default(), None);
    cluster.set_endpoints(&Arc::new(endpoints));
    cluster
}

/// Who is picked of so many times.
fn picked(cluster: &Cluster, wanted: Option<&Value>, times: usize) -> BTreeSet<u16> {
    let wanted = wanted.map(|wanted| MetadataMatch::new(&object(wanted)));
    let tried = Tried::default();
    let context = LoadBalancerContext {
        metadata_match: wanted.as_ref(),
        ..LoadBalancerContext::new(None, &tried)
    };
    let picks = (0..times).filter_map(|_| cluster.pick(&context));
    picks.map(|host| host.address.port()).collect()
}

/// Settings of subsets.
#[derive(Debug, Clone)]
struct Case {
    fallback: &'static str,
    selectors: Vec<(Vec<&'static str>, &'static str)>,
    list_as_any: bool,
    panic_mode_any: bool,
    default: Value,
    hosts: Vec<Value>,
    wanted: Option<Value>,
}

const KEYS: [&str; 3] = ["a", "b", "c"];

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(1)),
        Just(json!("x")),
        Just(json!(true)),
        Just(json!(["x", 1])),
    ]
}

fn metadata() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(prop::sample::select(&KEYS[..]), values(), 0..3)
        .prop_map(|values| json!(values))
}

fn cases() -> impl Strategy<Value = Case> {
    let keys = prop::sample::subsequence(&KEYS[..], 1..=3);
    let of_selector = prop::sample::select(vec![
        "NOT_DEFINED",
        "NO_FALLBACK",
        "ANY_ENDPOINT",
        "DEFAULT_SUBSET",
    ]);
    let fallback = prop::sample::select(vec!["NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET"]);
    (
        (fallback, any::<bool>(), any::<bool>()),
        prop::collection::vec((keys, of_selector), 1..4),
        metadata(),
        prop::collection::vec(metadata(), 0..6),
        prop::option::of(metadata()),
    )
        .prop_map(
            |((fallback, list_as_any, panic_mode_any), selectors, default, hosts, wanted)| Case {
                fallback,
                selectors,
                list_as_any,
                panic_mode_any,
                default,
                hosts,
                wanted,
            },
        )
}

// === impl Case ===

impl Case {
    fn fields(&self) -> String {
        let selectors = self
            .selectors
            .iter()
            .map(|(keys, fallback)| json!({ "keys": keys, "fallback_policy": fallback }));
        let subsets = json!({
            "fallback_policy": self.fallback,
            "default_subset": self.default,
            "list_as_any": self.list_as_any,
            "panic_mode_any": self.panic_mode_any,
            "subset_selectors": selectors.collect::<Vec<_>>(),
        });
        format!("lb_subset_config: {subsets}")
    }

    fn all(&self) -> BTreeSet<u16> {
        (0..self.hosts.len() as u16).collect()
    }

    /// Hosts that have all of these.
    fn with(&self, wanted: &Map<String, Value>) -> BTreeSet<u16> {
        let has = |metadata: &Value, key: &String, wanted: &Value| match &metadata[key] {
            Value::Array(values) if self.list_as_any => values.contains(wanted),
            value => metadata.get(key).is_some() && value == wanted,
        };
        let fits = |metadata: &Value| wanted.iter().all(|(key, it)| has(metadata, key, it));
        let hosts = (0..).zip(&self.hosts).filter(|(_, host)| fits(host));
        hosts.map(|(port, _)| port).collect()
    }

    fn fall_back(&self, policy: &str) -> BTreeSet<u16> {
        match policy {
            "ANY_ENDPOINT" => self.all(),
            "DEFAULT_SUBSET" => self.with(&object(&self.default)),
            _ => BTreeSet::new(),
        }
    }

    /// Who may be picked, by looking at each host.
    fn expected(&self) -> BTreeSet<u16> {
        let of_cluster = || {
            let hosts = self.fall_back(self.fallback);
            let panics = self.panic_mode_any && self.fallback != "NO_FALLBACK";
            match hosts.is_empty() && panics {
                true => self.all(),
                false => hosts,
            }
        };
        let Some(wanted) = self.wanted.as_ref().map(object) else {
            return of_cluster();
        };
        let keys: Vec<&str> = wanted.keys().map(String::as_str).collect();
        let is_selector = self.selectors.iter().any(|(selector, _)| *selector == keys);
        let hosts = self.with(&wanted);
        if is_selector && !hosts.is_empty() {
            return hosts;
        }
        let shadowed = |at: usize| {
            self.selectors[..at]
                .iter()
                .any(|it| it.0.starts_with(&keys))
        };
        let mut selectors = self.selectors.iter().enumerate();
        let own = selectors.find(|(_, (selector, _))| *selector == keys);
        match own.filter(|(at, _)| !shadowed(*at)) {
            Some((_, (_, policy))) if *policy != "NOT_DEFINED" => self.fall_back(policy),
            _ => of_cluster(),
        }
    }
}

proptest! {
    #[test]
    fn who_is_picked_is_who_a_look_at_each_host_finds(case in cases()) {
        let cluster = cluster(&case.fields(), &case.hosts);
        // Round robin: each has a turn, of a subset and of a fallback.
        let found = picked(&cluster, case.wanted.as_ref(), case.hosts.len().max(1));
        prop_assert_eq!(found, case.expected());
    }
}

const VERSIONS: &str = r#"lb_subset_config: { fallback_policy: ANY_ENDPOINT, subset_selectors: [
    { keys: [version, stage], fallback_policy: KEYS_SUBSET, fallback_keys_subset: [version] },
    { keys: [version] } ] }"#;

#[test]
fn fewer_keys_are_asked_for_where_all_lead_nowhere() {
    let hosts = [
        json!({ "version": 1, "stage": "prod" }),
        json!({ "version": 1, "stage": "dev" }),
        json!({ "version": 2, "stage": "dev" }),
    ];
    let cluster = cluster(VERSIONS, &hosts);
    let picked = |wanted| Vec::from_iter(picked(&cluster, Some(&wanted), 6));
    assert_eq!(picked(json!({ "version": 1, "stage": "dev" })), [1]);
    assert_eq!(picked(json!({ "version": 1, "stage": "test" })), [0, 1]);
    assert_eq!(picked(json!({ "version": 3, "stage": "test" })), [0, 1, 2]);
}

#[test]
fn one_host_is_enough_where_keys_are_to_lead_to_one() {
    let fields =
        "lb_subset_config: { subset_selectors: [{ keys: [id], single_host_per_subset: true }] }";
    let hosts = [json!({ "id": 1 }), json!({ "id": 2 }), json!({ "id": 2 })];
    let cluster = cluster(fields, &hosts);
    let picked = |wanted| Vec::from_iter(picked(&cluster, Some(&wanted), 6));
    assert_eq!(picked(json!({ "id": 2 })), [1]);
    assert!(picked(json!({ "id": 3 })).is_empty());
}

#[test]
fn a_list_of_fallbacks_is_tried_in_its_order() {
    let fields = "lb_subset_config: { metadata_fallback_policy: FALLBACK_LIST, subset_selectors: [{ keys: [v] }] }";
    let cluster = cluster(fields, &[json!({ "v": 1 }), json!({ "v": 2 })]);
    let picked = |wanted| Vec::from_iter(picked(&cluster, Some(&wanted), 6));
    let list = json!({ "fallback_list": [{ "v": 3 }, { "v": 2 }, { "v": 1 }] });
    assert_eq!(picked(list), [1]);
    assert_eq!(picked(json!({ "v": 1, "fallback_list": [{}] })), [0]);
    assert_eq!(picked(json!({ "v": 1, "fallback_list": [] })), [0]);
    assert!(picked(json!({ "v": 1, "fallback_list": [{ "v": 9 }] })).is_empty());
}
