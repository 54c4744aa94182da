//! The protocol against a control plane that is a map.

use std::collections::VecDeque;

use weir_api::xds::json::message_from_yaml;

use super::*;
use crate::{
    net::BoundListener,
    secrets::Secrets,
    snapshot::{Destination, Snapshot},
    xds::resource::{self, Converted},
};

const WEB: &str = "10.4.0.3:8000";
const API: &str = "10.4.0.4:9000";

/// A control plane that is a map, a proxy that is a [`State`], and the snapshot it makes.
struct Mesh {
    state: State,
    resources: BTreeMap<Reference, (String, Any)>,
    snapshot: Snapshot,
    now: Instant,
    /// Every request, in order.
    said: Vec<Request>,
    nonce: u64,
    usage: BTreeMap<SocketAddr, Usage>,
}

fn on_demand() -> OnDemand {
    OnDemand {
        timeout: Duration::from_millis(200),
        idle: Duration::from_secs(600),
        absent_ttl: Duration::from_secs(30),
    }
}

fn by_need() -> Settings {
    Settings {
        on_demand: Some(on_demand()),
        ..Settings::default()
    }
}

fn read(kind: Kind, text: &str) -> Any {
    message_from_yaml(kind.type_url(), text).expect(text)
}

/// A TCP listener for `destination` that forwards to `cluster`.
fn listener(destination: &str, cluster: &str) -> (Reference, Any) {
    let address: SocketAddr = destination.parse().expect("address");
    let name = weir_api::names::outbound_listener(address);
    let text = format!(
        r#"
name: {name}
address: {{ socket_address: {{ address: {}, port_value: {} }} }}
bind_to_port: false
filter_chains:
- filters:
  - name: envoy.filters.network.tcp_proxy
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
      stat_prefix: {cluster}
      cluster: {cluster}
"#,
        address.ip(),
        address.port()
    );
    ((Kind::Listener, name), read(Kind::Listener, &text))
}

/// An HTTP listener for `destination` with routes from RDS.
fn http_listener(destination: &str, routes: &str) -> (Reference, Any) {
    let address: SocketAddr = destination.parse().expect("address");
    let name = weir_api::names::outbound_listener(address);
    let text = format!(
        r#"
name: {name}
address: {{ socket_address: {{ address: {}, port_value: {} }} }}
bind_to_port: false
filter_chains:
- filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: {routes}
      rds: {{ route_config_name: {routes}, config_source: {{ resource_api_version: V3, ads: {{}} }} }}
      http_filters:
      - name: envoy.filters.http.router
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"#,
        address.ip(),
        address.port()
    );
    ((Kind::Listener, name), read(Kind::Listener, &text))
}

fn routes(name: &str, cluster: &str) -> (Reference, Any) {
    let text = format!(
        "{{ name: {name}, virtual_hosts: [{{ name: all, domains: ['*'], routes: \
         [{{ match: {{ prefix: / }}, route: {{ cluster: {cluster} }} }}] }}] }}"
    );
    ((Kind::Route, name.to_owned()), read(Kind::Route, &text))
}

fn cluster(name: &str) -> (Reference, Any) {
    let text = format!(
        "{{ name: {name}, type: EDS, connect_timeout: 1s, eds_cluster_config: \
         {{ eds_config: {{ resource_api_version: V3, ads: {{}} }} }} }}"
    );
    ((Kind::Cluster, name.to_owned()), read(Kind::Cluster, &text))
}

fn endpoints(name: &str, ports: &[u16]) -> (Reference, Any) {
    let endpoint = |port: &u16| {
        format!(
            "{{ endpoint: {{ address: {{ socket_address: \
             {{ address: 10.0.0.1, port_value: {port} }} }} }} }}"
        )
    };
    let list: Vec<String> = ports.iter().map(endpoint).collect();
    let text = format!(
        "{{ cluster_name: {name}, endpoints: [{{ lb_endpoints: [{}] }}] }}",
        list.join(", ")
    );
    (
        (Kind::Endpoint, name.to_owned()),
        read(Kind::Endpoint, &text),
    )
}

