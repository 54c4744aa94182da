//! ADS over gRPC.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use weir_api::xds::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    aggregated_discovery_service_server::{
        AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
    },
};

use super::{
    hub::Hub,
    mailbox::Mailbox,
    session::{DeltaSession, Shared},
};

/// Time between pings to a client, and how long an answer may take: a dead client is gone within
/// half a minute.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest request. A client that reconnects names every version it has.
const MAX_REQUEST: usize = 16 << 20;

/// The aggregated discovery service.
#[derive(Debug, Clone)]
pub struct AdsServer {
    hub: Arc<Hub>,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

// === impl AdsServer ===

impl AdsServer {
    /// Serves what the hub knows.
    #[must_use]
    pub fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for AdsServer {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let reason = "state of the world is not served; use DELTA_GRPC";
        Err(Status::unimplemented(reason))
    }

    async fn delta_aggregated_resources(
        &self,
        requests: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        // One response waits at most: the next is made of the latest when that one is gone.
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(drive_delta(self.hub.clone(), requests.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

async fn drive_delta(
    hub: Arc<Hub>,
    mut requests: Streaming<DeltaDiscoveryRequest>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
) {
    hub.metrics().stream_opened();
    let mailbox = Arc::new(Mailbox::default());
    let shared = Shared::new("delta");
    let client = hub.register(mailbox.clone(), shared.clone());
    let mut session = DeltaSession::new(shared, client);
    let mut up_to_date = true;
    loop {
        tokio::select! {
            permit = responses.reserve(), if !up_to_date => {
                let Ok(permit) = permit else { break };
                // What was published by now is part of what is said now.
                session.news(mailbox.take());
                match session.next(&hub) {
                    Some(response) => permit.send(Ok(response)),
                    None => up_to_date = true,
                }
            }
            request = requests.next() => match request {
                Some(Ok(request)) => {
                    session.request(request, &hub);
                    up_to_date = false;
                }
                Some(Err(status)) => {
                    if status.code() == tonic::Code::OutOfRange || status.code() == tonic::Code::Internal {
                        hub.metrics().bad_request();
                    }
                    tracing::debug!(%status, "stream ended");
                    break;
                }
                None => break,
            },
            () = mailbox.arrived() => up_to_date = false,
            () = responses.closed() => break,
        }
    }
    session.close(&hub);
}

/// Serves ADS on one connection until it ends. When `shutdown` turns true the client is told to go
/// elsewhere.
///
/// # Errors
/// The connection broke, or the peer does not speak HTTP/2.
pub async fn serve_connection(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    server: AdsServer,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), hyper::Error> {
    let service =
        AggregatedDiscoveryServiceServer::new(server).max_decoding_message_size(MAX_REQUEST);
    let mut connection = std::pin::pin!(
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .serve_connection(TokioIo::new(io), TowerToHyperService::new(service))
    );
    tokio::select! {
        result = connection.as_mut() => return result,
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    // Streams of subscriptions do not end by themselves; dropping them makes clients reconnect.
    let _ = tokio::time::timeout(DRAIN, connection.as_mut()).await;
    Ok(())
}

/// How long a connection may take to end once asked to.
const DRAIN: Duration = Duration::from_millis(500);
