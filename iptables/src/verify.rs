//! Proves that packets are redirected, by a connection that only the rules can bring about.

mod outbound;

use std::{
    fmt,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, SockRef, Socket, Type};
use weir_api::{CaptureSpec, ports};

use crate::family::Family;

pub use outbound::probe_destination;

/// Everything happens on this machine, so a second is long; the rest is for a machine that is
/// short of CPU, as nodes are while pods start.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Which redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the inbound port.
    Inbound,
    /// To the outbound port.
    Outbound,
}

/// What was seen of a redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// The connection arrived at the port, and its original destination was read.
    Redirected,
    /// The port belongs to another process, probably the sidecar; a connection to where nobody
    /// listens was accepted, so it was redirected.
    Accepted,
    /// Not tried, for this reason.
    NotTried(&'static str),
}

/// A redirect that does not work.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The port could not be listened on.
    #[error("cannot listen on {address} to prove the {direction} redirect")]
    Listen {
        /// Which redirect.
        direction: Direction,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The connection went elsewhere.
    #[error(
        "a connection to {destination} did not arrive at {listener}: the {direction} redirect \
         does not work"
    )]
    NotRedirected {
        /// Which redirect.
        direction: Direction,
        /// Where the connection went.
        destination: SocketAddr,
        /// Where it should have arrived.
        listener: SocketAddr,
        /// What became of it instead.
        source: io::Error,
    },
    /// It arrived, but nobody can tell where it was going.
    #[error(
        "a connection to {destination} arrived at {listener}, but its original destination \
         reads {found}"
    )]
    OriginalDestination {
        /// Where the connection went.
        destination: SocketAddr,
        /// Where it arrived.
        listener: SocketAddr,
        /// What was read.
        found: String,
    },
}

/// Proves the inbound redirect: `127.0.0.1` (or `::1`) dials a port of `127.0.0.6` (or `::6`)
/// where nobody listens, and must arrive at the inbound port.
pub fn prove_inbound(spec: &CaptureSpec, family: Family) -> Result<Proof, ProofError> {
    prove(&Probe {
        direction: Direction::Inbound,
        source: Some(family.loopback()),
        destination: SocketAddr::new(family.inbound_passthrough(), ports::REDIRECT_PROBE),
        listener: SocketAddr::new(family.loopback(), spec.inbound_port),
    })
}

/// Proves the outbound redirect, if a connection of this process's user would be captured and
/// there is a route for it. Should the rules not work, one packet leaves for the destination
/// (see [`probe_destination`]).
pub fn prove_outbound(spec: &CaptureSpec, family: Family) -> Result<Proof, ProofError> {
    let destination = match outbound::destination_here(spec, family) {
        Ok(destination) => destination,
        Err(reason) => return Ok(Proof::NotTried(reason)),
    };
    prove(&Probe {
        direction: Direction::Outbound,
        source: None,
        destination,
        listener: SocketAddr::new(family.loopback(), spec.outbound_port),
    })
}

struct Probe {
    direction: Direction,
    source: Option<IpAddr>,
    destination: SocketAddr,
    listener: SocketAddr,
}

fn prove(probe: &Probe) -> Result<Proof, ProofError> {
    let &Probe {
        direction,
        destination,
        listener: address,
        ..
    } = probe;
    let not_redirected = |source| ProofError::NotRedirected {
        direction,
        destination,
        listener: address,
        source,
    };
    let listener = match TcpListener::bind(address) {
        Ok(listener) => listener,
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            return match direction {
                Direction::Inbound => match probe.dial() {
                    Ok(_) => Ok(Proof::Accepted),
                    // Accepted, and then reset by a sidecar that finds nobody at that port. Had
                    // nobody accepted it, it would have been refused.
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(Proof::Accepted),
                    Err(error) => Err(not_redirected(error)),
                },
                Direction::Outbound => Ok(Proof::NotTried("the sidecar has the port already")),
            };
        }
        Err(source) => {
            return Err(ProofError::Listen {
                direction,
                address,
                source,
            });
        }
    };
    let dialled = probe.dial().map_err(not_redirected)?;
    // Ends with a reset: waiting out the connection would hold the port the sidecar is to have.
    dialled
        .set_linger(Some(Duration::ZERO))
        .map_err(not_redirected)?;
    match accept_for(&listener, destination).map_err(not_redirected)? {
        Arrival::Expected => Ok(Proof::Redirected),
        Arrival::Other(found) => Err(ProofError::OriginalDestination {
            destination,
            listener: address,
            found,
        }),
    }
}

/// What arrived at a port.
enum Arrival {
    /// A connection that was going to the destination.
    Expected,
    /// Only others; this is what the last one's original destination reads.
    Other(String),
}

/// Takes connections until one comes that was going to `destination`; others may come in while a
/// pod starts anew. The source does not tell, for translation may change its port.
fn accept_for(listener: &TcpListener, destination: SocketAddr) -> io::Result<Arrival> {
    let deadline = Instant::now() + TIMEOUT;
    let mut other = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let nobody = || io::Error::new(ErrorKind::TimedOut, "accepted by somebody else");
            return other.map(Arrival::Other).ok_or_else(nobody);
        }
        // A receive timeout bounds accept(2) too: socket(7).
        SockRef::from(listener).set_read_timeout(Some(left))?;
        let accepted = match listener.accept() {
            Ok((accepted, _)) => accepted,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        SockRef::from(&accepted).set_linger(Some(Duration::ZERO))?;
        match original_destination(&accepted) {
            Ok(original) if original == Some(destination) => return Ok(Arrival::Expected),
            Ok(Some(original)) => other = Some(original.to_string()),
            Ok(None) => other = Some("no address".to_owned()),
            Err(error) => other = Some(format!("nothing ({error})")),
        }
    }
}

/// Where a connection was going before it was redirected here: `SO_ORIGINAL_DST`.
fn original_destination(accepted: &TcpStream) -> io::Result<Option<SocketAddr>> {
    let socket = SockRef::from(accepted);
    let original = match Family::of(accepted.local_addr()?.ip()) {
        Family::V4 => socket.original_dst_v4()?,
        Family::V6 => socket.original_dst_v6()?,
    };
    Ok(original.as_socket())
}

// === impl Probe ===

impl Probe {
    fn dial(&self) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(self.destination), Type::STREAM, None)?;
        if let Some(source) = self.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect_timeout(&self.destination.into(), TIMEOUT)?;
        Ok(socket)
    }
}

// === impl Direction ===

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        })
    }
}

// === impl Proof ===

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redirected => f.write_str("proven"),
            Self::Accepted => f.write_str("proven (accepted by whoever has the port)"),
            Self::NotTried(reason) => write!(f, "not tried: {reason}"),
        }
    }
}
