//! A control plane that has the resources of the cases, and remembers what it was asked.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr, TcpListener},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use serde_json::Value;
use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap, transport::Server};
use weir_api::xds::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
            aggregated_discovery_service_server::{
                AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
            },
        },
    },
    google::protobuf::Any,
    json::Descriptors,
};

/// Type, name and message.
type Resource = (String, String, Any);
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[derive(Clone)]
pub(crate) struct ControlPlane {
    pub(crate) address: SocketAddr,
    resources: Arc<Mutex<Vec<Resource>>>,
    asked: Arc<Mutex<BTreeSet<String>>>,
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Starts it for the rest of the process.
    pub(crate) fn start(address: IpAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        listener.set_nonblocking(true).expect("not blocking");
        let control_plane = Self {
            address: listener.local_addr().expect("an address"),
            resources: Arc::default(),
            asked: Arc::default(),
        };
        let service = AggregatedDiscoveryServiceServer::new(control_plane.clone());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let connections = TcpListenerStream::new(listener);
                let server = Server::builder().add_service(service);
                server.serve_with_incoming(connections).await
            })
        });
        control_plane
    }

    /// Takes resources over, whose texts are complete.
    pub(crate) fn has(&self, resources: &[Value]) {
        let descriptors = Descriptors::load();
        for resource in resources {
            let mut message = resource.clone();
            let fields = message.as_object_mut().expect("a mapping");
            let url = fields.remove("@type").expect("@type of a resource");
            let url = url.as_str().expect("a name").to_owned();
            let name = fields.get("cluster_name").or(fields.get("name"));
            let name = name.and_then(Value::as_str).expect("a name").to_owned();
            let any = descriptors.read(&url, &message.to_string());
            let any = any.unwrap_or_else(|error| panic!("{url} {name}: {error}"));
            self.resources().push((url, name, any));
        }
    }

    /// What was asked, once anything was.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked
            .lock()
            .expect("no panic")
            .iter()
            .cloned()
            .collect()
    }

    fn resources(&self) -> MutexGuard<'_, Vec<Resource>> {
        self.resources.lock().expect("no panic")
    }

    fn note(&self, line: String) {
        self.asked.lock().expect("no panic").insert(line);
    }

    fn note_stream(&self, protocol: &str, metadata: &MetadataMap) {
        let keys = metadata.keys().filter_map(|key| match key {
            tonic::metadata::KeyRef::Ascii(key) if key.as_str().starts_with("x-case") => Some(key),
            _ => None,
        });
        for key in keys {
            let value = metadata.get(key).and_then(|value| value.to_str().ok());
            self.note(format!("metadata {key}: {}", value.unwrap_or_default()));
        }
        self.note(format!("over {protocol}"));
    }

    fn note_request(&self, node: Option<&Node>, type_url: &str, names: &[String]) {
        if let Some(node) = node {
            self.note(format!("from {} of {}", node.id, node.cluster));
        }
        let kind = type_url.rsplit('.').next().unwrap_or_default();
        let mut names = names.to_vec();
        names.sort();
        self.note(format!("{kind} {names:?}"));
    }

    /// All that is asked for of a type. None: the request says only that an answer was taken.
    fn answer(
        &self,
        request: DiscoveryRequest,
        last: &mut BTreeSet<String>,
    ) -> Option<DiscoveryResponse> {
        let DiscoveryRequest {
            node,
            resource_names: names,
            type_url,
            ..
        } = request;
        self.note_request(node.as_ref(), &type_url, &names);
        if !last.insert(format!("{type_url} {names:?}")) {
            return None;
        }
        let resources = self.resources();
        let asked = resources.iter().filter(|(url, name, _)| {
            *url == type_url && (names.is_empty() || names.contains(name))
        });
        Some(DiscoveryResponse {
            version_info: format!("v{}", last.len()),
            resources: asked.map(|(_, _, message)| message.clone()).collect(),
            nonce: format!("n{}", last.len()),
            type_url,
            ..DiscoveryResponse::default()
        })
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for ControlPlane {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        self.note_stream("the state of the world", request.metadata());
        let (control_plane, mut last) = (self.clone(), BTreeSet::new());
        let requests = request.into_inner();
        let answers = requests.filter_map(move |request| match request {
            Ok(request) => control_plane.answer(request, &mut last).map(Ok),
            Err(status) => Some(Err(status)),
        });
        Ok(Response::new(Box::pin(answers)))
    }

    /// Notes what is asked. Nothing is answered: no case needs it.
    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        self.note_stream("delta", request.metadata());
        let control_plane = self.clone();
        let requests = request.into_inner();
        let answers = requests.filter_map(move |request| {
            let request = request.ok()?;
            let names = request.resource_names_subscribe;
            control_plane.note_request(request.node.as_ref(), &request.type_url, &names);
            None
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
