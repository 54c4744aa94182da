//! The model under random changes: what it comes to does not depend on the way there, and what it
//! says has changed is all that has.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use proptest::prelude::*;
use weir_discovery::{
    model::{
        Attachment, Claim, Conflict, Effect, EndpointPort, EndpointSlice, Event, Hint,
        InboundTlsRule, Index, InternalTrafficPolicy, Labels, Locality, NamespacedName, Node,
        Object, ObjectKey, Pod, Probe, Question, Readiness, ResolvedService, RuleName, Service,
        ServiceKind, ServicePort, SessionAffinity, SliceEndpoint, Snapshot, Target, TlsMode,
        TrafficDistribution, Workload,
    },
    xds::{Client, Generator, Kind, Settings, Version},
};

fn name(number: u8) -> NamespacedName {
    NamespacedName::new("ns", &format!("n{number}"))
}

prop_compose! {
    /// Services whose addresses and ports collide often.
    fn service()(
        number in 0..4_u8,
        created in prop::option::of(0..3_i64),
        headless in any::<bool>(),
        addresses in prop::collection::btree_set(0..4_u8, 0..3),
        ports in prop::collection::btree_set(0..3_u16, 0..3),
        http in any::<bool>(),
        local in any::<bool>(),
        distribution in 0..3_usize,
    ) -> Object {
        let policies = [InternalTrafficPolicy::Cluster, InternalTrafficPolicy::Local];
        let distributions = [
            TrafficDistribution::Any,
            TrafficDistribution::PreferSameZone,
            TrafficDistribution::PreferSameNode,
        ];
        Object::Service(Service {
            name: name(number),
            created,
            kind: if headless { ServiceKind::Headless } else { ServiceKind::ClusterIp },
            addresses: addresses.into_iter().map(|last| [10, 4, 0, last].into()).collect(),
            ports: ports
                .into_iter()
                .map(|port| ServicePort {
                    name: format!("p{port}"),
                    port: 80 + port,
                    hint: Hint::of(http.then_some("http"), None, 80),
                })
                .collect(),
            internal_traffic_policy: policies[usize::from(local)],
            traffic_distribution: distributions[distribution],
            session_affinity: SessionAffinity::None,
            entry: None,
        })
    }
}

prop_compose! {
    fn slice()(
        number in 0..6_u8,
        service in 0..4_u8,
        ports in prop::collection::btree_map(0..3_u16, 0..3_u16, 0..3),
        endpoints in prop::collection::btree_map(
            0..5_u8,
            (0..3_usize, prop::option::of(0..3_u8), prop::option::of(0..2_u8)),
            0..4,
        ),
    ) -> Object {
        let readiness = [Readiness::Ready, Readiness::Draining, Readiness::NotReady];
        Object::EndpointSlice(EndpointSlice {
            name: name(number),
            service: name(service),
            ports: ports
                .into_iter()
                .map(|(port, number)| EndpointPort { name: format!("p{port}"), port: 80 + number })
                .collect(),
            endpoints: endpoints
                .into_iter()
                .map(|(last, (state, pod, node))| SliceEndpoint {
                    // Some of them are addresses of services, too.
                    address: [10, 4, 0, last].into(),
                    readiness: readiness[state],
                    node: node.map(node_name),
                    locality: Arc::default(),
                    hints: Arc::default(),
                    pod: pod.map(name),
                })
                .collect(),
        })
    }
}

prop_compose! {
    fn pod()(
        number in 0..3_u8,
        address in 0..4_u8,
        workload in 0..2_u8,
        host in any::<bool>(),
        mutual_tls in any::<bool>(),
        node in prop::option::of(0..2_u8),
        node_address in prop::option::of(node_address()),
    ) -> Object {
        Object::Pod(Pod {
            name: name(number),
            // Some of them are addresses of endpoints, and some of each other.
            addresses: vec![[10, 4, 0, address].into()],
            host_network: host,
            node: node.map(node_name),
            sidecar: !host,
            mutual_tls: mutual_tls && !host,
            labels: Arc::new(labels(workload)),
            ready: true,
            probes: probes(workload),
            node_addresses: node_address.into_iter().collect(),
            service_account: format!("a{workload}").into(),
            workload: Workload {
                kind: "Deployment".into(),
                name: format!("w{workload}").into(),
            },
        })
    }
}