impl Mesh {
    fn new(settings: Settings, resources: Vec<(Reference, Any)>) -> Self {
        let mut mesh = Self {
            state: State::new(settings),
            resources: BTreeMap::new(),
            snapshot: Snapshot::default(),
            now: Instant::now(),
            said: Vec::new(),
            nonce: 0,
            usage: BTreeMap::new(),
        };
        for (reference, message) in resources {
            mesh.resources.insert(reference, ("1".to_owned(), message));
        }
        mesh.state.connected();
        mesh
    }

    fn demand(&mut self, destination: &str) {
        assert!(
            self.state
                .demand(destination.parse().expect("address"), self.now)
        );
        self.pump();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.pump();
    }

    /// The control plane changes or adds a resource and pushes it.
    fn push(&mut self, resource: (Reference, Any), version: &str) -> Option<String> {
        let ((kind, name), message) = resource;
        let stored = (version.to_owned(), message.clone());
        self.resources.insert((kind, name.clone()), stored);
        let refusal = self.respond(kind, vec![(name, version.to_owned(), message)], Vec::new());
        self.pump();
        refusal
    }

    fn withdraw(&mut self, kind: Kind, name: &str) {
        self.resources.remove(&(kind, name.to_owned()));
        self.respond(kind, Vec::new(), vec![name.to_owned()]);
        self.pump();
    }

    fn respond(
        &mut self,
        kind: Kind,
        resources: Vec<(String, String, Any)>,
        removed: Vec<String>,
    ) -> Option<String> {
        self.nonce += 1;
        let update = |(name, version, message): (String, String, Any)| Update {
            outcome: match self.state.is_latest(kind, &name, &message) {
                Some(same) => Ok(same),
                None => resource::convert(kind, &name, &message).map(|converted| match converted {
                    Converted::Ready(resource) => resource,
                    Converted::Unbound(listener) => Resource::Listener(Arc::new(BoundListener {
                        listener,
                        sockets: Arc::default(),
                    })),
                }),
            },
            name,
            version,
            message: Arc::new(message),
        };
        let response = Response {
            kind,
            nonce: self.nonce.to_string(),
            updates: resources.into_iter().map(update).collect(),
            removed,
        };
        self.state.response(response, SystemTime::UNIX_EPOCH)
    }

    /// Lets both sides talk until neither has anything to say.
    fn pump(&mut self) {
        loop {
            let usage = |address| self.usage.get(&address).copied();
            self.state.expire(self.now, usage);
            for change in self.state.settle(self.now) {
                change.apply(&mut self.snapshot, &Secrets::default());
            }
            self.assert_consistent();
            let mut requests: VecDeque<Request> = self.state.requests(self.now).into();
            if requests.is_empty() {
                return;
            }
            while let Some(request) = requests.pop_front() {
                self.said.push(request.clone());
                self.serve(&request);
            }
        }
    }

    fn serve(&mut self, request: &Request) {
        let kind = request.kind;
        let (mut found, mut removed) = (Vec::new(), Vec::new());
        let wildcard = request.subscribe.is_empty()
            && request.unsubscribe.is_empty()
            && request.nonce.is_empty();
        let names: Vec<String> = if wildcard {
            let all = self.resources.keys().filter(|(known, _)| *known == kind);
            all.map(|(_, name)| name.clone()).collect()
        } else {
            request.subscribe.clone()
        };
        for name in names {
            match self.resources.get(&(kind, name.clone())) {
                Some((version, _)) if request.initial_versions.get(&name) == Some(version) => {}
                Some((version, message)) => found.push((name, version.clone(), message.clone())),
                None => removed.push(name),
            }
        }
        if wildcard || !found.is_empty() || !removed.is_empty() {
            self.respond(kind, found, removed);
        }
    }

    /// What is published never refers to something that the control plane has and we lack.
    fn assert_consistent(&self) {
        for destination in self.snapshot.destinations.values() {
            let Destination::Present(present) = destination else {
                continue;
            };
            for (kind, name) in resource::of_listener(&present.listener) {
                let is_there = match kind {
                    Kind::Cluster => self.snapshot.clusters.contains_key(&name),
                    Kind::Route => self.snapshot.routes.contains_key(&name),
                    Kind::Endpoint | Kind::Listener | Kind::Secret => true,
                };
                let has_it = self.resources.contains_key(&(kind, name.clone()));
                assert!(is_there || !has_it, "{kind:?} {name} is missing");
            }
        }
    }

