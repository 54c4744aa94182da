//! Both variants of the protocol say the same.

use std::{collections::BTreeMap, time::Instant};

use proptest::prelude::*;
use weir_api::xds::{
    codec,
    envoy::{
        config::{
            cluster::v3::Cluster, endpoint::v3::ClusterLoadAssignment, listener::v3::Listener,
            route::v3::RouteConfiguration,
        },
        service::discovery::v3 as discovery,
    },
};

use super::*;
use crate::{
    model::{
        EndpointPort, EndpointSlice, Event, Hint, Index, InternalTrafficPolicy, NamespacedName,
        Object, Readiness, Service, ServiceKind, ServicePort, SessionAffinity, SliceEndpoint,
        TrafficDistribution,
    },
    xds::{Generator, names::Kind},
};

/// What a client may end up with, by kind and name.
type World = BTreeMap<(Kind, String), Body>;

/// A decoded resource: its bytes are in no particular order.
#[derive(Debug, Clone, PartialEq)]
enum Body {
    Cluster(Box<Cluster>),
    Endpoint(ClusterLoadAssignment),
    Listener(Box<Listener>),
    Route(Box<RouteConfiguration>),
}

const KINDS: [Kind; 4] = [Kind::Cluster, Kind::Endpoint, Kind::Listener, Kind::Route];

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    /// The service of that number is there, with so many endpoints.
    Service {
        number: u8,
        endpoints: u8,
        hinted: bool,
    },
    /// It is gone.
    Gone { number: u8 },
    /// The client wants these services and no others; none of them: everything.
    Want { numbers: Vec<u8> },
    /// What happened so far is published.
    Publish,
    /// The client loses its stream, and comes back to the other replica with what it has.
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let number = 1..5_u8;
    prop_oneof![
        4 => (number.clone(), 0..4_u8, any::<bool>())
            .prop_map(|(number, endpoints, hinted)| Step::Service { number, endpoints, hinted }),
        1 => number.clone().prop_map(|number| Step::Gone { number }),
        2 => prop::collection::vec(number, 1..4).prop_map(|numbers| Step::Want { numbers }),
        4 => Just(Step::Publish),
        2 => Just(Step::Reconnect),
    ]
}

proptest! {
    #[test]
    fn the_state_of_the_world_is_the_fold_of_its_deltas(
        steps in prop::collection::vec(step(), 1..40),
        wildcard in any::<bool>(),
    ) {
        let mut replicas = [Replica::default(), Replica::default()];
        let mut at = 0;
        let mut delta = DeltaClient::new(&replicas[0].hub, wildcard);
        let mut sotw = SotwClient::new(&replicas[0].hub, wildcard);
        for step in steps {
            let mut events = Vec::new();
            match step {
                Step::Publish => replicas.iter_mut().rev().for_each(Replica::publish),
                Step::Want { numbers } => {
                    delta.want(&numbers, &replicas[at].hub);
                    sotw.want(&numbers, &replicas[0].hub);
                }
                Step::Service { number, endpoints, hinted } => {
                    events.extend(service(number, endpoints, hinted));
                }
                Step::Gone { number } => {
                    events.push(Event::Deleted(Object::Service(declared(number, false)).key()));
                }
                Step::Reconnect => {
                    let from = at;
                    at = 1 - at;
                    delta.reconnect(&replicas[from].hub, &replicas[at].hub);
                    let told = delta.drain(&replicas[at].hub);
                    prop_assert_eq!(told, 0, "it had all of it");
                }
            }
            for (replica, is_late) in replicas.iter_mut().zip([false, true]) {
                replica.hear(&events, is_late);
            }
            delta.drain(&replicas[at].hub);
            sotw.drain(&replicas[0].hub);
            let (delta, sotw) = (&delta.world, &sotw.seen());
            prop_assert!(delta == sotw, "{:?}\n{:?}", delta.keys(), sotw.keys());
        }
    }
}

/// A control plane.
struct Replica {
    hub: Hub,
    index: Index,
    /// What it has not heard of yet: the latest event of each object, by when that came first.
    late: Vec<Event>,
}

impl Default for Replica {
    fn default() -> Self {
        Self {
            hub: Hub::new(Generator::default()),
            index: Index::default(),
            late: Vec::new(),
        }
    }
}

impl Replica {
    /// Hears of events at once, or of all together and in another order when they are published.
    fn hear(&mut self, events: &[Event], is_late: bool) {
        if !is_late {
            events
                .iter()
                .cloned()
                .for_each(|event| self.index.apply(event));
            return;
        }
        let key = |event: &Event| match event {
            Event::Applied(object) => object.key(),
            Event::Deleted(key) => key.clone(),
        };
        for event in events {
            self.late.retain(|late| key(late) != key(event));
            self.late.push(event.clone());
        }
    }

    fn publish(&mut self) {
        for event in std::mem::take(&mut self.late).into_iter().rev() {
            self.index.apply(event);
        }
        if let Some((snapshot, changes)) = self.index.commit() {
            self.hub.publish(&snapshot, &changes, Instant::now());
        }
    }
}

