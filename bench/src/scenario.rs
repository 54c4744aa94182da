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
    pub(crate) load: Load,
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
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "http1-64",
        title: "HTTP/1.1, 64 connections",
        unit: "request",
        goal: Some(0.45),
        load: Load::Http1 {
            connections: 64,
            path: "/",
            keep: Keep::Alive,
        },
    },
    Scenario {
        name: "http1-1",
        title: "HTTP/1.1, 1 connection",
        unit: "request",
        goal: Some(0.45),
        load: Load::Http1 {
            connections: 1,
            path: "/",
            keep: Keep::Alive,
        },
    },
    Scenario {
        name: "http1-close",
        title: "HTTP/1.1, Connection: close",
        unit: "request",
        goal: Some(0.50),
        load: Load::Http1 {
            connections: 16,
            path: "/",
            keep: Keep::Close,
        },
    },
    Scenario {
        name: "http1-1mib",
        title: "HTTP/1.1, 1 MiB bodies, 4 connections",
        unit: "request",
        goal: None,
        load: Load::Http1 {
            connections: 4,
            path: "/1mib",
            keep: Keep::Alive,
        },
    },
    Scenario {
        name: "h2c",
        title: "HTTP/2, 8 connections x 32 streams",
        unit: "request",
        goal: Some(0.70),
        load: Load::Http2 {
            connections: 8,
            streams: 32,
            path: "/",
            grpc: false,
        },
    },
    Scenario {
        name: "grpc",
        title: "gRPC unary, 8 connections x 8 calls",
        unit: "call",
        goal: None,
        load: Load::Http2 {
            connections: 8,
            streams: 8,
            path: "/grpc",
            grpc: true,
        },
    },
];

// === impl Scenario ===

impl Scenario {
    pub(crate) fn protocol(&self) -> Protocol {
        match self.load {
            Load::Http1 { .. } => Protocol::Http1,
            Load::Http2 { .. } => Protocol::Http2,
        }
    }
}

// === impl Protocol ===

impl Protocol {
    /// Port of the server that is captured.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Http1 => 8000,
            Self::Http2 => 8001,
        }
    }

    /// Port of the same server that is not.
    pub(crate) fn direct_port(self) -> u16 {
        self.port() + 2000
    }
}
