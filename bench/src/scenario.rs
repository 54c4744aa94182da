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
    /// No load: exec, until it listens and says that it is ready.
    Start,
}

/// What becomes of an HTTP/1.1 connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Alive,
    Close,
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
            Load::TcpBulk | Load::TcpConnect => Protocol::Tcp,
        }
    }

    /// Port of the server that is captured.
    pub(crate) fn port(&self) -> u16 {
        self.protocol().port(self.sidecars)
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
        match sidecars {
            Sidecars::Client => port,
            Sidecars::Both => port + 10,
        }
    }

    /// Port of the same server that is not.
    pub(crate) fn direct_port(self) -> u16 {
        self.port(Sidecars::Client) + 2000
    }

    /// All ports of the same server.
    pub(crate) fn ports(self) -> [u16; 3] {
        let captured = [Sidecars::Client, Sidecars::Both].map(|sidecars| self.port(sidecars));
        [captured[0], captured[1], self.direct_port()]
    }
}
