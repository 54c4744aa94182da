//! The listeners a worker accepts on.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::{self, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, task::AbortHandle};

use super::{Worker, failures::Failures};
use crate::{
    config::listener::TrafficDirection,
    listener::{ActiveListener, serve},
    net::address::RemoteAddr,
    overload::{Place, Refusal},
    random,
    snapshot::Snapshot,
};

/// Pause after an accept that failed for want of descriptors or memory; the connection waits in
/// the backlog meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Pause before it is looked again whether there is memory for connections.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(20);

/// The listeners a worker accepts on.
#[derive(Default)]
pub(super) struct Listeners(RefCell<HashMap<String, Accepting>>);

/// A listener being accepted on. Dropping it stops that; its connections go on.
struct Accepting {
    /// Replaced as a whole when the configuration changes.
    listener: Rc<RefCell<Rc<ActiveListener>>>,
    sockets: Arc<Vec<net::TcpListener>>,
    task: AbortHandle,
}

// === impl Listeners ===

impl Listeners {
    /// Starts what is new in `snapshot`, and stops accepting on what is gone.
    pub(super) fn apply(&self, worker: &Rc<Worker>, snapshot: &Snapshot) {
        let mut accepting = self.0.borrow_mut();
        accepting.retain(|name, old| {
            let stays = snapshot.listeners.get(name);
            let stays = stays.is_some_and(|bound| Arc::ptr_eq(&bound.sockets, &old.sockets));
            if !stays {
                old.listener.borrow().drain();
            }
            stays
        });
        // As Envoy: nothing is accepted before it is known where it goes.
        let listeners = snapshot.listeners.iter().filter(|_| !snapshot.awaits_names);
        for (name, bound) in listeners {
            if let Some(known) = accepting.get(name) {
                let mut listener = known.listener.borrow_mut();
                if !Arc::ptr_eq(&listener.config, &bound.listener) {
                    let context = &worker.handler.context;
                    *listener = Rc::new(ActiveListener::new(
                        &bound.listener,
                        context,
                        Some(&listener),
                    ));
                }
                continue;
            }
            let listener = ActiveListener::new(&bound.listener, &worker.handler.context, None);
            let listener = Rc::new(RefCell::new(Rc::new(listener)));
            match socket(&bound.sockets, worker.index) {
                Ok(socket) => {
                    let accepting_on = (Rc::clone(worker), Rc::clone(&listener));
                    let socket = Rc::new(socket);
                    let task = worker.shared.boundary.clone().keep(move || {
                        let (worker, listener) = accepting_on.clone();
                        accept(worker, listener, Rc::clone(&socket))
                    });
                    let task = tokio::task::spawn_local(task).abort_handle();
                    let sockets = Arc::clone(&bound.sockets);
                    accepting.insert(
                        name.clone(),
                        Accepting {
                            listener,
                            sockets,
                            task,
                        },
                    );
                }
                Err(error) => tracing::error!(
                    listener = name, %error, worker = worker.index,
                    "cannot accept on this worker; raise the limit of open files",
                ),
            }
        }
    }

    /// Tells clients of all listeners, or of inbound ones, to go elsewhere.
    pub(super) fn drain(&self, inbound_only: bool) {
        for accepting in self.0.borrow().values() {
            let listener = accepting.listener.borrow();
            if !inbound_only || listener.config.direction == TrafficDirection::Inbound {
                listener.drain();
            }
        }
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn socket(sockets: &[net::TcpListener], worker: usize) -> io::Result<TcpListener> {
    let socket = sockets
        .get(worker)
        .ok_or_else(|| io::Error::other("no socket for this worker"))?;
    TcpListener::from_std(socket.try_clone()?)
}

async fn accept(
    worker: Rc<Worker>,
    listener: Rc<RefCell<Rc<ActiveListener>>>,
    socket: Rc<TcpListener>,
) {
    let boundary = worker.shared.boundary.clone();
    let (mut random, mut failures) = (random::seed(), Failures::default());
    loop {
        wait_while_overloaded(&worker, &listener, &mut random).await;
        match socket.accept().await {
            Ok((stream, remote)) => {
                let listener = Rc::clone(&listener.borrow());
                let Ok(place) = admit(&worker, &listener, remote, &mut random) else {
                    continue;
                };
                let connection = serve(
                    Rc::clone(&worker.handler),
                    listener,
                    stream,
                    RemoteAddr(remote),
                );
                match place {
                    None => tokio::task::spawn_local(boundary.contain(connection)),
                    Some(place) => tokio::task::spawn_local(boundary.contain(async move {
                        connection.await;
                        drop(place);
                    })),
                };
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                failures.note(&error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Ready once connections are accepted: not while there is no memory for any.
async fn wait_while_overloaded(
    worker: &Worker,
    listener: &RefCell<Rc<ActiveListener>>,
    random: &mut u64,
) {
    let Some(overload) = &worker.handler.context.overload else {
        return;
    };
    while overload.stops_accepting(random::next(random))
        && !listener.borrow().config.bypass_overload_manager
    {
        tokio::time::sleep(OVERLOAD_PAUSE).await;
    }
}

/// Takes in a connection, or counts that it is closed.
fn admit(
    worker: &Worker,
    listener: &ActiveListener,
    remote: SocketAddr,
    random: &mut u64,
) -> Result<Option<Place>, Refusal> {
    let Some(overload) = &worker.handler.context.overload else {
        return Ok(None);
    };
    let config = &listener.config;
    let admitted = overload.admit(random::next(random), remote.ip());
    match admitted {
        Ok(place) => Ok(Some(place).filter(|_| !config.ignore_global_conn_limit)),
        Err(Refusal::TooMany) if config.ignore_global_conn_limit => Ok(None),
        Err(Refusal::Rejected) if config.bypass_overload_manager => Ok(None),
        Err(refusal) => {
            match refusal {
                Refusal::TooMany => listener.stats.downstream_global_cx_overflow.inc(),
                Refusal::Rejected => listener.stats.downstream_cx_overload_reject.inc(),
            }
            Err(refusal)
        }
    }
}

/// Errors of a connection that was gone before it was accepted; see accept(2).
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}
