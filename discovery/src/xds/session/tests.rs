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
        Object, Readiness, Service, ServiceKind, ServicePort, SliceEndpoint, TrafficDistribution,
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
}

fn step() -> impl Strategy<Value = Step> {
    let number = 1..5_u8;
    prop_oneof![
        4 => (number.clone(), 0..4_u8, any::<bool>())
            .prop_map(|(number, endpoints, hinted)| Step::Service { number, endpoints, hinted }),
        1 => number.clone().prop_map(|number| Step::Gone { number }),
        2 => prop::collection::vec(number, 1..4).prop_map(|numbers| Step::Want { numbers }),
        4 => Just(Step::Publish),
    ]
}

proptest! {
    #[test]
    fn the_state_of_the_world_is_the_fold_of_its_deltas(
        steps in prop::collection::vec(step(), 1..40),
        wildcard in any::<bool>(),
    ) {
        let hub = Hub::new(Generator::default());
        let mut index = Index::default();
        let mut delta = DeltaClient::new(&hub, wildcard);
        let mut sotw = SotwClient::new(&hub, wildcard);
        for step in steps {
            match step {
                Step::Publish => {
                    if let Some((snapshot, changes)) = index.commit() {
                        hub.publish(&snapshot, &changes, Instant::now());
                    }
                }
                Step::Want { numbers } => {
                    delta.want(&numbers, &hub);
                    sotw.want(&numbers, &hub);
                }
                Step::Service { number, endpoints, hinted } => {
                    service(number, endpoints, hinted).into_iter().for_each(|it| index.apply(it));
                }
                Step::Gone { number } => index.apply(Event::Deleted(
                    Object::Service(declared(number, false)).key(),
                )),
            }
            delta.drain(&hub);
            sotw.drain(&hub);
            let (delta, sotw) = (&delta.world, &sotw.seen());
            prop_assert!(delta == sotw, "{:?}\n{:?}", delta.keys(), sotw.keys());
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
}

impl DeltaClient {
    fn new(hub: &Hub, wildcard: bool) -> Self {
        let mut client = Self {
            session: DeltaSession::new(hub, Origin::default()),
            wildcard,
            subscribed: BTreeMap::new(),
            world: World::new(),
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

    fn drain(&mut self, hub: &Hub) {
        self.session.seat().news();
        while let Some(response) = self.session.next(hub) {
            let kind = Kind::of(&response.type_url).expect("kind");
            for resource in response.resources {
                let body = Body::decode(kind, &resource.resource.expect("a body").value);
                self.world.insert((kind, resource.name), body);
            }
            for name in response.removed_resources {
                self.world.remove(&(kind, name));
            }
            let ack = discovery::DeltaDiscoveryRequest {
                type_url: response.type_url,
                response_nonce: response.nonce,
                ..discovery::DeltaDiscoveryRequest::default()
            };
            self.session.request(ack, hub);
        }
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
