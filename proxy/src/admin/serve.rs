//! Accepting and answering.

use std::{convert::Infallible, future, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, service::service_fn};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use weir_guard::Slot;

use super::{Admin, Face, body::takes_gzip, routes};

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
    let Some(guard) = admin.guards().of(face) else {
        return;
    };
    let handle = |stream, _, slot| {
        let contained = connection(Arc::clone(&admin), face, stream, slot);
        let contained = admin.boundary().contain(contained);
        async move {
            let _ = contained.await;
        }
    };
    let (never, at_once) = (future::pending(), Duration::ZERO);
    weir_guard::serve(listener, guard, never, at_once, handle).await;
}

async fn connection(admin: Arc<Admin>, face: Face, stream: TcpStream, slot: Arc<Slot>) {
    let local = stream.local_addr().ok();
    let service = service_fn(move |request: Request<Incoming>| {
        let (head, _body) = request.into_parts();
        let reply = routes::answer(&admin, face, local, &head);
        let response = reply.into_response(takes_gzip(&head.headers));
        future::ready(Ok::<_, Infallible>(response))
    });
    weir_guard::http1(stream, slot, service, future::pending()).await;
}
