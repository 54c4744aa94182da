//! Binding of listening sockets.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Listener;

/// A listener and its sockets, one a worker, all on one address by `SO_REUSEPORT`.
#[derive(Debug)]
pub struct BoundListener {
    /// Its configuration.
    pub listener: Arc<Listener>,
    /// One a worker, in the order of the workers. Shared with the next version of the listener if
    /// the address stays.
    pub sockets: Arc<Vec<TcpListener>>,
}

/// A listener whose address cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process (or listener) has it.
    #[error("listener {listener:?}: {address} is in use; stop the process that listens there \
             (`ss -ltnp 'sport = :{}'` names it) or change the address", address.port())]
    InUse {
        /// Name of the listener.
        listener: String,
        /// Its address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("listener {listener:?}: cannot listen on {address}")]
    Io {
        /// Name of the listener.
        listener: String,
        /// Its address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Binds `listener` once for each of `workers` workers. Port 0 becomes one free port for all.
///
/// `SO_REUSEPORT` would silently share an address with another process of the same user, so the
/// first socket is tried without it.
pub(crate) fn bind(
    listener: &Arc<Listener>,
    workers: NonZeroUsize,
) -> Result<BoundListener, BindError> {
    let mut sockets = Vec::with_capacity(workers.get());
    let bind_all = |sockets: &mut Vec<TcpListener>| -> io::Result<()> {
        let mut address = listener.address;
        drop(open(address, Sharing::Exclusive)?);
        for _ in 0..workers.get() {
            let socket = open(address, Sharing::Workers)?;
            socket.listen(i32::try_from(listener.backlog).unwrap_or(i32::MAX))?;
            let socket = TcpListener::from(socket);
            address = socket.local_addr()?;
            sockets.push(socket);
        }
        Ok(())
    };
    bind_all(&mut sockets).map_err(|source| {
        let (listener, address) = (listener.name.clone(), listener.address);
        match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { listener, address },
            _ => BindError::Io {
                listener,
                address,
                source,
            },
        }
    })?;
    Ok(BoundListener {
        listener: Arc::clone(listener),
        sockets: Arc::new(sockets),
    })
}

// === impl BoundListener ===

impl BoundListener {
    /// Address it really has; differs from the configured one if that has port 0.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        let socket = self.sockets.first();
        socket
            .and_then(|socket| socket.local_addr().ok())
            .unwrap_or(self.listener.address)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Exclusive,
    Workers,
}

fn open(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::Workers)?;
    if address.is_ipv6() {
        // As Envoy: `::` means IPv6 alone unless `ipv4_compat` is set.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpStream, time::Duration};

    use weir_api::xds::json;

    use super::*;
    use crate::convert;

    #[test]
    fn the_backlog_bounds_connections_that_nobody_accepts() {
        let tcp = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
        let text = format!(
            "static_resources: {{ listeners: [ {{ name: a, tcp_backlog_size: 1, \
             address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}, \
             filter_chains: [ {{ filters: [ {{ name: tcp, typed_config: \
             {{ '@type': {tcp}, stat_prefix: a, cluster: a }} }} ] }} ] }} ] }}"
        );
        let message = json::read_bootstrap(&text).expect("a bootstrap");
        let config = convert::bootstrap(message).expect("a bootstrap");
        let bound = bind(&config.listeners[0], NonZeroUsize::MIN).expect("a port");
        let address = bound.sockets[0].local_addr().expect("an address");
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300));
        // The kernel takes one more than it is told.
        let waiting = [connect(), connect()];
        assert!(waiting.iter().all(Result::is_ok));
        assert!(connect().is_err());
    }
}
