//! What is true: one service that is used, and others that come and go.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use weir_discovery::model::{
    EndpointPort, EndpointSlice, Event, Hint, InternalTrafficPolicy, NamespacedName, Object,
    Readiness, Service, ServiceKind, ServicePort, SessionAffinity, SliceEndpoint,
    TrafficDistribution,
};

/// The same numbers in each run.
pub(crate) struct Dice(pub(crate) u64);

/// What is true.
pub(crate) struct World {
    /// Ports of the backends. The first one is always an endpoint of the service.
    backends: Vec<u16>,
    /// Those that are.
    ready: BTreeSet<usize>,
    /// Whether the service says that it speaks HTTP.
    hinted: bool,
    /// Other services that are there.
    others: BTreeSet<usize>,
}

const OTHERS: usize = 8;

// === impl Dice ===

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        // An LCG's high bits are good enough.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.roll(at + 1));
        }
    }
}

// === impl World ===

impl World {
    pub(crate) fn new(backends: Vec<u16>) -> Self {
        Self {
            ready: (0..backends.len()).collect(),
            backends,
            hinted: false,
            others: BTreeSet::new(),
        }
    }

    /// Everything that is there, in any order.
    pub(crate) fn everything(&self, dice: &mut Dice) -> Vec<Event> {
        let others = self.others.iter().map(|number| other(*number));
        let slices = self.ready.iter().map(|at| self.slice(*at));
        let objects = [service("cart", 1, self.hinted)]
            .into_iter()
            .chain(others)
            .chain(slices);
        let mut events: Vec<_> = objects.map(Event::Applied).collect();
        dice.shuffle(&mut events);
        events
    }

    /// Changes a few things, and says what happened. No two events are of one object.
    pub(crate) fn change(&mut self, dice: &mut Dice) -> Vec<Event> {
        let mut events = Vec::new();
        if dice.roll(3) == 0 {
            self.hinted = !self.hinted;
            events.push(Event::Applied(service("cart", 1, self.hinted)));
        }
        let at = 1 + dice.roll(self.backends.len() - 1);
        events.push(if self.ready.remove(&at) {
            Event::Deleted(self.slice(at).key())
        } else {
            self.ready.insert(at);
            Event::Applied(self.slice(at))
        });
        let number = dice.roll(OTHERS);
        events.push(if self.others.remove(&number) {
            Event::Deleted(other(number).key())
        } else {
            self.others.insert(number);
            Event::Applied(other(number))
        });
        events
    }

    /// Endpoints of the service.
    pub(crate) fn endpoints(&self) -> BTreeSet<SocketAddr> {
        let ports = self.ready.iter().map(|at| self.backends[*at]);
        ports
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .collect()
    }

    fn slice(&self, at: usize) -> Object {
        Object::EndpointSlice(EndpointSlice {
            name: NamespacedName::new("shop", &format!("cart-{at}")),
            service: NamespacedName::new("shop", "cart"),
            ports: vec![EndpointPort {
                name: String::new(),
                port: self.backends[at],
            }],
            endpoints: vec![SliceEndpoint {
                address: [127, 0, 0, 1].into(),
                readiness: Readiness::Ready,
                node: None,
                locality: Arc::default(),
                hints: Arc::default(),
                pod: None,
            }],
        })
    }
}

fn other(number: usize) -> Object {
    let last = 10 + u8::try_from(number).expect("there are few");
    service(&format!("other-{number}"), last, false)
}

fn service(name: &str, last: u8, hinted: bool) -> Object {
    Object::Service(Service {
        name: NamespacedName::new("shop", name),
        created: None,
        kind: ServiceKind::ClusterIp,
        addresses: vec![[10, 4, 0, last].into()],
        ports: vec![ServicePort {
            name: String::new(),
            port: 80,
            hint: Hint::of(hinted.then_some("http"), None, 80),
        }],
        internal_traffic_policy: InternalTrafficPolicy::Cluster,
        traffic_distribution: TrafficDistribution::Any,
        session_affinity: SessionAffinity::None,
        entry: None,
    })
}
