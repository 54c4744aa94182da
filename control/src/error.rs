//! Why the control plane does not run.

use std::{io, net::SocketAddr};

/// Why the control plane does not run, or ran no longer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A flag, or what it names, is wrong: nothing was started.
    #[error("{0}")]
    Config(String),
    /// A socket cannot be had.
    #[error("{flag} {address}: {source}{}", hint(source))]
    Bind {
        /// The flag that asked for it.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The system refused something else.
    #[error("{what}: {source}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there: stop it or choose another",
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        _ => "",
    }
}