    fn present(&self, destination: &str) -> Option<bool> {
        let destination = destination.parse().expect("address");
        let known = self.snapshot.destinations.get(&destination)?;
        Some(matches!(known, Destination::Present(_)))
    }

    fn subscriptions(&self, kind: Kind) -> Vec<&str> {
        let of_kind = self.said.iter().filter(|request| request.kind == kind);
        of_kind
            .flat_map(|request| &request.subscribe)
            .map(String::as_str)
            .collect()
    }

    fn ports(&self, name: &str) -> Vec<u16> {
        let assignment = self.snapshot.endpoints.get(name);
        let endpoints = assignment
            .iter()
            .flat_map(|assignment| assignment.endpoints());
        endpoints.map(|endpoint| endpoint.address.port()).collect()
    }
}

fn web() -> Vec<(Reference, Any)> {
    vec![
        listener(WEB, "web"),
        cluster("web"),
        endpoints("web", &[1, 2]),
    ]
}

#[test]
fn a_demand_brings_the_listener_and_all_it_refers_to() {
    let mut resources = vec![
        http_listener(WEB, "web-routes"),
        routes("web-routes", "web"),
    ];
    resources.extend([cluster("web"), endpoints("web", &[1, 2])]);
    let mut mesh = Mesh::new(by_need(), resources);
    mesh.pump();
    assert!(
        mesh.said.is_empty(),
        "nothing is asked for before it is needed"
    );
    mesh.demand(WEB);
    assert_eq!(mesh.present(WEB), Some(true));
    assert_eq!(mesh.ports("web"), [1, 2]);
    assert!(mesh.snapshot.routes.contains_key("web-routes"));
    assert_eq!(
        mesh.subscriptions(Kind::Listener),
        ["outbound|10.4.0.3:8000"]
    );
    let acks = mesh.said.iter().filter(|request| !request.nonce.is_empty());
    assert_eq!(acks.count(), 4, "each response is acknowledged");
    let before = mesh.said.len();
    mesh.demand(WEB);
    assert_eq!(mesh.said.len(), before, "asked once");
}

#[test]
fn a_listener_is_published_only_with_its_endpoints() {
    let mut mesh = Mesh::new(by_need(), vec![listener(WEB, "web"), cluster("web")]);
    // The control plane is silent about the endpoints, rather than say that there are none.
    let silent = "web".to_owned();
    mesh.state.demand(WEB.parse().expect("address"), mesh.now);
    for _ in 0..8 {
        for change in mesh.state.settle(mesh.now) {
            change.apply(&mut mesh.snapshot, &Secrets::default());
        }
        for request in mesh.state.requests(mesh.now) {
            if request.kind != Kind::Endpoint {
                mesh.serve(&request);
            }
        }
    }
    assert_eq!(mesh.present(WEB), None);
    assert!(mesh.snapshot.clusters.is_empty());
    let overdue = mesh.state.next_wakeup().expect("a deadline");
    assert_eq!(overdue, mesh.now + FETCH_TIMEOUT);
    mesh.now = overdue;
    mesh.pump();
    assert_eq!(mesh.present(WEB), Some(true), "nobody waits for ever");
    assert_eq!(mesh.state.newly_overdue(mesh.now), [0, 1, 0, 0, 0]);
    assert_eq!(mesh.state.newly_overdue(mesh.now), [0; 5], "counted once");
    let wakeup = mesh.state.next_wakeup().expect("an idle check");
    assert!(wakeup > mesh.now, "no busy waiting for what is overdue");
    mesh.push(endpoints(&silent, &[7]), "1");
    assert_eq!(mesh.ports("web"), [7]);
}