fn name(number: u8) -> NamespacedName {
    NamespacedName::new("shop", &format!("s{number}"))
}

fn declared(number: u8, hinted: bool) -> Service {
    Service {
        name: name(number),
        created: None,
        kind: ServiceKind::ClusterIp,
        addresses: vec![[10, 4, 0, number].into()],
        ports: vec![ServicePort {
            name: String::new(),
            port: 80,
            hint: Hint::of(hinted.then_some("http"), None, 80),
        }],
        internal_traffic_policy: InternalTrafficPolicy::Cluster,
        traffic_distribution: TrafficDistribution::Any,
        session_affinity: SessionAffinity::None,
            entry: None,
    }
}

fn service(number: u8, endpoints: u8, hinted: bool) -> [Event; 2] {
    let endpoint = |at| SliceEndpoint {
        address: [10, 5, number, at].into(),
        readiness: Readiness::Ready,
        node: None,
        locality: Arc::default(),
        hints: Arc::default(),
        pod: None,
    };
    let slice = EndpointSlice {
        name: name(number),
        service: name(number),
        ports: vec![EndpointPort {
            name: String::new(),
            port: 8080,
        }],
        endpoints: (0..endpoints).map(endpoint).collect(),
    };
    [
        Event::Applied(Object::Service(declared(number, hinted))),
        Event::Applied(Object::EndpointSlice(slice)),
    ]
}

/// Names of a kind that a client of these services wants.
fn wanted(kind: Kind, numbers: &[u8]) -> Vec<String> {
    let name = |number: &u8| match kind {
        Kind::Listener => format!("outbound|10.4.0.{number}:80"),
        _ => format!("outbound|80||s{number}.shop.svc.cluster.local"),
    };
    let mut names: Vec<_> = numbers.iter().map(name).collect();
    names.sort();
    names.dedup();
    names
}

struct DeltaClient {
    session: DeltaSession,
    wildcard: bool,
    subscribed: BTreeMap<Kind, Vec<String>>,
    world: World,
    versions: BTreeMap<(Kind, String), String>,
}

impl DeltaClient {
    fn new(hub: &Hub, wildcard: bool) -> Self {
        let mut client = Self {
            session: DeltaSession::new(hub, Origin::default()),
            wildcard,
            subscribed: BTreeMap::new(),
            world: World::new(),
            versions: BTreeMap::new(),
        };
        client.want(&[], hub);
        client
    }

    fn want(&mut self, numbers: &[u8], hub: &Hub) {
        for kind in KINDS {
            let first = !self.subscribed.contains_key(&kind);
            let old = self.subscribed.entry(kind).or_default();
            let mut new = wanted(kind, numbers);
            if kind.has_implicit_wildcard() && self.wildcard {
                new.clear();
            } else if first && kind.has_implicit_wildcard() {
                // Naming something makes it no wildcard.
                new = vec!["nonsense".to_owned()];
            }
            let unsubscribe: Vec<_> = old.iter().filter(|it| !new.contains(it)).cloned().collect();
            for name in &unsubscribe {
                self.world.remove(&(kind, name.clone()));
                self.versions.remove(&(kind, name.clone()));
            }
            let request = discovery::DeltaDiscoveryRequest {
                type_url: kind.type_url().to_owned(),
                resource_names_subscribe: new
                    .iter()
                    .filter(|it| !old.contains(it))
                    .cloned()
                    .collect(),
                resource_names_unsubscribe: unsubscribe,
                ..discovery::DeltaDiscoveryRequest::default()
            };
            *old = new;
            self.session.request(request, hub);
        }
    }

    /// Leaves one replica and asks another for all it wants, with the versions it has.
    fn reconnect(&mut self, from: &Hub, to: &Hub) {
        self.session.seat().leave(from);
        self.session = DeltaSession::new(to, Origin::default());
        for (kind, names) in &self.subscribed {
            let versions = self.versions.iter().filter(|((of, _), _)| of == kind);
            let versions = versions.map(|((_, name), version)| (name.clone(), version.clone()));
            let request = discovery::DeltaDiscoveryRequest {
                type_url: kind.type_url().to_owned(),
                resource_names_subscribe: names.clone(),
                initial_resource_versions: versions.collect(),
                ..discovery::DeltaDiscoveryRequest::default()
            };
            self.session.request(request, to);
        }
    }

    /// Takes in what there is to say, and gives how many resources that were.
    fn drain(&mut self, hub: &Hub) -> usize {
        let mut told = 0;
        self.session.seat().news();
        while let Some(response) = self.session.next(hub) {
            let kind = Kind::of(&response.type_url).expect("kind");
            told += response.resources.len();
            for resource in response.resources {
                let body = Body::decode(kind, &resource.resource.expect("a body").value);
                let key = (kind, resource.name);
                self.versions.insert(key.clone(), resource.version);
                self.world.insert(key, body);
            }
            for name in response.removed_resources {
                self.versions.remove(&(kind, name.clone()));
                self.world.remove(&(kind, name));
            }
            let ack = discovery::DeltaDiscoveryRequest {
                type_url: response.type_url,
                response_nonce: response.nonce,
                ..discovery::DeltaDiscoveryRequest::default()
            };
            self.session.request(ack, hub);
        }
        told
    }
}

