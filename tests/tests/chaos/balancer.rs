//! One address for all replicas, as a Service has it: each connection goes to the next one that is
//! alive.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

#[derive(Default)]
struct State {
    targets: Vec<SocketAddr>,
    next: usize,
    connections: JoinSet<()>,
}

pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

// === impl Balancer ===

impl Balancer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let state = Arc::new(Mutex::<State>::default());
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((inner, _)) = listener.accept().await {
                let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
                state.next += 1;
                // With none alive the connection is closed, as a node does it.
                let target = state
                    .targets
                    .get(state.next % state.targets.len().max(1))
                    .copied();
                if let Some(target) = target {
                    state.connections.spawn(relay(inner, target));
                }
            }
        });
        Self { address, state }
    }

    /// New connections go to these. Old ones stay where they are.
    pub(crate) fn point(&self, targets: Vec<SocketAddr>) {
        self.lock().targets = targets;
    }

    /// Cuts every connection in the middle of whatever it carries.
    pub(crate) fn cut(&self) {
        self.lock().connections = JoinSet::new();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn relay(mut inner: TcpStream, target: SocketAddr) {
    if let Ok(mut outer) = TcpStream::connect(target).await {
        // Either end may go at any time.
        let _ = tokio::io::copy_bidirectional(&mut inner, &mut outer).await;
    }
}