#[test]
fn what_the_mesh_does_not_know_is_absent_for_a_while() {
    let mut mesh = Mesh::new(by_need(), Vec::new());
    mesh.demand(WEB);
    assert_eq!(mesh.present(WEB), Some(false));
    mesh.pass(Duration::from_secs(29));
    assert_eq!(mesh.present(WEB), Some(false));
    mesh.pass(Duration::from_secs(1));
    assert_eq!(mesh.present(WEB), None);
    let last = mesh.said.last().expect("a request");
    assert_eq!(last.unsubscribe, ["outbound|10.4.0.3:8000"]);
    for resource in web() {
        mesh.resources
            .insert(resource.0, ("1".to_owned(), resource.1));
    }
    mesh.demand(WEB);
    assert_eq!(mesh.present(WEB), Some(true));
}

#[test]
fn an_absent_destination_that_appears_is_served_at_once() {
    let mut mesh = Mesh::new(by_need(), vec![cluster("web"), endpoints("web", &[1])]);
    mesh.demand(WEB);
    assert_eq!(mesh.present(WEB), Some(false));
    mesh.push(listener(WEB, "web"), "2");
    assert_eq!(mesh.present(WEB), Some(true));
    mesh.withdraw(Kind::Listener, "outbound|10.4.0.3:8000");
    assert_eq!(mesh.present(WEB), Some(false));
    assert!(mesh.snapshot.clusters.is_empty() && mesh.snapshot.endpoints.is_empty());
}

#[test]
fn a_bad_resource_is_named_and_the_good_ones_of_its_response_are_taken() {
    let mut mesh = Mesh::new(by_need(), web());
    mesh.resources
        .extend([listener(API, "api"), cluster("api")].map(|(r, m)| (r, ("1".into(), m))));
    mesh.demand(WEB);
    mesh.demand(API);
    let (_, mut bad) = cluster("web");
    bad.value.truncate(bad.value.len() - 1);
    let (_, good) = cluster("api");
    let updates = vec![
        ("web".to_owned(), "2".to_owned(), bad),
        ("api".to_owned(), "2".to_owned(), good),
    ];
    let refusal = mesh
        .respond(Kind::Cluster, updates, Vec::new())
        .expect("a NACK");
    assert!(
        refusal.contains("envoy.config.cluster.v3.Cluster"),
        "{refusal}"
    );
    mesh.pump();
    let nack = mesh.said.last().expect("a request");
    assert_eq!(nack.error.as_deref(), Some(refusal.as_str()));
    assert!(
        mesh.snapshot.clusters.contains_key("web"),
        "the last good one stays"
    );
    let entries = mesh.state.entries();
    let version = |name: &str| {
        let found = |e: &&InventoryEntry| e.kind == Kind::Cluster && e.name == name;
        let entry = entries.iter().find(found).expect(name);
        (entry.version.clone(), entry.rejected.is_some())
    };
    assert_eq!(version("web"), ("1".to_owned(), true));
    assert_eq!(version("api"), ("2".to_owned(), false));
}

#[test]
fn a_destination_whose_listener_was_never_good_is_passed_through() {
    let (reference, _) = listener(WEB, "web");
    let (_, other) = listener(API, "web");
    let mut mesh = Mesh::new(by_need(), vec![(reference, other)]);
    mesh.demand(WEB);
    assert_eq!(mesh.present(WEB), Some(false));
    let nack = mesh
        .said
        .iter()
        .find_map(|request| request.error.clone())
        .expect("a NACK");
    assert!(nack.contains("outbound|10.4.0.4:9000"), "{nack}");
}

#[test]
fn a_lost_stream_leaves_everything_in_force_and_a_new_one_asks_for_changes_only() {
    let mut mesh = Mesh::new(by_need(), web());
    mesh.demand(WEB);
    mesh.state.disconnected();
    mesh.said.clear();
    mesh.pass(Duration::from_secs(3600));
    assert_eq!(mesh.ports("web"), [1, 2]);
    mesh.resources.insert(
        (Kind::Endpoint, "web".into()),
        ("2".into(), endpoints("web", &[3]).1),
    );
    mesh.state.connected();
    mesh.pump();
    let first: Vec<&Request> = mesh.said.iter().filter(|r| r.nonce.is_empty()).collect();
    assert_eq!(first.len(), 3, "{first:?}");
    for request in first {
        assert!(
            request
                .initial_versions
                .values()
                .all(|version| version == "1")
        );
        assert_eq!(request.initial_versions.len(), 1, "{request:?}");
    }
    assert_eq!(mesh.ports("web"), [3]);
}