fn probes(workload: u8) -> Arc<[Probe]> {
    let probe = |port, question| Probe { port, question };
    let all = [
        probe(80, Question::Http("/ready".into())),
        probe(90, Question::Grpc),
    ];
    all[..usize::from(workload)].into()
}

fn labels(workload: u8) -> Labels {
    [("app".into(), format!("w{workload}").into())].into()
}

fn rule_name(number: u8) -> RuleName {
    RuleName {
        kind: "Rule",
        name: name(number),
    }
}

fn tls_mode() -> impl Strategy<Value = TlsMode> {
    prop_oneof![
        Just(TlsMode::Disable),
        Just(TlsMode::Permissive),
        Just(TlsMode::Strict)
    ]
}

prop_compose! {
    fn attachment()(
        number in 0..3_u8,
        target in 0..3_u8,
        workload in 0..2_u8,
        mode in prop::option::of(tls_mode()),
        ports in prop::collection::btree_map(prop::sample::select(vec![80_u16, 8080]), tls_mode(), 0..2),
    ) -> Object {
        Object::Attachment(Attachment {
            rule: rule_name(number),
            created: Some(i64::from(number % 2)),
            target: match target {
                0 => Target::Mesh,
                1 => Target::Namespace,
                _ => Target::Workloads(labels(workload)),
            },
            effect: Effect::InboundTls(InboundTlsRule { mode, ports }),
        })
    }
}

fn node_address() -> impl Strategy<Value = std::net::IpAddr> {
    (1..3_u8).prop_map(|last| [192, 0, 2, last].into())
}

fn node_name(number: u8) -> Arc<str> {
    format!("node{number}").into()
}

prop_compose! {
    fn node()(
        number in 0..2_u8,
        zone in 0..3_u8,
        address in prop::option::of(node_address()),
    ) -> Object {
        let zone = format!("z{zone}").into();
        let locality = Locality { zone, ..Locality::default() };
        Object::Node(Node { name: node_name(number), locality: Arc::new(locality), addresses: address.into_iter().collect() })
    }
}

fn object() -> impl Strategy<Value = Object> {
    prop_oneof![3 => service(), 4 => slice(), 2 => pod(), 1 => node(), 1 => attachment()]
}

fn event() -> impl Strategy<Value = Event> {
    let number = 0..6_u8;
    prop_oneof![
        10 => object().prop_map(Event::Applied),
        1 => number.clone().prop_map(|it| Event::Deleted(ObjectKey::Service(name(it)))),
        1 => number.clone().prop_map(|it| Event::Deleted(ObjectKey::EndpointSlice(name(it)))),
        1 => number.prop_map(|it| Event::Deleted(ObjectKey::Pod(name(it)))),
        1 => (0..3_u8).prop_map(|it| Event::Deleted(ObjectKey::Attachment(rule_name(it)))),
        1 => (0..2_u8).prop_map(|it| Event::Deleted(ObjectKey::Node(node_name(it)))),
    ]
}

/// Sidecars of every pod, one of them on a node that nobody knows.
fn clients() -> Vec<Arc<Client>> {
    let client = |number: u8| Client {
        pod: Some(name(number)),
        addresses: (0..4).map(|last| [10, 4, 0, last].into()).collect(),
        node: Some(node_name(number)),
        ports: Vec::new(),
        mutual_tls: number == 0,
    };
    (0..3).map(|number| Arc::new(client(number))).collect()
}

fn generator() -> Generator {
    Generator::new(Settings {
        mutual_tls: true,
        ..Settings::default()
    })
}