struct SotwClient {
    session: SotwSession,
    wildcard: bool,
    subscribed: BTreeMap<Kind, Vec<String>>,
    nonces: BTreeMap<Kind, String>,
    world: World,
}

impl SotwClient {
    fn new(hub: &Hub, wildcard: bool) -> Self {
        let mut client = Self {
            session: SotwSession::new(hub, Origin::default()),
            wildcard,
            subscribed: BTreeMap::new(),
            nonces: BTreeMap::new(),
            world: World::new(),
        };
        client.want(&[], hub);
        client
    }

    fn want(&mut self, numbers: &[u8], hub: &Hub) {
        for kind in KINDS {
            let first = !self.subscribed.contains_key(&kind);
            let mut names = wanted(kind, numbers);
            if kind.has_implicit_wildcard() && self.wildcard {
                names.clear();
            } else if first && kind.has_implicit_wildcard() {
                names = vec!["nonsense".to_owned()];
            }
            self.subscribed.insert(kind, names);
            self.send(kind, hub);
        }
    }

    fn send(&mut self, kind: Kind, hub: &Hub) {
        let request = discovery::DiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names: self.subscribed[&kind].clone(),
            response_nonce: self.nonces.get(&kind).cloned().unwrap_or_default(),
            ..discovery::DiscoveryRequest::default()
        };
        self.session.request(request, hub);
    }

    fn drain(&mut self, hub: &Hub) {
        self.session.seat().news();
        while let Some(response) = self.session.next(hub) {
            let kind = Kind::of(&response.type_url).expect("kind");
            if kind.has_implicit_wildcard() {
                self.world.retain(|(other, _), _| *other != kind);
            }
            for body in response.resources {
                let body = Body::decode(kind, &body.value);
                self.world.insert((kind, body.name()), body);
            }
            self.nonces.insert(kind, response.nonce);
            self.send(kind, hub);
        }
    }

    /// Without what the client wants no longer, and without routes and endpoints of clusters that
    /// are gone: this variant cannot say that they are gone, and clients drop them by themselves.
    fn seen(&self) -> World {
        let is_wanted = |kind: &Kind, name: &String| {
            kind.has_implicit_wildcard() || self.subscribed[kind].contains(name)
        };
        let is_gone = |kind: &Kind, name: &str| {
            let progress = self.session.seat().shared.lock();
            let told = progress.types[kind].told.get(name);
            !kind.has_implicit_wildcard()
                && told.is_some_and(|told| told.what == subscription::What::Absent)
        };
        let world = self.world.iter();
        let world = world.filter(|((kind, name), _)| is_wanted(kind, name) && !is_gone(kind, name));
        world
            .map(|(key, body)| (key.clone(), body.clone()))
            .collect()
    }
}

// === impl Body ===

impl Body {
    fn decode(kind: Kind, bytes: &[u8]) -> Self {
        match kind {
            Kind::Cluster => {
                Self::Cluster(Box::new(codec::decode_cluster(bytes).expect("cluster")))
            }
            Kind::Endpoint => {
                Self::Endpoint(codec::decode_cluster_load_assignment(bytes).expect("assignment"))
            }
            Kind::Listener => {
                Self::Listener(Box::new(codec::decode_listener(bytes).expect("listener")))
            }
            Kind::Route => Self::Route(Box::new(
                codec::decode_route_configuration(bytes).expect("routes"),
            )),
            Kind::Secret => panic!("there are none"),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Cluster(cluster) => cluster.name.clone(),
            Self::Endpoint(assignment) => assignment.cluster_name.clone(),
            Self::Listener(listener) => listener.name.clone(),
            Self::Route(routes) => routes.name.clone(),
        }
    }
}

#[test]
fn a_cluster_that_changes_brings_its_endpoints_along() {
    let hub = Hub::new(Generator::default());
    let mut index = Index::default();
    let mut publish = |events: [Event; 2]| {
        events.into_iter().for_each(|event| index.apply(event));
        let (snapshot, changes) = index.commit().expect("a change");
        hub.publish(&snapshot, &changes, Instant::now());
    };
    publish(service(1, 1, false));
    let mut client = DeltaClient::new(&hub, false);
    client.want(&[1], &hub);
    client.drain(&hub);
    publish(service(1, 1, true));
    client.session.seat().news();
    let kinds: Vec<_> = std::iter::from_fn(|| client.session.next(&hub))
        .map(|response| Kind::of(&response.type_url).expect("kind"))
        .collect();
    // The cluster of a port with a hint for HTTP differs in its metadata.
    assert_eq!(kinds, [Kind::Cluster, Kind::Endpoint, Kind::Listener]);
}
