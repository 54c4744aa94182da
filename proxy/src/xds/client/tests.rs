//! The client against a gRPC server on loopback.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{io::AsyncWriteExt as _, net::TcpListener, sync::watch, task::JoinHandle};
use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Identity, Server, ServerTlsConfig},
};
use weir_api::xds::{
    envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
        Resource,
        aggregated_discovery_service_server::{
            AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
        },
    },
    google::protobuf::Any,
    json, type_url,
};

use weir_tests::{
    certificates::{Authority, inline},
    dns,
};

use super::*;
use crate::{
    boundary::Boundary,
    cluster::{HealthSurroundings, Healths, Names, endpoints_of, keep_health},
    config::{
        bootstrap::AdsProtocol,
        tls::{SecretName, SecretRef, SecretSource, SecretValue},
    },
    convert,
    demand::{self, Demand, DemandSender},
    options::ControlPlaneTls,
    secrets::Local,
    snapshot::{Destination, Snapshot},
    stats::Registry,
};

const PATIENCE: Duration = Duration::from_secs(20);
const WEB: &str = "10.4.0.3:8000";

/// Version and message by type and name.
type Resources = BTreeMap<(String, String), (String, Any)>;

/// What the control plane has, and what it was told.
#[derive(Clone, Default)]
struct ControlPlane {
    resources: Arc<Mutex<Resources>>,
    requests: watch::Sender<Vec<DeltaDiscoveryRequest>>,
    /// The same of the state-of-the-world variant.
    states: watch::Sender<Vec<DiscoveryRequest>>,
    /// Streams end when this changes.
    stop: watch::Sender<()>,
    /// `authorization` of the last stream.
    authorization: Arc<Mutex<String>>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for ControlPlane {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let control_plane = self.clone();
        let mut last = BTreeMap::new();
        let answers = request
            .into_inner()
            .filter_map(move |request| match request {
                Ok(request) => control_plane.state(request, &mut last).map(Ok),
                Err(status) => Some(Err(status)),
            });
        let mut stop = self.stop.subscribe();
        let stopped = Box::pin(async move { stop.changed().await });
        Ok(Response::new(Box::pin(
            futures_util::StreamExt::take_until(answers, stopped),
        )))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let token = request.metadata().get("authorization");
        let token = token
            .and_then(|token| token.to_str().ok())
            .unwrap_or_default();
        token.clone_into(&mut *self.authorization.lock().expect("authorization"));
        let control_plane = self.clone();
        let answers = request
            .into_inner()
            .filter_map(move |request| match request {
                Ok(request) => control_plane.answer(request).map(Ok),
                Err(status) => Some(Err(status)),
            });
        let mut stop = self.stop.subscribe();
        let stopped = Box::pin(async move { stop.changed().await });
        Ok(Response::new(Box::pin(
            futures_util::StreamExt::take_until(answers, stopped),
        )))
    }
}

impl ControlPlane {
    fn set(&self, type_url: &str, name: &str, version: &str, text: &str) {
        let message = json::message_from_yaml(type_url, text).expect(text);
        let key = (type_url.to_owned(), name.to_owned());
        let mut resources = self.resources.lock().expect("resources");
        resources.insert(key, (version.to_owned(), message));
    }

    /// All that is asked for of a type, unless the request only answers the last response.
    fn state(
        &self,
        request: DiscoveryRequest,
        last: &mut BTreeMap<String, Vec<String>>,
    ) -> Option<DiscoveryResponse> {
        self.states.send_modify(|all| all.push(request.clone()));
        let names = request.resource_names;
        let previous = last.insert(request.type_url.clone(), names.clone());
        if previous.as_ref() == Some(&names) {
            return None;
        }
        let resources = self.resources.lock().expect("resources");
        let asked = resources.iter().filter(|((of, name), _)| {
            *of == request.type_url && (names.is_empty() || names.contains(name))
        });
        Some(DiscoveryResponse {
            version_info: format!("v{}", names.len()),
            resources: asked.map(|(_, (_, message))| message.clone()).collect(),
            type_url: request.type_url,
            nonce: format!("n{}", names.len()),
            ..DiscoveryResponse::default()
        })
    }

