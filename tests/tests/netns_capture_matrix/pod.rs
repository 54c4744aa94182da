//! A captured pod and another machine, joined by a link; listeners on both; connections made by
//! any user.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{Gid, Uid, setfsgid, setfsuid},
};
use socket2::{Domain, SockRef, Socket, Type};
use weir_api::CaptureSpec;
use weir_iptables::{Backend, Family, Options};
use weir_tests::netns::NetNs;

use crate::{Address, Caller, End};

/// On one machine nothing takes long; this bounds a test that fails.
const PATIENCE: Duration = Duration::from_secs(5);

/// A pod under capture, and the machine at the other end of its link.
pub(crate) struct Net {
    pod: NetNs,
    peer: NetNs,
}

/// Listeners in both, of one family.
pub(crate) struct World<'a> {
    net: &'a Net,
    listeners: Vec<TcpListener>,
}

// === impl Net ===

impl Net {
    pub(crate) fn new(backend: Backend) -> Result<Self> {
        let (pod, peer) = (NetNs::new()?, NetNs::new()?);
        pod.link(
            "eth0",
            &["10.1.0.2/24", "fd01::2/64"],
            &peer,
            &["10.1.0.1/24", "fd01::1/64"],
        )?;
        pod.ip(&["route", "add", "default", "via", "10.1.0.1"])?;
        pod.ip(&["-6", "route", "add", "default", "via", "fd01::1"])?;
        for external in ["198.51.100.7/32", "3fff::7/128"] {
            peer.ip(&["addr", "add", external, "dev", "lo"])?;
        }
        let options = Options {
            backends: vec![backend],
            ..Options::default()
        };
        let report = pod.run(|| weir_iptables::apply(&CaptureSpec::default(), &options))?;
        let proven = report.to_string().matches("redirect proven").count();
        ensure!(proven == 4, "not proven each way in each family: {report}");
        Ok(Self { pod, peer })
    }

    /// None where the family has no such address.
    pub(crate) fn address(&self, address: Address, family: Family) -> Option<IpAddr> {
        let [v4, v6] = match address {
            Address::External => ["198.51.100.7", "3fff::7"],
            Address::ServiceIp => ["10.96.0.10", "fd96::10"],
            Address::Localhost => ["127.0.0.1", "::1"],
            Address::OtherLoopback => ["127.0.0.2", ""],
            Address::PodIp => ["10.1.0.2", "fd01::2"],
            Address::InboundPassthrough => ["127.0.0.6", "::6"],
        };
        match family {
            Family::V4 => v4.parse().ok(),
            Family::V6 => v6.parse().ok(),
        }
    }

    /// Sends there and back; both ends must see each other's true address.
    pub(crate) fn exchange_datagrams(
        &self,
        from: Caller,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Result<()> {
        let there = match from {
            Caller::Peer => &self.pod,
            _ => &self.peer,
        };
        let server = there.run(|| UdpSocket::bind(destination))?;
        let client = self.become_and(from, || UdpSocket::bind(source))?;
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(PATIENCE))?;
        }
        let mut buffer = [0; 8];
        for (sender, to, receiver) in [(&client, destination, &server), (&server, source, &client)]
        {
            sender.send_to(b"datagram", to)?;
            let (_, seen) = receiver.recv_from(&mut buffer)?;
            ensure!(seen == sender.local_addr()?, "{to} saw {seen}");
        }
        Ok(())
    }

    /// Runs `body` where `from` is and as the user it is. The kernel marks a socket with the file
    /// system ids of the thread that makes it, and only threads have those.
    fn become_and<T: Send>(&self, from: Caller, body: impl FnOnce() -> T + Send) -> T {
        let (namespace, user, group) = match from {
            Caller::Application => (&self.pod, 1000, 1000),
            Caller::AppWithProxyGroup => (&self.pod, 1000, 1337),
            Caller::Proxy | Caller::ProxyOwnAddress(_) => (&self.pod, 1337, 1337),
            Caller::ProxyOtherGroup => (&self.pod, 1337, 1000),
            Caller::Peer => (&self.peer, 0, 0),
        };
        namespace.run(|| {
            setfsgid(Gid::from_raw(group));
            setfsuid(Uid::from_raw(user));
            body()
        })
    }
}

// === impl World ===

impl<'a> World<'a> {
    pub(crate) fn new(net: &'a Net, family: Family) -> Result<Self> {
        let any: IpAddr = match family {
            Family::V4 => [0; 4].into(),
            Family::V6 => [0; 16].into(),
        };
        let listen = |ports: &[u16]| -> Result<Vec<TcpListener>> {
            let listeners = ports.iter().map(|port| {
                let listener = TcpListener::bind((any, *port))?;
                listener.set_nonblocking(true)?;
                Ok(listener)
            });
            listeners.collect()
        };
        let in_pod = [8080, 9999, 15001, 15006, 15008, 15020, 15021, 15090];
        let mut listeners = net.pod.run(|| listen(&in_pod))?;
        listeners.extend(net.peer.run(|| listen(&[80, 15008]))?);
        Ok(Self { net, listeners })
    }

    /// Connects, and says where the connection ended.
    pub(crate) fn connect(&self, from: Caller, destination: SocketAddr) -> Result<End> {
        let family = Family::of(destination.ip());
        let source = match from {
            Caller::ProxyOwnAddress(address) => self.net.address(address, family),
            _ => None,
        };
        let dialled = self.net.become_and(from, || -> Result<Socket> {
            let socket = Socket::new(Domain::for_address(destination), Type::STREAM, None)?;
            if let Some(source) = source {
                socket.bind(&SocketAddr::new(source, 0).into())?;
            }
            socket.connect_timeout(&destination.into(), PATIENCE)?;
            Ok(socket)
        });
        let mut dialled = TcpStream::from(dialled.context("connect")?);
        // Known by what it says: translation may give it another source port.
        let token = dialled.local_addr()?.to_string();
        dialled.write_all(token.as_bytes())?;
        dialled.shutdown(Shutdown::Write)?;
        let accepted = self.accept(&token)?;
        let arrived = accepted.local_addr()?;
        let socket = SockRef::from(&accepted);
        let original = match family {
            Family::V4 => socket.original_dst_v4(),
            Family::V6 => socket.original_dst_v6(),
        };
        // Without translation there is nothing to read, or it is the address itself.
        let original = original
            .ok()
            .and_then(|address| address.as_socket())
            .unwrap_or(arrived);
        ensure!(
            original == destination,
            "arrived at {arrived}, original destination {original}"
        );
        match arrived.port() {
            15001 => Ok(End::Outbound),
            15006 => Ok(End::Inbound),
            _ if arrived == destination => Ok(End::Direct),
            _ => bail!("arrived at {arrived}"),
        }
    }

    /// The connection on which `token` is said, wherever it arrived.
    fn accept(&self, token: &str) -> Result<TcpStream> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let sockets = self.listeners.iter();
            let mut polled: Vec<_> = sockets
                .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
                .collect();
            poll(&mut polled, PollTimeout::try_from(PATIENCE)?)?;
            for listener in &self.listeners {
                let mut accepted = match listener.accept() {
                    Ok((accepted, _)) => accepted,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error.into()),
                };
                let mut said = String::new();
                accepted.set_read_timeout(Some(PATIENCE))?;
                accepted.read_to_string(&mut said)?;
                ensure!(said == token, "accepted {said} instead of {token}");
                return Ok(accepted);
            }
        }
        bail!("accepted by nobody")
    }
}
