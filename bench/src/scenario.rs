//! What is measured.

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// As the command line takes it.
    pub(crate) name: &'static str,
    /// What is done, for people.
    pub(crate) title: &'static str,
    /// What CPU time is divided by.
    pub(crate) unit: &'static str,
    /// Weir's CPU time per unit is to be at most this part of Envoy's.
    pub(crate) goal: Option<f64>,
    pub(crate) sidecars: Sidecars,
    pub(crate) load: Load,
}

/// Whose sidecars are in the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sidecars {
    /// The client's.
    Client,
    /// The client's and the server's, both of one kind. CPU time is the sum.
    Both,
    /// Both, which speak mutual TLS with each other.
    MutualTls(Sessions),
}

/// What a new connection between sidecars has of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sessions {
    /// A session that can be resumed.
    Kept,
    /// Nothing: each handshake is a full one.
    Forgotten,
}

/// The load a scenario puts on a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// wrk, as fast as it goes.
    Http1 {
        connections: u32,
        path: &'static str,
        keep: Keep,
    },
    /// h2load, as fast as it goes.
    Http2 {
        connections: u32,
        streams: u32,
        path: &'static str,
        grpc: bool,
    },
    /// One connection over which the server sends as fast as it can.
    TcpBulk,
    /// Connections one after another.
    TcpConnect,
    /// HTTP/1.1 requests at this many a second, as many as a proxy can easily do.
    OpenLoop { rate: u32 },
    /// HTTP/1.1 connections, each used once and left open.
    Idle,
    /// The same without HTTP: each is a connection between the sidecars, too.
    TcpIdle,
    /// No load: exec, until it listens and says that it is ready.
    Start,
}

/// What becomes of an HTTP/1.1 connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Alive,
    Close,
}

/// The cryptography of a unit, of both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Floor {
    /// Of a connection.
    FullHandshake,
    /// Of a connection, too.
    ResumedHandshake,
    /// Of a MiB.
    Bytes,
}

/// What a proxy is to treat the traffic of a scenario as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
    Tcp,
}

// === impl Scenario ===

impl Scenario {
    pub(crate) fn protocol(&self) -> Protocol {
        match self.load {
            Load::Http1 { .. } | Load::OpenLoop { .. } | Load::Idle | Load::Start => {
                Protocol::Http1
            }
            Load::Http2 { .. } => Protocol::Http2,
            Load::TcpBulk | Load::TcpConnect | Load::TcpIdle => Protocol::Tcp,
        }
    }

    /// How the sidecars' handshakes are to begin, where there are any.
    pub(crate) fn sessions(&self) -> Option<Sessions> {
        match self.sidecars {
            Sidecars::MutualTls(sessions) => Some(sessions),
            Sidecars::Client | Sidecars::Both => None,
        }
    }

    /// The cryptography that no proxy can do without.
    pub(crate) fn floor(&self) -> Option<Floor> {
        match (self.load, self.sessions()?) {
            (Load::TcpConnect, Sessions::Forgotten) => Some(Floor::FullHandshake),
            (Load::TcpConnect, Sessions::Kept) => Some(Floor::ResumedHandshake),
            (Load::TcpBulk, _) => Some(Floor::Bytes),
            _ => None,
        }
    }

    /// Port of the server that is captured.
    pub(crate) fn port(&self) -> u16 {
        self.protocol().port(self.sidecars)
    }
}

// === impl Sidecars ===

impl Sidecars {
    pub(crate) const ALL: [Self; 4] = [
        Self::Client,
        Self::Both,
        Self::MutualTls(Sessions::Kept),
        Self::MutualTls(Sessions::Forgotten),
    ];

    /// Whether the server has one, too.
    pub(crate) fn are_both(self) -> bool {
        self != Self::Client
    }
}

// === impl Load ===

impl Load {
    /// Whether what it is about are connections that nothing passes over.
    pub(crate) fn is_idle(self) -> bool {
        matches!(self, Self::Idle | Self::TcpIdle)
    }
}

// === impl Protocol ===

impl Protocol {
    pub(crate) const ALL: [Self; 3] = [Self::Http1, Self::Http2, Self::Tcp];

    /// Port of the server that is captured by these sidecars.
    pub(crate) fn port(self, sidecars: Sidecars) -> u16 {
        let port = match self {
            Self::Http1 => 8000,
            Self::Http2 => 8001,
            Self::Tcp => 8002,
        };
        port + match sidecars {
            Sidecars::Client => 0,
            Sidecars::Both => 10,
            Sidecars::MutualTls(Sessions::Kept) => 20,
            Sidecars::MutualTls(Sessions::Forgotten) => 30,
        }
    }

    /// Port of the same server that is not.
    pub(crate) fn direct_port(self) -> u16 {
        self.port(Sidecars::Client) + 2000
    }

    /// All ports of the same server.
    pub(crate) fn ports(self) -> impl Iterator<Item = u16> {
        let captured = Sidecars::ALL.map(|sidecars| self.port(sidecars));
        captured.into_iter().chain([self.direct_port()])
    }
}