/// Every resource there is, by its version: as nobody in particular sees it, and as each client.
fn versions(snapshot: &Snapshot) -> BTreeMap<(Kind, String, Option<usize>), Version> {
    let generator = generator();
    let mut versions = BTreeMap::new();
    for kind in Kind::ALL {
        for name in generator.names(snapshot, kind) {
            let resource = generator.resource(snapshot, kind, &name);
            let version = resource.unwrap_or_else(|| panic!("{name}")).version;
            // The others are the same for all.
            let is_personal =
                matches!(kind, Kind::Cluster | Kind::Endpoint) || name.starts_with("virtual");
            let clients = if is_personal { clients() } else { Vec::new() };
            for (number, client) in clients.iter().enumerate() {
                let view = generator.view(snapshot, kind, &name, client);
                let resource = generator.resource_for(snapshot, kind, &name, &view);
                let version = resource.unwrap_or_else(|| panic!("{name}")).version;
                versions.insert((kind, name.clone(), Some(number)), version);
            }
            versions.insert((kind, name, None), version);
        }
    }
    versions
}

proptest! {
    #[test]
    fn changes_name_every_resource_that_differs_and_lead_where_a_fresh_start_leads(
        batches in prop::collection::vec(prop::collection::vec(event(), 1..6), 1..12),
    ) {
        let mut index = Index::default();
        let mut objects: BTreeMap<ObjectKey, Object> = BTreeMap::new();
        let clients = clients();
        let mut before = versions(&index.snapshot());
        for batch in batches {
            for event in batch {
                match &event {
                    Event::Applied(object) => objects.insert(object.key(), object.clone()),
                    Event::Deleted(key) => objects.remove(key),
                };
                index.apply(event);
            }
            let committed = index.commit();
            let affected = committed.map(|(snapshot, changes)| {
                generator().affected(&snapshot, &changes)
            });
            let affected = affected.unwrap_or_default();
            let now = versions(&index.snapshot());
            let names: BTreeSet<_> = before.keys().chain(now.keys()).collect();
            for seen in names {
                let (kind, name, client) = seen;
                let scope = affected.get(&(*kind, name.clone()));
                let nobody = Client::default();
                let client = client.map_or(&nobody, |number| &clients[number]);
                let is_named = scope.is_some_and(|scope| scope.covers(&index.snapshot(), client));
                let differs = before.get(seen) != now.get(seen);
                prop_assert!(!differs || is_named, "{seen:?} differs");
            }
            let fresh = fresh(&objects);
            prop_assert!(now == versions(&fresh), "another way, another place");
            prop_assert_eq!(View::of(&fresh), View::of(&index.snapshot()));
            before = now;
        }
    }

    /// Watches of several kinds overtake each other, say things twice, and say everything again.
    #[test]
    fn events_in_any_order_said_twice_and_said_again_lead_to_what_there_is(
        events in prop::collection::vec((event(), any::<prop::sample::Index>()), 1..40),
        commits in prop::collection::btree_set(0..80_usize, 0..5),
        relists in prop::collection::btree_set(0..80_usize, 0..3),
    ) {
        // Each event comes at its place and once more at a later one, unless something newer was
        // said of its object by then, which a watch never takes back.
        let mut order: Vec<(usize, usize)> = Vec::new();
        for (number, (_, again)) in events.iter().enumerate() {
            order.push((number * 8, number));
            order.push((number * 8 + 1 + again.index(40), number));
        }
        order.sort_unstable();
        let mut newest = BTreeMap::new();
        let mut objects = BTreeMap::new();
        let mut index = Index::default();
        for (step, (_, number)) in order.into_iter().enumerate() {
            let event = &events[number].0;
            let key = match event {
                Event::Applied(object) => object.key(),
                Event::Deleted(key) => key.clone(),
            };
            if newest.get(&key).is_some_and(|newest| *newest > number) {
                continue;
            }
            newest.insert(key.clone(), number);
            match event {
                Event::Applied(object) => objects.insert(key, object.clone()),
                Event::Deleted(_) => objects.remove(&key),
            };
            index.apply(event.clone());
            if relists.contains(&step) {
                let all = objects.values().cloned();
                all.for_each(|object| index.apply(Event::Applied(object)));
            }
            if commits.contains(&step) {
                index.commit();
            }
        }
        index.commit();
        prop_assert_eq!(View::of(&index.snapshot()), View::of(&fresh(&objects)));
    }
}

