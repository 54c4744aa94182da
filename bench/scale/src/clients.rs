//! Sidecars, as far as the control plane can tell: each with a connection, a stream and what it
//! subscribed to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use weir_api::{
    names,
    xds::{
        envoy::{
            config::core::v3::Node,
            service::discovery::v3::{
                DeltaDiscoveryRequest, DeltaDiscoveryResponse,
                aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
            },
        },
        type_url,
    },
};

use crate::cluster;

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Clients that use the same services.
#[derive(Debug)]
pub(crate) struct Clients {
    count: usize,
    acked: mpsc::Receiver<Ack>,
    responses: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

/// An ACK of a response that had something about endpoints.
#[derive(Debug)]
struct Ack {
    at: Instant,
}

/// One client's stream.
struct Stream {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

// === impl Clients ===

impl Clients {
    /// Connects that many, each to those services, and waits until each has all it asked for.
    pub(crate) async fn connect(
        address: &str,
        label: &str,
        count: usize,
        services: &[u32],
    ) -> Result<Self> {
        let (acks, acked) = mpsc::channel(1024);
        let responses = Arc::new(AtomicU64::new(0));
        let (mut starting, mut tasks) = (JoinSet::new(), JoinSet::new());
        for number in 0..count {
            let (address, services) = (address.to_owned(), services.to_owned());
            let name = format!("{label}-{number}");
            starting.spawn(async move {
                let ready = async {
                    let mut stream = Stream::open(&address, &name).await?;
                    stream.subscribe(&services).await?;
                    Ok::<_, anyhow::Error>(stream)
                };
                timeout(PATIENCE, ready).await.context("a client in time")?
            });
        }
        while let Some(stream) = starting.join_next().await {
            let (stream, acks, responses) = (stream??, acks.clone(), responses.clone());
            tasks.spawn(async move {
                // Ends with the control plane.
                let _ = stream.follow(acks, &responses).await;
            });
        }
        Ok(Self {
            count,
            acked,
            responses,
            _tasks: tasks,
        })
    }

    /// Responses that came since all were connected.
    pub(crate) fn responses(&self) -> u64 {
        self.responses.load(Ordering::Relaxed)
    }

    /// Does something, and says how long it took each client to acknowledge it.
    pub(crate) async fn each(&mut self, cause: impl FnOnce()) -> Result<Vec<Duration>> {
        let began = Instant::now();
        cause();
        let mut times = Vec::with_capacity(self.count);
        while times.len() < self.count {
            let ack = timeout(PATIENCE, self.acked.recv()).await;
            let ack = ack.with_context(|| format!("{} ACKs of {}", times.len(), self.count))?;
            times.push(ack.context("a client ended")?.at - began);
        }
        Ok(times)
    }
}

/// How long it takes until a control plane that starts answers what it knows of a service.
pub(crate) async fn first_answer(address: &str, service: u32) -> Result<Instant> {
    let answered = async {
        loop {
            if let Ok(mut stream) = Stream::open(address, "first").await
                && stream.subscribe(&[service]).await.is_ok()
            {
                return Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, answered).await.context("an answer")
}

// === impl Stream ===

impl Stream {
    async fn open(address: &str, name: &str) -> Result<Self> {
        let mut client = AggregatedDiscoveryServiceClient::connect(address.to_owned()).await?;
        let (requests, receiver) = mpsc::channel(16);
        let hello = DeltaDiscoveryRequest {
            node: Some(Node {
                id: format!("sidecar~10.0.0.1~{name}.bench~bench.svc.cluster.local"),
                ..Node::default()
            }),
            type_url: type_url::SECRET.to_owned(),
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(hello).await?;
        let responses = client
            .delta_aggregated_resources(ReceiverStream::new(receiver))
            .await?;
        Ok(Self {
            requests,
            responses: responses.into_inner(),
        })
    }

    /// Subscribes to what a sidecar needs to call these services, and waits until it has it.
    async fn subscribe(&mut self, services: &[u32]) -> Result<()> {
        let listener = |service: &u32| {
            let address = (cluster::service_address(*service), 80).into();
            names::outbound_listener(address)
        };
        let cluster = |service: &u32| {
            let (name, namespace) = (cluster::name(*service), cluster::namespace(*service));
            names::outbound_cluster(80, &names::service_host(&name, &namespace, "cluster.local"))
        };
        let of = |name: &dyn Fn(&u32) -> String| services.iter().map(name).collect::<Vec<_>>();
        let mut missing = 0;
        for (type_url, names) in [
            (type_url::LISTENER, of(&listener)),
            (type_url::CLUSTER, of(&cluster)),
            (type_url::ENDPOINT, of(&cluster)),
            (type_url::ROUTE, of(&cluster)),
        ] {
            missing += names.len();
            let request = DeltaDiscoveryRequest {
                type_url: type_url.to_owned(),
                resource_names_subscribe: names,
                ..DeltaDiscoveryRequest::default()
            };
            self.requests.send(request).await?;
        }
        while missing > 0 {
            let response = self.next().await?;
            anyhow::ensure!(
                response.removed_resources.is_empty(),
                "the control plane does not know {:?}",
                response.removed_resources
            );
            missing = missing.saturating_sub(response.resources.len());
        }
        Ok(())
    }

    /// Answers to everything, and tells of what is about endpoints.
    async fn follow(mut self, acks: mpsc::Sender<Ack>, responses: &AtomicU64) -> Result<()> {
        loop {
            let response = self.next().await?;
            responses.fetch_add(1, Ordering::Relaxed);
            if response.type_url == type_url::ENDPOINT {
                acks.send(Ack { at: Instant::now() }).await?;
            }
        }
    }

    /// The next response, acknowledged.
    async fn next(&mut self) -> Result<DeltaDiscoveryResponse> {
        let response = self
            .responses
            .message()
            .await?
            .context("the stream ended")?;
        let ack = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(ack).await?;
        Ok(response)
    }
}
