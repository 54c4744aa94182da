//! The addresses of a connection, each a type of its own, so that no two of them can be swapped.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// Where the peer wanted to go: the address before redirection, or the one that a PROXY protocol
/// header names. What Envoy calls the local address of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OriginalDst(pub SocketAddr);

/// Our end of the socket: where the peer's packets arrived.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalAddr(pub SocketAddr);

/// The peer: the other end of the socket, or the one that a PROXY protocol header names.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RemoteAddr(pub SocketAddr);

/// Where connections to endpoints leave from, in place of an address of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginalSource {
    /// The client's.
    pub ip: IpAddr,
    /// `SO_MARK`; 0: none.
    pub mark: u32,
}

macro_rules! addresses {
    ($($name:ident)+) => {$(
        impl $name {
            /// Its IP address.
            #[must_use]
            pub fn ip(self) -> IpAddr {
                self.0.ip()
            }

            /// Its port.
            #[must_use]
            pub fn port(self) -> u16 {
                self.0.port()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}
addresses! { OriginalDst LocalAddr RemoteAddr }