#[test]
fn a_resource_sent_once_more_moves_nothing() {
    let mut mesh = Mesh::new(by_need(), web());
    mesh.demand(WEB);
    let before = mesh.snapshot.clusters["web"].clone();
    mesh.push(cluster("web"), "2");
    assert!(Arc::ptr_eq(&before, &mesh.snapshot.clusters["web"]));
    assert!(mesh.state.settle(mesh.now).is_empty());
}

#[test]
fn endpoints_are_published_when_they_come() {
    let mut mesh = Mesh::new(by_need(), web());
    mesh.demand(WEB);
    mesh.push(endpoints("web", &[2, 3]), "2");
    assert_eq!(mesh.ports("web"), [2, 3]);
    mesh.push(endpoints("web", &[]), "3");
    assert!(
        mesh.snapshot.endpoints.contains_key("web"),
        "none is not unknown"
    );
    assert!(mesh.ports("web").is_empty());
}

#[test]
fn an_update_waits_for_what_it_newly_refers_to() {
    let mut mesh = Mesh::new(by_need(), web());
    mesh.demand(WEB);
    // `api` is asked for, and there is no such cluster yet; nor does anybody say so.
    let (reference, message) = listener(WEB, "api");
    mesh.respond(
        Kind::Listener,
        vec![(reference.1, "2".into(), message)],
        Vec::new(),
    );
    for change in mesh.state.settle(mesh.now) {
        change.apply(&mut mesh.snapshot, &Secrets::default());
    }
    assert!(
        mesh.snapshot.clusters.contains_key("web"),
        "the old version stays in force"
    );
    for (reference, message) in [cluster("api"), endpoints("api", &[9])] {
        mesh.resources.insert(reference, ("1".into(), message));
    }
    mesh.pump();
    assert_eq!(mesh.ports("api"), [9]);
    assert!(
        !mesh.snapshot.clusters.contains_key("web"),
        "nothing refers to it any more"
    );
}

#[test]
fn an_idle_destination_is_forgotten_with_all_that_only_it_needed() {
    let mut mesh = Mesh::new(by_need(), web());
    let other = [listener(API, "web")].map(|(r, m)| (r, ("1".into(), m)));
    mesh.resources.extend(other);
    mesh.demand(WEB);
    mesh.demand(API);
    let web: SocketAddr = WEB.parse().expect("address");
    let api: SocketAddr = API.parse().expect("address");
    let usage = |connections, is_held| Usage {
        connections,
        is_held,
    };
    mesh.usage
        .extend([(web, usage(1, false)), (api, usage(1, true))]);
    for _ in 0..8 {
        mesh.pass(Duration::from_secs(150));
    }
    assert_eq!(mesh.present(WEB), None, "unused for ten minutes");
    assert_eq!(mesh.present(API), Some(true), "a connection holds it");
    assert!(
        mesh.snapshot.clusters.contains_key("web"),
        "the other one refers to it"
    );
    mesh.usage.insert(api, usage(1, false));
    for _ in 0..8 {
        mesh.pass(Duration::from_secs(150));
    }
    assert_eq!(mesh.present(API), None);
    assert!(mesh.snapshot.clusters.is_empty() && mesh.snapshot.endpoints.is_empty());
    assert!(mesh.state.entries().is_empty());
    assert_eq!(mesh.state.next_wakeup(), None, "an idle proxy sleeps");
}

#[test]
fn without_a_control_plane_demands_are_not_answered_and_not_kept() {
    let mut mesh = Mesh::new(by_need(), web());
    mesh.state.disconnected();
    mesh.demand(WEB);
    assert_eq!(mesh.present(WEB), None);
    mesh.pass(Duration::from_secs(31));
    assert_eq!(mesh.state.demand_counts(), (0, 0, 0));
    mesh.demand(WEB);
    mesh.state.connected();
    mesh.pump();
    assert_eq!(
        mesh.present(WEB),
        Some(true),
        "asked for once the control plane is there"
    );
}

