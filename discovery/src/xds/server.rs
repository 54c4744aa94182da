//! ADS over gRPC.

mod connection;
mod drive;
mod push;

use std::{net::SocketAddr, pin::Pin, sync::Arc};

pub use connection::{serve_connection, serve_connection_with};
use futures_util::Stream;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap, service::Routes};
use weir_api::xds::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    aggregated_discovery_service_server::AggregatedDiscoveryService,
};

use self::{connection::Ending, drive::Drive};
use super::{
    Limits,
    auth::{Authenticator, Identity, identify},
    hub::Hub,
    metrics::Fault,
    session::{DeltaSession, Origin, Session, SotwSession},
};

/// The aggregated discovery service.
#[derive(Debug, Clone)]
pub struct AdsServer {
    hub: Arc<Hub>,
    limits: Arc<Limits>,
    /// The turns of clients to be told something.
    turns: Arc<Semaphore>,
    authenticator: Option<Arc<dyn Authenticator>>,
    /// Of each connection: see [`serve_connection`].
    peer: Option<SocketAddr>,
    ending: Ending,
    others: Routes,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

// === impl AdsServer ===

impl AdsServer {
    /// Serves what the hub knows, within the default limits, to whoever asks.
    #[must_use]
    pub fn new(hub: Arc<Hub>) -> Self {
        let limits = Limits::default();
        Self {
            hub,
            turns: Arc::new(Semaphore::new(limits.concurrent_pushes)),
            limits: Arc::new(limits),
            authenticator: None,
            peer: None,
            ending: Ending::default(),
            others: Routes::default(),
        }
    }

    /// The same within other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(limits.concurrent_pushes)),
            limits: Arc::new(limits),
            ..self
        }
    }

    /// The same for clients with a good token only, each as itself. Turns and limits stay shared.
    #[must_use]
    pub fn authenticated(self, authenticator: Arc<dyn Authenticator>) -> Self {
        Self {
            authenticator: Some(authenticator),
            ..self
        }
    }

    /// The same for the connection of that peer, which people then see beside the client.
    #[must_use]
    pub fn for_peer(self, peer: SocketAddr) -> Self {
        Self {
            peer: Some(peer),
            ..self
        }
    }

    /// The same with other services on its connections.
    #[must_use]
    pub fn beside(self, others: Routes) -> Self {
        Self { others, ..self }
    }

    /// Who opens a stream, where that matters.
    async fn identify(&self, metadata: &MetadataMap) -> Result<Option<Identity>, Status> {
        let Some(authenticator) = &self.authenticator else {
            return Ok(None);
        };
        let identity = identify(&**authenticator, self.peer, metadata).await;
        let identity = identity.inspect_err(|status| {
            self.hub.metrics().fault(Fault::Unauthenticated);
            let reason = status.message();
            tracing::warn!(peer = ?self.peer, reason, "a client was not let in");
        })?;
        Ok(Some(identity))
    }

    /// Starts a session; what it has to say comes out of the stream.
    async fn open<S>(
        &self,
        requests: Request<Streaming<S::Request>>,
    ) -> Result<Response<Responses<S::Response>>, Status>
    where
        S: Session + 'static,
    {
        let identity = self.identify(requests.metadata()).await?;
        self.hub
            .metrics()
            .update(|counts| counts.streams_opened += 1);
        let origin = Origin {
            peer: self.peer,
            identity,
        };
        // One response waits at most: the next is made of the latest when that one is gone.
        let (sender, receiver) = mpsc::channel(1);
        let drive = Drive::new(S::new(&self.hub, origin), self, sender);
        tokio::spawn(drive.run(requests.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
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
        self.open::<SotwSession>(requests).await
    }

    async fn delta_aggregated_resources(
        &self,
        requests: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        self.open::<DeltaSession>(requests).await
    }
}
