//! Accepting and answering.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, sync::Semaphore};

use super::{Admin, Face, routes};

/// Connections at a time to one address. Scrapers and people need a handful.
const MAX_CONNECTIONS: usize = 64;
/// A client that sends no request within this is closed, so that it does not hold a connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after an accept that failed for want of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const BACKLOG: i32 = 128;

/// Binds an address of the admin interface.
pub(crate) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves one address until it is dropped.
pub(crate) async fn serve(admin: Arc<Admin>, face: Face, listener: Arc<TcpListener>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, %face, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let admin = Arc::clone(&admin);
        let boundary = admin.boundary().clone();
        tokio::spawn(boundary.contain(async move {
            let local = stream.local_addr().ok();
            let service = service_fn(|request: Request<Incoming>| {
                let (head, _body) = request.into_parts();
                let reply = routes::answer(&admin, face, local, &head);
                async move { Ok::<_, Infallible>(reply.into_response()) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, %face, "connection ended");
            }
            drop(slot);
        }));
    }
}