#[test]
fn a_rule_concerns_the_sidecars_of_the_pods_that_it_says_something_else_of() {
    let pod = |number: u8, workload: u8| Pod {
        name: name(number),
        addresses: vec![[10, 4, 0, number].into()],
        host_network: false,
        node: None,
        sidecar: true,
        mutual_tls: true,
        labels: Arc::new(labels(workload)),
        ready: true,
        probes: probes(workload),
        node_addresses: Vec::new(),
        service_account: "a".into(),
        workload: Workload {
            kind: "Deployment".into(),
            name: "w".into(),
        },
    };
    let rule = |number, mode| {
        Event::Applied(Object::Attachment(Attachment {
            rule: rule_name(number),
            created: Some(i64::from(number)),
            target: Target::Workloads(labels(0)),
            effect: Effect::InboundTls(InboundTlsRule {
                mode: Some(mode),
                ..InboundTlsRule::default()
            }),
        }))
    };
    let mut index = Index::default();
    for pod in [pod(0, 0), pod(1, 1)] {
        index.apply(Event::Applied(Object::Pod(pod)));
    }
    index.commit();
    let mut concerned = |event| {
        index.apply(event);
        let (snapshot, changes) = index.commit().expect("changes");
        let affected = generator().affected(&snapshot, &changes);
        let scope = &affected[&(Kind::Listener, "virtualInbound".to_owned())];
        let clients = clients();
        let covered = clients
            .iter()
            .filter(|client| scope.covers(&snapshot, client));
        let pods = covered.filter_map(|client| client.pod.clone());
        pods.collect::<Vec<_>>()
    };
    // Nothing is known of the last one, so it may be meant.
    assert_eq!(concerned(rule(0, TlsMode::Strict)), [name(0), name(2)]);
    assert_eq!(concerned(rule(1, TlsMode::Disable)), [name(2)]);
}

/// Everything a snapshot says.
#[derive(Debug, PartialEq)]
struct View {
    services: BTreeMap<NamespacedName, Arc<ResolvedService>>,
    addresses: BTreeMap<SocketAddr, Claim>,
    conflicts: BTreeSet<Conflict>,
    pods: Vec<Option<Arc<Pod>>>,
    pod_address_count: usize,
    services_of: Vec<Vec<NamespacedName>>,
    nodes: Vec<Option<Arc<Node>>>,
}

impl View {
    fn of(snapshot: &Snapshot) -> Self {
        let services = snapshot.services();
        let addresses = snapshot.addresses();
        let pod = |last: u8| snapshot.pod([10, 4, 0, last].into()).cloned();
        let services_of = |number| snapshot.services_of(&name(number)).to_vec();
        let node = |number| snapshot.node(&node_name(number)).cloned();
        Self {
            services: services
                .map(|it| (it.service.name.clone(), it.clone()))
                .collect(),
            addresses: addresses.map(|(at, claim)| (at, claim.clone())).collect(),
            conflicts: snapshot.conflicts().collect(),
            pods: (0..5).map(pod).collect(),
            pod_address_count: snapshot.pod_address_count(),
            services_of: (0..6).map(services_of).collect(),
            nodes: (0..2).map(node).collect(),
        }
    }
}

fn fresh(objects: &BTreeMap<ObjectKey, Object>) -> Arc<Snapshot> {
    let mut index = Index::default();
    // Backwards, so that pods come first and services last.
    for object in objects.values().rev() {
        index.apply(Event::Applied(object.clone()));
    }
    index.commit();
    index.snapshot()
}
