//! What a port speaks, as far as anybody said so: the control plane and the sidecar read it from the
//! same names.

use std::fmt;

/// What a service port speaks. `Auto` means nobody said: the proxy finds out from the first bytes
/// of whichever side speaks first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.x, or h2c where the client chooses it.
    Http,
    /// HTTP/2 without TLS: gRPC, h2c.
    Http2,
    /// TLS from the first byte; carried as it is.
    Tls,
    /// Anything else; carried as it is.
    Tcp,
    /// Not said.
    Auto,
}

/// Where a [`Protocol`] was learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HintSource {
    /// The port's `appProtocol`.
    AppProtocol,
    /// The prefix of the port's name.
    PortName,
    /// The table of well-known ports on which the server speaks first.
    WellKnownPort,
    /// Nowhere.
    None,
}

/// A protocol and where it was learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hint {
    /// The protocol.
    pub protocol: Protocol,
    /// Where it was learned.
    pub source: HintSource,
}

/// Ports whose protocols let the server speak first: FTP, SMTP, POP3, IMAP, mail submission, MySQL.
/// Knowing them saves the proxy nothing but the race; what is not listed is detected all the same.
const SERVER_FIRST_PORTS: [u16; 6] = [21, 25, 110, 143, 587, 3306];

// === impl Hint ===

impl Hint {
    /// The hint for a port: its `appProtocol`, else the prefix of its name, else the table of
    /// well-known server-first ports.
    #[must_use]
    pub fn of(app_protocol: Option<&str>, port_name: Option<&str>, port: u16) -> Self {
        let named = |protocol, source| Some(Self { protocol, source });
        app_protocol
            .and_then(Protocol::from_app_protocol)
            .and_then(|protocol| named(protocol, HintSource::AppProtocol))
            .or_else(|| named(Protocol::from_port_name(port_name?)?, HintSource::PortName))
            .or_else(|| {
                let known = SERVER_FIRST_PORTS.contains(&port);
                known.then_some(Self {
                    protocol: Protocol::Tcp,
                    source: HintSource::WellKnownPort,
                })
            })
            .unwrap_or(Self {
                protocol: Protocol::Auto,
                source: HintSource::None,
            })
    }
}

// === impl Protocol ===

impl Protocol {
    fn from_app_protocol(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "kubernetes.io/h2c" => Some(Self::Http2),
            "kubernetes.io/ws" => Some(Self::Http),
            "kubernetes.io/wss" => Some(Self::Tls),
            word => Self::from_word(word),
        }
    }

    fn from_port_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        if name == "grpc-web" || name.starts_with("grpc-web-") {
            return Some(Self::Http);
        }
        Self::from_word(name.split('-').next().unwrap_or_default())
    }

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "http" | "ws" | "grpc-web" => Some(Self::Http),
            "http2" | "h2c" | "grpc" => Some(Self::Http2),
            "https" | "tls" | "wss" => Some(Self::Tls),
            "tcp" | "mongo" | "mysql" | "redis" | "postgres" | "postgresql" | "amqp" | "kafka" => {
                Some(Self::Tcp)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Http2 => "http2",
            Self::Tls => "tls",
            Self::Tcp => "tcp",
            Self::Auto => "auto",
        })
    }
}

impl fmt::Display for HintSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AppProtocol => "app-protocol",
            Self::PortName => "port-name",
            Self::WellKnownPort => "well-known-port",
            Self::None => "none",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_protocol_wins_over_port_name_and_that_over_the_well_known_port() {
        use {HintSource as Source, Protocol as P};
        for (app_protocol, name, port, protocol, source) in [
            (
                Some("kubernetes.io/h2c"),
                Some("tcp"),
                3306,
                P::Http2,
                Source::AppProtocol,
            ),
            (
                Some("kubernetes.io/wss"),
                None,
                80,
                P::Tls,
                Source::AppProtocol,
            ),
            (
                Some("https"),
                Some("http"),
                443,
                P::Tls,
                Source::AppProtocol,
            ),
            (
                Some("example.com/mine"),
                Some("http-api"),
                80,
                P::Http,
                Source::PortName,
            ),
            (None, Some("GRPC"), 80, P::Http2, Source::PortName),
            (None, Some("grpc-web"), 80, P::Http, Source::PortName),
            (None, Some("grpc-web-x"), 80, P::Http, Source::PortName),
            (None, Some("mysql"), 80, P::Tcp, Source::PortName),
            (None, Some("web"), 3306, P::Tcp, Source::WellKnownPort),
            (None, Some("web"), 8080, P::Auto, Source::None),
            (None, Some("httpx"), 8080, P::Auto, Source::None),
            (None, None, 5432, P::Auto, Source::None),
        ] {
            let hint = Hint::of(app_protocol, name, port);
            assert_eq!(
                hint,
                Hint { protocol, source },
                "{app_protocol:?} {name:?} {port}"
            );
        }
    }
}
