//! The connection to the control plane: dials, opens the stream, and starts over when it breaks.

use std::{io, path::Path, time::Duration};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Streaming,
    metadata::{AsciiMetadataKey, AsciiMetadataValue},
    transport::Channel,
};
use weir_api::xds::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};

use super::backoff::Backoff;
use crate::{
    boundary::Boundary,
    config::bootstrap::AdsProtocol,
    options::{self, ControlPlaneTls, EndpointError},
};

/// Requests that may wait to be sent. There is at most one answer for each response, and
/// subscriptions are merged; a stream that takes none of so many is dead.
const REQUESTS: usize = 1024;
/// A response may be as large as the configuration of a large mesh, if it comes by wildcard.
const MAX_RESPONSE: usize = 256 << 20;
/// As Istio's agent: finds a dead control plane within 40 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the control plane is, and how it is spoken to.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// `host:port`
    pub(super) address: String,
    pub(super) protocol: AdsProtocol,
    pub(super) tls: Option<ControlPlaneTls>,
    pub(super) connect_timeout: Duration,
    /// Metadata of the stream.
    pub(super) metadata: Vec<(String, String)>,
}

/// What happened to the connection.
#[derive(Debug)]
pub(super) enum Event {
    /// Requests can be sent.
    Up(Requests),
    /// The control plane accepted the stream.
    Open,
    /// It said something.
    Response(Box<DeltaDiscoveryResponse>),
    /// It said something, in the state-of-the-world variant.
    State(Box<DiscoveryResponse>),
    /// The stream is gone, or could not be had.
    Down {
        /// Why.
        reason: String,
        /// Because a file is not there yet that the kubelet mounts when it has it.
        waits: bool,
    },
}

/// Where requests go to, in the variant of the stream.
#[derive(Debug)]
pub(super) enum Requests {
    /// Of what is added and dropped.
    Delta(mpsc::Sender<DeltaDiscoveryRequest>),
    /// Of all that is wanted.
    StateOfTheWorld(mpsc::Sender<DiscoveryRequest>),
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("cannot read {0}")]
    File(String, #[source] io::Error),
    #[error("cannot connect")]
    Connect(#[from] tonic::transport::Error),
    #[error("{}: {}", .0.code(), .0.message())]
    Status(Box<tonic::Status>),
    #[error("metadata {0:?} is not valid in a gRPC header")]
    Metadata(String),
    #[error("the control plane ended the stream")]
    Ended,
    #[error("a bug of the proxy: it panicked")]
    Panicked,
}

/// Keeps a stream to `target` until nobody listens to `events` any more.
pub(super) async fn run(target: Target, events: mpsc::Sender<Event>, boundary: &Boundary) {
    let mut backoff = Backoff::default();
    while !events.is_closed() {
        let ended = boundary.contain(stream(&target, &events, &mut backoff));
        let Err(error) = ended.await.unwrap_or(Err(LinkError::Panicked)) else {
            return;
        };
        let down = Event::Down {
            reason: chain(&error),
            waits: error.waits(),
        };
        if events.send(down).await.is_err() {
            return;
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// One stream, to its end. `Ok` if nobody listens any more.
async fn stream(
    target: &Target,
    events: &mpsc::Sender<Event>,
    backoff: &mut Backoff,
) -> Result<(), LinkError> {
    let channel = target.connect().await?;
    let mut client =
        AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(MAX_RESPONSE);
    // Some servers answer with headers only once they have read a request.
    match target.protocol {
        AdsProtocol::Delta => {
            let (sender, requests) = mpsc::channel(REQUESTS);
            let request = target.request(ReceiverStream::new(requests))?;
            if !tell(events, Event::Up(Requests::Delta(sender))).await {
                return Ok(());
            }
            let responses = client.delta_aggregated_resources(request).await?;
            backoff.reset();
            let event = |response| Event::Response(Box::new(response));
            pass_on(responses.into_inner(), events, event).await
        }
        AdsProtocol::StateOfTheWorld => {
            let (sender, requests) = mpsc::channel(REQUESTS);
            let request = target.request(ReceiverStream::new(requests))?;
            if !tell(events, Event::Up(Requests::StateOfTheWorld(sender))).await {
                return Ok(());
            }
            let responses = client.stream_aggregated_resources(request).await?;
            backoff.reset();
            let event = |response| Event::State(Box::new(response));
            pass_on(responses.into_inner(), events, event).await
        }
    }
}

/// Hands on what the control plane says until the stream ends. `Ok` if nobody listens any more.
async fn pass_on<T>(
    mut responses: Streaming<T>,
    events: &mpsc::Sender<Event>,
    event: impl Fn(T) -> Event,
) -> Result<(), LinkError> {
    if !tell(events, Event::Open).await {
        return Ok(());
    }
    while let Some(response) = responses.message().await? {
        if !tell(events, event(response)).await {
            return Ok(());
        }
    }
    Err(LinkError::Ended)
}

/// False if nobody listens any more.
async fn tell(events: &mpsc::Sender<Event>, event: Event) -> bool {
    events.send(event).await.is_ok()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

// === impl Target ===

impl Target {
    async fn connect(&self) -> Result<Channel, LinkError> {
        let endpoint = options::endpoint(&self.address, self.tls.as_ref())?
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        Ok(endpoint.connect().await?)
    }

    fn request<T>(
        &self,
        requests: ReceiverStream<T>,
    ) -> Result<Request<ReceiverStream<T>>, LinkError> {
        let mut request = Request::new(requests);
        let token_file = self.tls.as_ref().and_then(|tls| tls.token_file.as_ref());
        let mut metadata = self.metadata.clone();
        if let Some(file) = token_file.filter(|file| file.exists()) {
            let token = read(file)?;
            let value = format!("Bearer {}", String::from_utf8_lossy(&token).trim());
            metadata.push(("authorization".to_owned(), value));
        }
        for (name, value) in metadata {
            let (Ok(key), Ok(value)) = (
                AsciiMetadataKey::from_bytes(name.as_bytes()),
                AsciiMetadataValue::try_from(value),
            ) else {
                return Err(LinkError::Metadata(name));
            };
            request.metadata_mut().insert(key, value);
        }
        Ok(request)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LinkError> {
    let read = std::fs::read(path);
    read.map_err(|source| LinkError::File(path.display().to_string(), source))
}

// === impl LinkError ===

impl LinkError {
    fn waits(&self) -> bool {
        matches!(self, Self::File(_, error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl From<EndpointError> for LinkError {
    fn from(error: EndpointError) -> Self {
        match error {
            EndpointError::File(name, source) => Self::File(name, source),
            EndpointError::Endpoint(error) => Self::Connect(error),
        }
    }
}

impl From<tonic::Status> for LinkError {
    fn from(status: tonic::Status) -> Self {
        Self::Status(Box::new(status))
    }
}
