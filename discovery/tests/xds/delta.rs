//! A delta client that does what it is told, and no more.

use std::{collections::HashMap, time::Duration};

use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use weir_api::xds::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
    google::rpc::Status,
};
use weir_discovery::xds::Kind;

/// Far longer than anything takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Delta {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    barriers: usize,
}

impl Delta {
    pub(crate) async fn connect(address: &str, node: &str) -> Self {
        let node = Node {
            id: node.to_owned(),
            ..Node::default()
        };
        Self::connect_as(address, node).await
    }

    pub(crate) async fn connect_as(address: &str, node: Node) -> Self {
        let stream = Self::open(address, node, None).await;
        stream.expect("a stream")
    }

    /// Opens a stream, with a token if there is one.
    pub(crate) async fn open(
        address: &str,
        node: Node,
        token: Option<&str>,
    ) -> Result<Self, tonic::Status> {
        let client = AggregatedDiscoveryServiceClient::connect(address.to_owned()).await;
        let (requests, receiver) = mpsc::channel(256);
        let first = DeltaDiscoveryRequest {
            node: Some(node),
            type_url: Kind::Secret.type_url().to_owned(),
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(first).await.expect("open");
        let mut request = tonic::Request::new(ReceiverStream::new(receiver));
        if let Some(token) = token {
            let header = format!("Bearer {token}").parse().expect("a header");
            request.metadata_mut().insert("authorization", header);
        }
        let responses = client
            .expect("connect")
            .delta_aggregated_resources(request)
            .await?;
        Ok(Self {
            requests,
            responses: responses.into_inner(),
            barriers: 0,
        })
    }

    pub(crate) async fn send(&self, request: DeltaDiscoveryRequest) {
        self.requests
            .send(request)
            .await
            .expect("the stream is open");
    }

    pub(crate) async fn subscribe(&self, kind: Kind, names: &[&str]) {
        self.resume(kind, names, HashMap::new()).await;
    }

    pub(crate) async fn resume(&self, kind: Kind, names: &[&str], have: HashMap<String, String>) {
        self.send(DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
            initial_resource_versions: have,
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }

    pub(crate) async fn unsubscribe(&self, kind: Kind, names: &[&str]) {
        self.send(DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names_unsubscribe: names.iter().map(ToString::to_string).collect(),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }

    pub(crate) async fn ack(&self, response: &DeltaDiscoveryResponse) {
        self.answer(response, None).await;
    }

    pub(crate) async fn nack(&self, response: &DeltaDiscoveryResponse, reason: &str) {
        let status = Status {
            message: reason.to_owned(),
            ..Status::default()
        };
        self.answer(response, Some(status)).await;
    }

    async fn answer(&self, response: &DeltaDiscoveryResponse, error: Option<Status>) {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: error,
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }

    /// The next response, without an answer.
    pub(crate) async fn raw(&mut self) -> DeltaDiscoveryResponse {
        let message = timeout(PATIENCE, self.responses.message()).await;
        let message = message.expect("a response in time").expect("no error");
        message.expect("the stream goes on")
    }

    /// How the stream ended: with an error, or as agreed.
    pub(crate) async fn end(&mut self) -> Option<tonic::Status> {
        let message = timeout(PATIENCE, self.responses.message()).await;
        match message.expect("an end in time") {
            Ok(None) => None,
            Ok(Some(response)) => panic!("a response: {response:?}"),
            Err(status) => Some(status),
        }
    }

    /// The next response, acknowledged.
    pub(crate) async fn next(&mut self) -> DeltaDiscoveryResponse {
        let response = self.raw().await;
        self.ack(&response).await;
        response
    }

    /// All that comes before the answer to a question asked now. Everything published by now does.
    pub(crate) async fn settle(&mut self) -> Vec<DeltaDiscoveryResponse> {
        self.barriers += 1;
        let barrier = format!("barrier-{}", self.barriers);
        self.subscribe(Kind::Secret, &[&barrier]).await;
        let mut before = Vec::new();
        loop {
            let response = self.next().await;
            if response.removed_resources == [barrier.clone()] {
                return before;
            }
            before.push(response);
        }
    }
}

/// Names of the resources in a response, and the names of those it says are not there.
pub(crate) fn names(response: &DeltaDiscoveryResponse) -> (Vec<&str>, Vec<&str>) {
    let there = response
        .resources
        .iter()
        .map(|resource| resource.name.as_str());
    let gone = response.removed_resources.iter().map(String::as_str);
    (there.collect(), gone.collect())
}

pub(crate) fn kind(response: &DeltaDiscoveryResponse) -> Kind {
    Kind::of(&response.type_url).expect("a known type")
}

/// What a client that reconnects says it has.
pub(crate) fn versions(response: &DeltaDiscoveryResponse) -> HashMap<String, String> {
    let resources = response.resources.iter();
    resources
        .map(|resource| (resource.name.clone(), resource.version.clone()))
        .collect()
}
