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
use tonic::{Code, Request, Response, Status, Streaming};
use weir_api::xds::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    aggregated_discovery_service_server::{
        AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
    },
};

use super::{
    hub::Hub,
    session::{DeltaSession, Session, SotwSession},
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
    /// Turns true when streams are to end. Of each connection, see [`serve_connection`].
    stopped: watch::Receiver<bool>,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

// === impl AdsServer ===

impl AdsServer {
    /// Serves what the hub knows.
    #[must_use]
    pub fn new(hub: Arc<Hub>) -> Self {
        Self {
            hub,
            stopped: watch::channel(false).1,
        }
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for AdsServer {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        requests: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let session = SotwSession::new(&self.hub);
        Ok(Response::new(self.open(session, requests.into_inner())))
    }

    async fn delta_aggregated_resources(
        &self,
        requests: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let session = DeltaSession::new(&self.hub);
        Ok(Response::new(self.open(session, requests.into_inner())))
    }
}

impl AdsServer {
    /// Starts a session; what it has to say comes out of the stream.
    fn open<S>(&self, session: S, requests: Streaming<S::Request>) -> Responses<S::Response>
    where
        S: Session + 'static,
    {
        self.hub.metrics().stream_opened();
        // One response waits at most: the next is made of the latest when that one is gone.
        let (sender, receiver) = mpsc::channel(1);
        let stopped = self.stopped.clone();
        tokio::spawn(drive(session, self.hub.clone(), requests, sender, stopped));
        Box::pin(ReceiverStream::new(receiver))
    }
}

async fn drive<S: Session>(
    mut session: S,
    hub: Arc<Hub>,
    mut requests: Streaming<S::Request>,
    responses: mpsc::Sender<Result<S::Response, Status>>,
    mut stopped: watch::Receiver<bool>,
) {
    let mailbox = session.seat().mailbox();
    // A server that nobody can stop goes on when its other end is gone.
    let mut stop = std::pin::pin!(async move {
        if stopped.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    });
    let mut up_to_date = true;
    loop {
        tokio::select! {
            permit = responses.reserve(), if !up_to_date => {
                let Ok(permit) = permit else { break };
                // What was published by now is part of what is said now.
                session.seat().news();
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
                    ended(&status, &hub);
                    break;
                }
                None => break,
            },
            () = mailbox.arrived() => up_to_date = false,
            () = responses.closed() => break,
            () = &mut stop => {
                let reason = "the control plane stops; connect again";
                let _ = responses.try_send(Err(Status::unavailable(reason)));
                break;
            }
        }
    }
    session.seat().leave(&hub);
}

/// A stream that ends with an error has mostly lost its connection, which is no news. A message
/// that cannot be read is the client's fault.
fn ended(status: &Status, hub: &Hub) {
    if matches!(status.code(), Code::Internal | Code::OutOfRange) {
        hub.metrics().bad_request();
        tracing::warn!(%status, "a client sent what cannot be read");
    } else {
        tracing::debug!(%status, "stream ended");
    }
}

/// Serves ADS on one connection until it ends. When `shutdown` turns true the client is told to go
/// elsewhere.
///
/// # Errors
/// The connection broke, or the peer does not speak HTTP/2.
pub async fn serve_connection(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut server: AdsServer,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), hyper::Error> {
    server.stopped = shutdown.clone();
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
    // Streams end by themselves now; a client that does not read would keep its own open.
    let _ = tokio::time::timeout(DRAIN, connection.as_mut()).await;
    Ok(())
}

/// How long a connection may take to end once asked to.
const DRAIN: Duration = Duration::from_millis(500);