#[test]
fn wildcards_bring_everything_and_removals_take_it_away() {
    let settings = Settings {
        all_listeners: true,
        all_clusters: true,
        ..by_need()
    };
    let mut mesh = Mesh::new(settings, web());
    mesh.pump();
    assert_eq!(mesh.present(WEB), Some(true));
    assert_eq!(mesh.ports("web"), [1, 2]);
    assert_eq!(mesh.subscriptions(Kind::Listener), Vec::<&str>::new());
    mesh.demand(API);
    assert_eq!(mesh.present(API), Some(false));
    mesh.push(listener(API, "web"), "1");
    assert_eq!(mesh.present(API), Some(true));
    mesh.pass(Duration::from_secs(60));
    assert_eq!(
        mesh.present(API),
        Some(true),
        "its absence is forgotten, not its listener"
    );
    mesh.withdraw(Kind::Listener, "outbound|10.4.0.3:8000");
    assert_eq!(mesh.present(WEB), None);
    mesh.withdraw(Kind::Cluster, "web");
    assert!(mesh.snapshot.clusters.is_empty() && mesh.snapshot.endpoints.is_empty());
}

#[test]
fn what_the_bootstrap_has_is_neither_asked_for_nor_replaced() {
    let settings = Settings {
        known: BTreeSet::from([(Kind::Cluster, "web".to_owned())]),
        references: vec![(Kind::Endpoint, "web".to_owned())],
        ..by_need()
    };
    let mut mesh = Mesh::new(settings, vec![listener(WEB, "web"), endpoints("web", &[1])]);
    mesh.demand(WEB);
    assert_eq!(mesh.present(WEB), Some(true));
    assert!(mesh.subscriptions(Kind::Cluster).is_empty());
    assert_eq!(mesh.subscriptions(Kind::Endpoint), ["web"]);
    let update = ("web".to_owned(), "2".to_owned(), cluster("web").1);
    let refusal = mesh
        .respond(Kind::Cluster, vec![update], Vec::new())
        .expect("a NACK");
    assert!(refusal.contains("bootstrap"), "{refusal}");
}

/// A listener of the bootstrap's name that forwards to `cluster`.
fn inbound(bind: bool, cluster: &str) -> (Reference, Any) {
    let text = format!(
        r#"
name: virtualInbound
address: {{ socket_address: {{ address: 127.0.0.1, port_value: 15006 }} }}
bind_to_port: {bind}
filter_chains:
- filters:
  - name: envoy.filters.network.tcp_proxy
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
      stat_prefix: {cluster}
      cluster: {cluster}
"#
    );
    let name = "virtualInbound".to_owned();
    ((Kind::Listener, name), read(Kind::Listener, &text))
}

#[test]
fn a_replaceable_listener_is_asked_for_by_name_and_stays_when_it_is_gone() {
    let settings = Settings {
        replaceable: BTreeSet::from(["virtualInbound".to_owned()]),
        ..by_need()
    };
    let mut mesh = Mesh::new(settings, Vec::new());
    mesh.pump();
    assert_eq!(mesh.subscriptions(Kind::Listener), ["virtualInbound"]);
    assert!(
        mesh.snapshot.listeners.is_empty(),
        "the bootstrap's own is in force"
    );

    mesh.resources.extend([("web", 1)].map(|(name, port)| {
        let (reference, message) = endpoints(name, &[port]);
        (reference, ("1".to_owned(), message))
    }));
    let (reference, message) = cluster("web");
    mesh.resources.insert(reference, ("1".to_owned(), message));
    assert_eq!(mesh.push(inbound(true, "web"), "1"), None);
    assert!(mesh.snapshot.listeners.contains_key("virtualInbound"));
    assert_eq!(mesh.ports("web"), [1], "with all it refers to");

    let refusal = mesh.push(inbound(false, "web"), "2").expect("a NACK");
    assert!(refusal.contains("bind_to_port"), "{refusal}");
    mesh.withdraw(Kind::Listener, "virtualInbound");
    assert!(mesh.snapshot.listeners.contains_key("virtualInbound"));
    assert!(mesh.snapshot.clusters.contains_key("web"));
}