    fn answer(&self, request: DeltaDiscoveryRequest) -> Option<DeltaDiscoveryResponse> {
        let resources = self.resources.lock().expect("resources");
        let mut response = DeltaDiscoveryResponse {
            type_url: request.type_url.clone(),
            nonce: "n".to_owned(),
            ..DeltaDiscoveryResponse::default()
        };
        let is_wildcard = request.resource_names_subscribe.is_empty()
            && request.resource_names_unsubscribe.is_empty()
            && request.response_nonce.is_empty();
        let of_type = resources
            .keys()
            .filter(|(of, _)| is_wildcard && *of == request.type_url);
        let all = of_type.map(|(_, name)| name);
        for name in request.resource_names_subscribe.iter().chain(all) {
            match resources.get(&(request.type_url.clone(), name.clone())) {
                Some((version, _))
                    if request.initial_resource_versions.get(name) == Some(version) => {}
                Some((version, message)) => response.resources.push(Resource {
                    name: name.clone(),
                    version: version.clone(),
                    resource: Some(message.clone()),
                    ..Resource::default()
                }),
                None => response.removed_resources.push(name.clone()),
            }
        }
        self.requests.send_modify(|all| all.push(request));
        let is_empty = response.resources.is_empty() && response.removed_resources.is_empty();
        (!is_empty).then_some(response)
    }

    /// Serves on `address` until the task is aborted.
    async fn serve(&self, address: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
        self.serve_by(Server::builder(), address).await
    }

    async fn serve_by(
        &self,
        mut server: Server,
        address: SocketAddr,
    ) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind(address).await.expect("loopback");
        let address = listener.local_addr().expect("address");
        let service = AggregatedDiscoveryServiceServer::new(self.clone());
        let server = server.add_service(service);
        let task = tokio::spawn(async move {
            server
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .expect("serving");
        });
        (address, task)
    }

    async fn told(&self, what: impl FnMut(&Vec<DeltaDiscoveryRequest>) -> bool) {
        let mut requests = self.requests.subscribe();
        let told = tokio::time::timeout(PATIENCE, requests.wait_for(what)).await;
        told.expect("in time").expect("requests");
    }
}

/// A mesh with one TCP service, `web`.
fn mesh() -> ControlPlane {
    let control_plane = ControlPlane::default();
    control_plane.set(
        type_url::LISTENER,
        "outbound|10.4.0.3:8000",
        "1",
        r#"
name: outbound|10.4.0.3:8000
address: { socket_address: { address: 10.4.0.3, port_value: 8000 } }
bind_to_port: false
filter_chains:
- filters:
  - name: envoy.filters.network.tcp_proxy
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
      stat_prefix: web
      cluster: web
"#,
    );
    control_plane.set(
        type_url::CLUSTER,
        "web",
        "1",
        "{ name: web, type: EDS, connect_timeout: 1s, \
         eds_cluster_config: { eds_config: { resource_api_version: V3, ads: {} } } }",
    );
    control_plane.set(
        type_url::ENDPOINT,
        "web",
        "1",
        "{ cluster_name: web, endpoints: [{ lb_endpoints: [{ endpoint: { address: \
         { socket_address: { address: 10.0.0.1, port_value: 1 } } } }] }] }",
    );
    control_plane
}

struct Proxy {
    demands: DemandSender,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    registry: Arc<Registry>,
    secrets: Arc<Secrets>,
    task: JoinHandle<()>,
    /// Checks hosts.
    keeper: JoinHandle<()>,
}

impl Proxy {
    fn start(control_plane: SocketAddr) -> Self {
        Self::start_with(control_plane, |_, _| {})
    }

    fn start_with(
        control_plane: SocketAddr,
        change: impl FnOnce(&mut Options, &mut Bootstrap),
    ) -> Self {
        let text = format!(
            r#"
node: {{ id: sidecar, cluster: test }}
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    grpc_services: [{{ envoy_grpc: {{ cluster_name: xds }} }}]
static_resources:
  listeners:
  - name: virtualOutbound
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    use_original_dst: true
    metadata: {{ filter_metadata: {{ weir.dev: {{ on_demand: {{}} }} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: xds
          cluster: xds
  clusters:
  - name: xds
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: xds
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }}
"#,
            control_plane.port()
        );
        let source = json::read_bootstrap(&text).expect("bootstrap");
        let mut bootstrap = convert::bootstrap(source.clone()).expect("bootstrap");
        let mut options = Options::new(source);
        change(&mut options, &mut bootstrap);
        let ads = bootstrap.ads.as_ref().expect("ads");
        let client = Client::new(ads, &bootstrap, &options).expect("client");
        let replaceable = bootstrap.listeners.iter().filter(|it| it.replaceable);
        let bound = replaceable.map(|listener| {
            let bound = crate::net::listen::bind(listener, NonZeroUsize::MIN).expect("loopback");
            (listener.name.clone(), Arc::new(bound))
        });
        let publisher = Publisher::new(Snapshot {
            discovery_available: true,
            listeners: bound.collect(),
            ..Snapshot::default()
        });
        let registry = Arc::new(Registry::default());
        let secrets = Arc::new(Secrets::new(options.local_secrets, &[]));
        let (demands, receiver) = demand::channel();
        let snapshots = publisher.subscribe();
        let (health, boundary) = (Arc::new(Healths::new(&registry)), Boundary::new(&registry));
        let singletons = Arc::default();
        let surroundings =
            HealthSurroundings::new(&health, &registry, &singletons, &secrets, &boundary);
        let keeper = tokio::spawn(keep_health(surroundings, publisher.subscribe()));
        let names = Arc::new(Names::new(
            publisher.clone(),
            Arc::clone(&registry),
            Arc::clone(&health),
            boundary.clone(),
            &bootstrap.dns_resolver,
        ));
        let looking_up = Arc::clone(&names).run();
        let context = Context {
            publisher,
            stats: Arc::new(Stats::new(&registry)),
            listeners: Arc::default(),
            clusters: Arc::default(),
            workers: NonZeroUsize::MIN,
            secrets: Arc::clone(&secrets),
            health,
            boundary,
            names,
        };
        let client = client.run(context, receiver);
        let task = tokio::spawn(async {
            tokio::join!(client, looking_up);
        });
        Self {
            demands,
            snapshots,
            registry,
            secrets,
            task,
            keeper,
        }
    }

    async fn demand(&self, destination: &str) {
        let destination = destination.parse().expect("address");
        self.demands
            .send(Demand::Destination(destination))
            .await
            .expect("a client");
    }

    async fn until(&mut self, what: impl FnMut(&Arc<Snapshot>) -> bool) -> Arc<Snapshot> {
        let seen = tokio::time::timeout(PATIENCE, self.snapshots.wait_for(what)).await;
        Arc::clone(&seen.expect("in time").expect("snapshots"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.keeper.abort();
    }
}

fn is_present(snapshot: &Snapshot, destination: &str) -> Option<bool> {
    let known = snapshot
        .destinations
        .get(&destination.parse().expect("address"))?;
    Some(matches!(known, Destination::Present(_)))
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[tokio::test]
async fn a_demand_is_answered_over_grpc_and_outlives_the_control_plane() {
    let control_plane = mesh();
    let (address, server) = control_plane.serve(loopback()).await;
    let mut proxy = Proxy::start(address);
    proxy.demand(WEB).await;
    proxy.demand("10.4.0.9:1").await;
    let snapshot = proxy.until(|s| s.destinations.len() == 2).await;
    assert_eq!(is_present(&snapshot, WEB), Some(true));
    assert_eq!(is_present(&snapshot, "10.4.0.9:1"), Some(false));
    assert!(snapshot.clusters.contains_key("web") && snapshot.endpoints.contains_key("web"));
    assert!(snapshot.discovery_available);
    let first = control_plane
        .requests
        .borrow()
        .first()
        .cloned()
        .expect("a request");
    assert_eq!(first.node.expect("a node").id, "sidecar");

    server.abort();
    let _ = server.await;
    control_plane.stop.send_replace(());
    let snapshot = proxy.until(|s| !s.discovery_available).await;
    assert_eq!(is_present(&snapshot, WEB), Some(true));

    control_plane.requests.send_replace(Vec::new());
    let (_, _server) = control_plane.serve(address).await;
    proxy.until(|s| s.discovery_available).await;
    // Known versions are named, so that nothing is sent that is here already.
    control_plane
        .told(|requests| {
            let versions = requests
                .iter()
                .flat_map(|request| &request.initial_resource_versions);
            let mut names: Vec<_> = versions.map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            names == ["outbound|10.4.0.3:8000", "web", "web"]
        })
        .await;
    let reconnected = control_plane.requests.borrow().clone();
    assert!(reconnected[0].node.is_some() && reconnected[1].node.is_none());
}

#[tokio::test]
async fn a_refused_resource_is_named_to_the_control_plane() {
    let control_plane = mesh();
    control_plane.set(
        type_url::CLUSTER,
        "web",
        "1",
        "{ name: web, type: STATIC, lrs_server: { self: {} } }",
    );
    let (address, _server) = control_plane.serve(loopback()).await;
    let mut proxy = Proxy::start(address);
    proxy.demand(WEB).await;
    control_plane
        .told(|requests| {
            let errors = requests
                .iter()
                .filter_map(|request| request.error_detail.as_ref());
            let mut messages = errors.map(|status| status.message.as_str());
            messages.any(|m| m.contains("Cluster \"web\"") && m.contains("lrs_server"))
        })
        .await;
    // There is no better cluster, so connections are refused rather than left to wait.
    let snapshot = proxy.until(|s| is_present(s, WEB) == Some(true)).await;
    assert!(snapshot.clusters.is_empty());
    let read = proxy.registry.read();
    let cds = read
        .iter()
        .find(|r| r.scope.kind == "cluster_manager.cds")
        .expect("cds");
    let rejected = cds
        .values
        .iter()
        .find(|v| v.name == "update_rejected")
        .expect("a stat");
    assert_eq!(rejected.reading, crate::stats::Reading::Counter(1));
}

#[tokio::test]
async fn an_unreachable_control_plane_is_said_so_and_demands_are_sent_later() {
    let address = weir_tests::ports::free();
    let mut proxy = Proxy::start(address);
    proxy.until(|s| !s.discovery_available).await;
    proxy.demand(WEB).await;
    let control_plane = mesh();
    let (_, _server) = control_plane.serve(address).await;
    let snapshot = proxy.until(|s| is_present(s, WEB) == Some(true)).await;
    assert!(snapshot.discovery_available);
}

/// A CA, and a server certificate from it for `weir-control.test`.
fn certificates() -> (String, Identity) {
    let ca_key = rcgen::KeyPair::generate().expect("key");
    let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).expect("CA");
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().expect("key");
    let server = rcgen::CertificateParams::new(vec!["weir-control.test".to_owned()]);
    let server = server
        .expect("parameters")
        .signed_by(&key, &issuer)
        .expect("certificate");
    let identity = Identity::from_pem(server.pem(), key.serialize_pem());
    (ca_certificate.pem(), identity)
}

#[tokio::test]
async fn tls_is_checked_and_the_token_is_sent() {
    let directory = tempfile::tempdir().expect("directory");
    let (ca, identity) = certificates();
    let (ca_file, token_file) = (
        directory.path().join("ca.pem"),
        directory.path().join("token"),
    );
    std::fs::write(&ca_file, ca).expect("CA file");
    std::fs::write(&token_file, "secret\n").expect("token file");
    let server = Server::builder().tls_config(ServerTlsConfig::new().identity(identity));
    let control_plane = mesh();
    let serving = control_plane.serve_by(server.expect("TLS"), loopback());
    let (address, _server) = serving.await;
    let tls = |ca_file: &std::path::Path, name: &str| ControlPlaneTls {
        ca_file: ca_file.to_owned(),
        server_name: Some(name.to_owned()),
        token_file: Some(token_file.clone()),
    };

    let good = tls(&ca_file, "weir-control.test");
    let mut proxy = Proxy::start_with(address, |options, _| options.control_plane.tls = Some(good));
    proxy.demand(WEB).await;
    proxy.until(|s| is_present(s, WEB) == Some(true)).await;
    assert_eq!(
        *control_plane.authorization.lock().expect("authorization"),
        "Bearer secret"
    );

    let (other_ca, _) = certificates();
    let other_file = directory.path().join("other.pem");
    std::fs::write(&other_file, other_ca).expect("CA file");
    for bad in [
        tls(&other_file, "weir-control.test"),
        tls(&ca_file, "elsewhere.test"),
    ] {
        let mut proxy =
            Proxy::start_with(address, |options, _| options.control_plane.tls = Some(bad));
        proxy.until(|s| !s.discovery_available).await;
    }
}

fn bound_listener(stat_prefix: &str) -> String {
    format!(
        r#"
name: bound
address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
filter_chains:
- filters:
  - name: envoy.filters.network.tcp_proxy
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
      stat_prefix: {stat_prefix}
      cluster: web
"#
    )
}

#[tokio::test]
async fn a_listener_by_wildcard_is_bound_once_and_keeps_its_sockets() {
    let control_plane = mesh();
    control_plane.set(type_url::LISTENER, "bound", "1", &bound_listener("one"));
    let (address, _server) = control_plane.serve(loopback()).await;
    let mut proxy = Proxy::start_with(address, |_, bootstrap| {
        (bootstrap.lds, bootstrap.cds) = (true, true);
    });
    let snapshot = proxy.until(|s| s.listeners.contains_key("bound")).await;
    let first = Arc::clone(&snapshot.listeners["bound"]);
    assert!(snapshot.clusters.contains_key("web") && snapshot.endpoints.contains_key("web"));
    let port = first.sockets[0].local_addr().expect("address").port();
    std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");

    control_plane.set(type_url::LISTENER, "bound", "2", &bound_listener("two"));
    control_plane.stop.send_replace(());
    let is_new = |s: &Arc<Snapshot>| !Arc::ptr_eq(&s.listeners["bound"], &first);
    let snapshot = proxy.until(is_new).await;
    assert!(Arc::ptr_eq(
        &snapshot.listeners["bound"].sockets,
        &first.sockets
    ));
}

#[tokio::test]
async fn a_listener_of_the_bootstrap_is_replaced_on_its_own_sockets_only() {
    let elsewhere = bound_listener("two").replace("port_value: 0", "port_value: 1");
    let control_plane = mesh();
    let set = |version: &str, text: &str| {
        let text = text.replace("name: bound", "name: virtualOutbound");
        control_plane.set(type_url::LISTENER, "virtualOutbound", version, &text);
    };
    set("1", &elsewhere);
    let (address, _server) = control_plane.serve(loopback()).await;
    let mut proxy = Proxy::start_with(address, |_, bootstrap| {
        let listener = Arc::get_mut(&mut bootstrap.listeners[0]).expect("not shared yet");
        listener.replaceable = true;
    });
    let first = Arc::clone(&proxy.snapshots.borrow().listeners["virtualOutbound"]);
    control_plane
        .told(|requests| {
            let errors = requests.iter().filter_map(|it| it.error_detail.as_ref());
            errors
                .into_iter()
                .any(|error| error.message.contains("as in the bootstrap"))
        })
        .await;

    set("2", &bound_listener("two"));
    control_plane.stop.send_replace(());
    let is_new = |s: &Arc<Snapshot>| !Arc::ptr_eq(&s.listeners["virtualOutbound"], &first);
    let snapshot = proxy.until(is_new).await;
    let second = &snapshot.listeners["virtualOutbound"];
    assert!(Arc::ptr_eq(&second.sockets, &first.sockets));
    assert_eq!(second.listener.stat_prefix, first.listener.stat_prefix);
}

fn by_state(_: &mut Options, bootstrap: &mut Bootstrap) {
    let ads = bootstrap.ads.as_mut().expect("ads");
    ads.protocol = AdsProtocol::StateOfTheWorld;
}

#[tokio::test]
async fn the_state_of_the_world_brings_what_is_asked_for_and_takes_what_is_missing() {
    let control_plane = mesh();
    let (address, _server) = control_plane.serve(loopback()).await;
    let mut proxy = Proxy::start_with(address, by_state);
    proxy.demand(WEB).await;
    let snapshot = proxy.until(|s| is_present(s, WEB) == Some(true)).await;
    assert!(snapshot.clusters.contains_key("web") && snapshot.endpoints.contains_key("web"));
    let mut states = control_plane.states.subscribe();
    let is_ack = |request: &DiscoveryRequest| {
        let (version, nonce) = (&request.version_info, &request.response_nonce);
        request.type_url == type_url::ENDPOINT && version == "v1" && nonce == "n1"
    };
    let acked = states.wait_for(|states| states.iter().any(is_ack));
    let acked = tokio::time::timeout(PATIENCE, acked).await;
    let first = acked.expect("in time").expect("requests")[0].clone();
    assert_eq!(first.node.expect("a node").id, "sidecar");
    assert_eq!(first.resource_names, ["outbound|10.4.0.3:8000"]);

    control_plane.resources.lock().expect("resources").clear();
    control_plane.stop.send_replace(());
    let snapshot = proxy.until(|s| is_present(s, WEB) == Some(false)).await;
    assert!(snapshot.clusters.is_empty() && snapshot.endpoints.is_empty());
}

#[tokio::test]
async fn a_state_of_the_world_that_is_refused_is_named_and_the_rest_is_taken() {
    let control_plane = mesh();
    let bad = "{ name: bad, type: STATIC, lrs_server: { self: {} } }";
    control_plane.set(type_url::CLUSTER, "bad", "1", bad);
    let (address, _server) = control_plane.serve(loopback()).await;
    let mut proxy = Proxy::start_with(address, |options, bootstrap| {
        by_state(options, bootstrap);
        (bootstrap.lds, bootstrap.cds) = (true, true);
    });
    proxy.until(|s| is_present(s, WEB) == Some(true)).await;
    let mut states = control_plane.states.subscribe();
    let nack = states.wait_for(|states| {
        let refused = |request: &DiscoveryRequest| {
            let error = request.error_detail.as_ref();
            error.is_some_and(|it| it.message.contains("lrs_server"))
                && request.version_info.is_empty()
                && request.resource_names.is_empty()
        };
        states.iter().any(refused)
    });
    let nack = tokio::time::timeout(PATIENCE, nack).await;
    nack.expect("in time").expect("requests");
}

/// Whether a trusted root is known by this name.
fn has_root(proxy: &Proxy, name: &str) -> bool {
    let name = SecretName {
        source: SecretSource::Ads,
        name: name.to_owned(),
    };
    let secret = proxy.secrets.resolve(&SecretRef::Sds(name)).get();
    secret.is_some_and(|secret| matches!(secret.value, SecretValue::Validation(_)))
}

#[tokio::test]
async fn secrets_come_over_the_stream_but_for_those_of_the_process() {
    let control_plane = mesh();
    control_plane.set(
        type_url::CLUSTER,
        "web",
        "1",
        r#"{ name: web, type: EDS, connect_timeout: 1s,
             eds_cluster_config: { eds_config: { resource_api_version: V3, ads: {} } },
             transport_socket: { name: tls, typed_config: {
               "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext,
               common_tls_context: {
                 tls_certificate_sds_secret_configs: [ { name: mine, sds_config: { ads: {} } } ],
                 validation_context_sds_secret_config: { name: root, sds_config: { ads: {} } } } } } }"#,
    );
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let secret = |authority: &str| {
        let authority = inline(authority);
        format!("{{ name: root, validation_context: {{ trusted_ca: {authority} }} }}")
    };
    control_plane.set(type_url::SECRET, "root", "1", &secret(&old.pem));
    let (address, _server) = control_plane.serve(loopback()).await;
    let local = Local::new(&["mine"]);
    let given = local.clone();
    let mut proxy = Proxy::start_with(address, |options, _| options.local_secrets = Some(given));
    proxy.demand(WEB).await;
    let snapshot = proxy.until(|s| s.destinations.len() == 1).await;
    assert!(snapshot.clusters.contains_key("web"));
    assert!(has_root(&proxy, "root") && !has_root(&proxy, "mine"));
    let asked: Vec<_> = control_plane.requests.borrow().clone();
    let names = asked.iter().filter(|r| r.type_url == type_url::SECRET);
    let names: Vec<_> = names.flat_map(|r| &r.resource_names_subscribe).collect();
    assert_eq!(names, ["root"]);

    // A version that is wrong changes nothing, and is refused without what it holds.
    let broken = new.pem.replace('M', "!");
    control_plane.set(type_url::SECRET, "root", "2", &secret(&broken));
    control_plane.requests.send_replace(Vec::new());
    control_plane.stop.send_replace(());
    control_plane
        .told(|requests| {
            let errors = requests.iter().filter_map(|r| r.error_detail.as_ref());
            let mut messages = errors.map(|status| status.message.as_str());
            messages.any(|m| m.contains("Secret \"root\"") && !m.contains("BEGIN"))
        })
        .await;
    assert!(has_root(&proxy, "root"));
}

#[tokio::test]
async fn a_cluster_is_in_force_once_its_hosts_have_answered_their_first_check() {
    let host = TcpListener::bind(loopback()).await.expect("a port");
    let port = host.local_addr().expect("an address").port();
    let control_plane = mesh();
    control_plane.set(
        type_url::CLUSTER,
        "web",
        "1",
        "{ name: web, type: EDS, connect_timeout: 1s, \
         eds_cluster_config: { eds_config: { resource_api_version: V3, ads: {} } }, \
         health_checks: [{ timeout: 60s, interval: 60s, unhealthy_threshold: 1, healthy_threshold: 1, \
         tcp_health_check: { receive: [{ text: '6f6b' }] } }] }",
    );
    let endpoints = format!(
        "{{ cluster_name: web, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: \
         {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}] }}] }}"
    );
    control_plane.set(type_url::ENDPOINT, "web", "1", &endpoints);
    let (address, _server) = control_plane.serve(loopback()).await;
    let mut proxy = Proxy::start(address);
    proxy.demand(WEB).await;
    let check = tokio::time::timeout(PATIENCE, host.accept()).await;
    let (mut check, _) = check.expect("in time").expect("a check");
    let snapshot = Arc::clone(&proxy.snapshots.borrow());
    assert!(snapshot.warming.contains_key("web") && !snapshot.clusters.contains_key("web"));
    assert_eq!(is_present(&snapshot, WEB), None, "connections wait");
    check.write_all(b"ok").await.expect("written");
    let snapshot = proxy.until(|s| s.clusters.contains_key("web")).await;
    assert!(snapshot.warming.is_empty());
    assert_eq!(is_present(&snapshot, WEB), Some(true));
}

#[test]
fn a_control_plane_whose_name_is_to_be_looked_up_otherwise_is_refused_by_name() {
    let text = |more: &str| {
        format!(
            "{{ node: {{ id: a, cluster: b }}, {more} dynamic_resources: {{ ads_config: {{ \
             api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: \
             [{{ envoy_grpc: {{ cluster_name: xds }} }}] }} }}, static_resources: {{ clusters: [{{ \
             name: xds, type: STRICT_DNS, load_assignment: {{ cluster_name: xds, endpoints: [{{ \
             lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: cp.test, \
             port_value: 1 }} }} }} }}] }}] }} }}] }} }}"
        )
    };
    let client = |more: &str| {
        let source = json::read_bootstrap(&text(more)).expect("bootstrap");
        let bootstrap = convert::bootstrap(source.clone()).expect("bootstrap");
        let ads = bootstrap.ads.as_ref().expect("ads");
        let made = Client::new(ads, &bootstrap, &Options::new(source));
        made.map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(client(""), Ok(()));
    let error = client("use_tcp_for_dns_lookups: true,").expect_err("it would not count");
    assert!(
        error.contains("\"xds\"") && error.contains("leave out"),
        "{error}"
    );
}

#[tokio::test]
async fn a_cluster_comes_into_force_once_its_names_are_known() {
    let server = dns::Server::start(Ipv4Addr::LOCALHOST);
    for name in ["one.test", "two.test"] {
        server.set(name, dns::Answer::Silence);
    }
    let cluster = |name: &str| {
        let port = server.address.port();
        format!(
            "{{ name: web, type: STRICT_DNS, typed_dns_resolver_config: {{ name: r, typed_config: {{ \
             \"@type\": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig, \
             resolvers: [{{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}], \
             dns_resolver_options: {{ no_default_search_domain: true }}, \
             query_timeout_seconds: 1 }} }}, load_assignment: {{ cluster_name: web, \
             endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ \
             address: {name}, port_value: 1 }} }} }} }}] }}] }} }}"
        )
    };
    let control_plane = mesh();
    control_plane.set(type_url::CLUSTER, "web", "1", &cluster("one.test"));
    let (address, _server) = control_plane.serve(loopback()).await;
    let mut proxy = Proxy::start(address);
    proxy.demand(WEB).await;
    asked(&server, "one.test").await;
    let is_there = |snapshot: &Snapshot| snapshot.clusters.contains_key("web");
    assert!(!is_there(&proxy.snapshots.borrow()));
    let found = |snapshot: &Snapshot| {
        let endpoints = endpoints_of(snapshot.clusters.get("web")?, snapshot)?;
        let addresses = endpoints.endpoints().map(|it| it.address.to_string());
        Some(addresses.collect::<Vec<_>>())
    };
    server.has("one.test", &["10.0.0.1"]);
    let first = proxy.until(|snapshot| is_there(snapshot)).await;
    assert_eq!(found(&first), Some(vec!["10.0.0.1:1".to_owned()]));
    // One of other names takes its place when these are known.
    control_plane.set(type_url::CLUSTER, "web", "2", &cluster("two.test"));
    control_plane.stop.send_replace(());
    asked(&server, "two.test").await;
    let meanwhile = Arc::clone(&proxy.snapshots.borrow());
    assert_eq!(found(&meanwhile), Some(vec!["10.0.0.1:1".to_owned()]));
    server.has("two.test", &["10.0.0.2", "10.0.0.3"]);
    let is_other =
        |snapshot: &Snapshot| found(snapshot).is_some_and(|addresses| addresses.len() == 2);
    proxy.until(|snapshot| is_other(snapshot)).await;
    // What was found for the first is forgotten.
    proxy
        .until(|snapshot| {
            snapshot
                .resolved
                .get("web")
                .is_some_and(|all| all.len() == 1)
        })
        .await;
}

/// Waits until a server of names was asked for a name.
async fn asked(server: &dns::Server, name: &str) {
    let asked = async {
        while server.times(name) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked)
        .await
        .expect("in time");
}