#[test]
fn whose_an_address_is_is_asked_for_by_need_and_forgotten_when_nobody_asks_again() {
    let address: std::net::IpAddr = "10.4.0.7".parse().expect("address");
    let (name, minutes) = ("workload|10.4.0.7", |n: u64| Duration::from_secs(60 * n));
    let mut mesh = Mesh::new(Settings::default(), vec![endpoints(name, &[15006])]);
    assert!(mesh.state.demand_workload(address, mesh.now));
    mesh.pump();
    assert_eq!(mesh.subscriptions(Kind::Endpoint), [name]);
    assert_eq!(mesh.ports(name), [15006]);

    mesh.pass(minutes(4));
    assert!(mesh.state.demand_workload(address, mesh.now));
    mesh.pass(minutes(4));
    assert_eq!(mesh.ports(name), [15006], "somebody has asked again");
    assert_eq!(mesh.state.next_wakeup(), Some(mesh.now + minutes(1)));
    mesh.pass(minutes(1));
    let last = mesh.said.last().expect("a request");
    assert_eq!(last.unsubscribe, [name]);
    assert!(mesh.snapshot.endpoints.is_empty());
}

#[test]
fn more_addresses_than_a_pod_has_clients_are_not_remembered() {
    let mut mesh = Mesh::new(Settings::default(), Vec::new());
    let taken = (0..10_000_u32).filter(|number| {
        let address = std::net::Ipv4Addr::from(*number).into();
        mesh.state.demand_workload(address, mesh.now)
    });
    assert_eq!(taken.count(), 4096);
}

/// A cluster whose hosts are checked.
fn checked_cluster(name: &str, interval: &str) -> (Reference, Any) {
    let text = format!(
        "{{ name: {name}, type: EDS, connect_timeout: 1s, eds_cluster_config: \
         {{ eds_config: {{ resource_api_version: V3, ads: {{}} }} }}, health_checks: \
         [{{ timeout: 1s, interval: {interval}, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {{}} }}] }}"
    );
    ((Kind::Cluster, name.to_owned()), read(Kind::Cluster, &text))
}

#[test]
fn a_cluster_is_in_force_once_its_hosts_are_checked_and_the_old_one_until_then() {
    let resources = vec![
        listener(WEB, "web"),
        checked_cluster("web", "1s"),
        endpoints("web", &[1]),
    ];
    let mut mesh = Mesh::new(by_need(), resources);
    mesh.demand(WEB);
    let interval = |cluster: &Arc<crate::config::Cluster>| {
        let check = cluster.health_check.as_ref().expect("a check");
        check.intervals.interval.as_secs()
    };
    let seen = |mesh: &Mesh| {
        let of =
            |clusters: &std::collections::HashMap<String, _>| clusters.get("web").map(interval);
        (of(&mesh.snapshot.clusters), of(&mesh.snapshot.warming))
    };
    assert_eq!(seen(&mesh), (None, Some(1)));
    assert_eq!(mesh.present(WEB), None, "the listener waits");
    assert_eq!(mesh.state.warming()[Kind::Cluster as usize], 1);
    assert_eq!(mesh.ports("web"), [1], "there is something to check");
    mesh.state.note_checked(|_| true);
    mesh.pump();
    assert_eq!(seen(&mesh), (Some(1), None));
    assert_eq!(mesh.present(WEB), Some(true));
    // Its hosts do not answer: nobody waits for them longer than for a resource.
    assert_eq!(mesh.push(checked_cluster("web", "2s"), "2"), None);
    assert_eq!(seen(&mesh), (Some(1), Some(2)));
    let overdue = mesh.state.next_overdue().expect("a deadline");
    assert_eq!(overdue, mesh.now + FETCH_TIMEOUT);
    mesh.pass(FETCH_TIMEOUT);
    assert_eq!(seen(&mesh), (Some(2), None));
    // A newer version takes the place of the one that warms, and of one that is taken away nothing is
    // left.
    mesh.push(checked_cluster("web", "3s"), "3");
    mesh.push(checked_cluster("web", "4s"), "4");
    assert_eq!(seen(&mesh), (Some(2), Some(4)));
    mesh.push(cluster("web"), "5");
    assert_eq!(mesh.snapshot.warming.len(), 0);
    assert!(mesh.snapshot.clusters["web"].health_check.is_none());
}
