//! [`CaptureSpec`]: which connections of a pod are captured. The injector derives it from a pod's
//! annotations and writes it as the arguments of the init container; the init container reads
//! it back from its flags and turns it into iptables rules.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{identity, ports};

/// Which connections of a pod are captured, and where they are sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureSpec {
    /// How packets reach the sidecar.
    pub mode: CaptureMode,
    /// Port outbound connections are sent to.
    pub outbound_port: u16,
    /// Port inbound connections are sent to.
    pub inbound_port: u16,
    /// Inbound port of the tunnel between sidecars, never captured.
    pub tunnel_port: u16,
    /// Users whose packets are the sidecar's own.
    pub proxy_uids: Vec<u32>,
    /// Groups whose packets are the sidecar's own.
    pub proxy_gids: Vec<u32>,
    /// Destinations captured outbound.
    pub include_outbound_cidrs: Selection<IpNet>,
    /// Destinations left alone outbound.
    pub exclude_outbound_cidrs: Vec<IpNet>,
    /// Ports captured outbound whatever the destination.
    pub include_outbound_ports: Vec<u16>,
    /// Ports left alone outbound.
    pub exclude_outbound_ports: Vec<u16>,
    /// Ports captured inbound.
    pub include_inbound_ports: Selection<u16>,
    /// Ports left alone inbound; matters only when all are captured.
    pub exclude_inbound_ports: Vec<u16>,
    /// Interfaces whose packets are left alone.
    pub exclude_interfaces: Vec<InterfaceName>,
}

/// How captured packets reach the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaptureMode {
    /// NAT to the sidecar's port; the original destination is read from conntrack.
    Redirect,
    /// Not implemented yet; refused by name where rules are built.
    Tproxy,
    /// No capture: the application is configured to use the sidecar, or does not.
    None,
}

/// All of a kind (`*`), or exactly those listed (possibly none).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Selection<T> {
    /// `*`
    All,
    /// These, in this order.
    Only(Vec<T>),
}

/// Name of a network interface: 1 to 15 bytes without `/` or white space, as the kernel wants it
/// (`dev_valid_name` in net/core/dev.c).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

/// A value of a capture setting that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {expected}")]
pub struct CaptureValueError {
    /// The offending element, not the whole list.
    pub value: String,
    /// What was expected, to be read after "is not".
    pub expected: &'static str,
}

/// Long names of the flags of `weir-agent capture`, which are also the arguments the injector
/// writes. The env twin of `--outbound-port` is `WEIR_OUTBOUND_PORT`, and so on.
pub mod flags {
    /// See [`super::CaptureSpec::mode`].
    pub const MODE: &str = "mode";
    /// See [`super::CaptureSpec::outbound_port`].
    pub const OUTBOUND_PORT: &str = "outbound-port";
    /// See [`super::CaptureSpec::inbound_port`].
    pub const INBOUND_PORT: &str = "inbound-port";
    /// See [`super::CaptureSpec::tunnel_port`].
    pub const TUNNEL_PORT: &str = "tunnel-port";
    /// See [`super::CaptureSpec::proxy_uids`].
    pub const PROXY_UIDS: &str = "proxy-uids";
    /// See [`super::CaptureSpec::proxy_gids`].
    pub const PROXY_GIDS: &str = "proxy-gids";
    /// See [`super::CaptureSpec::include_outbound_cidrs`].
    pub const INCLUDE_OUTBOUND_CIDRS: &str = "include-outbound-cidrs";
    /// See [`super::CaptureSpec::exclude_outbound_cidrs`].
    pub const EXCLUDE_OUTBOUND_CIDRS: &str = "exclude-outbound-cidrs";
    /// See [`super::CaptureSpec::include_outbound_ports`].
    pub const INCLUDE_OUTBOUND_PORTS: &str = "include-outbound-ports";
    /// See [`super::CaptureSpec::exclude_outbound_ports`].
    pub const EXCLUDE_OUTBOUND_PORTS: &str = "exclude-outbound-ports";
    /// See [`super::CaptureSpec::include_inbound_ports`].
    pub const INCLUDE_INBOUND_PORTS: &str = "include-inbound-ports";
    /// See [`super::CaptureSpec::exclude_inbound_ports`].
    pub const EXCLUDE_INBOUND_PORTS: &str = "exclude-inbound-ports";
    /// See [`super::CaptureSpec::exclude_interfaces`].
    pub const EXCLUDE_INTERFACES: &str = "exclude-interfaces";
}

// === impl CaptureSpec ===

impl Default for CaptureSpec {
    /// Everything in, everything out, but for the sidecar's own ports.
    fn default() -> Self {
        Self {
            mode: CaptureMode::Redirect,
            outbound_port: ports::OUTBOUND,
            inbound_port: ports::INBOUND,
            tunnel_port: ports::TUNNEL,
            proxy_uids: vec![identity::PROXY_UID],
            proxy_gids: vec![identity::PROXY_GID],
            include_outbound_cidrs: Selection::All,
            exclude_outbound_cidrs: Vec::new(),
            include_outbound_ports: Vec::new(),
            exclude_outbound_ports: Vec::new(),
            include_inbound_ports: Selection::All,
            exclude_inbound_ports: ports::NEVER_CAPTURED_INBOUND.to_vec(),
            exclude_interfaces: Vec::new(),
        }
    }
}

impl CaptureSpec {
    /// The arguments of `weir-agent capture` that say this specification, each as `--flag=value`.
    #[must_use]
    pub fn to_args(&self) -> Vec<String> {
        let flag = |name: &str, value: String| format!("--{name}={value}");
        vec![
            flag(flags::MODE, self.mode.to_string()),
            flag(flags::OUTBOUND_PORT, self.outbound_port.to_string()),
            flag(flags::INBOUND_PORT, self.inbound_port.to_string()),
            flag(flags::TUNNEL_PORT, self.tunnel_port.to_string()),
            flag(flags::PROXY_UIDS, join(&self.proxy_uids)),
            flag(flags::PROXY_GIDS, join(&self.proxy_gids)),
            flag(
                flags::INCLUDE_OUTBOUND_CIDRS,
                self.include_outbound_cidrs.to_string(),
            ),
            flag(
                flags::EXCLUDE_OUTBOUND_CIDRS,
                join(&self.exclude_outbound_cidrs),
            ),
            flag(
                flags::INCLUDE_OUTBOUND_PORTS,
                join(&self.include_outbound_ports),
            ),
            flag(
                flags::EXCLUDE_OUTBOUND_PORTS,
                join(&self.exclude_outbound_ports),
            ),
            flag(
                flags::INCLUDE_INBOUND_PORTS,
                self.include_inbound_ports.to_string(),
            ),
            flag(
                flags::EXCLUDE_INBOUND_PORTS,
                join(&self.exclude_inbound_ports),
            ),
            flag(flags::EXCLUDE_INTERFACES, join(&self.exclude_interfaces)),
        ]
    }
}

/// Reads a comma-separated list of ports from 1 to 65535. Empty elements are dropped, as users
/// of the established mesh may rely on (`"6000,7000,"` is two ports).
pub fn parse_ports(text: &str) -> Result<Vec<u16>, CaptureValueError> {
    list(text, "a port from 1 to 65535", |element| {
        element.parse::<u16>().ok().filter(|port| *port != 0)
    })
}

/// Reads a comma-separated list of CIDRs. An address without a prefix length is that one address;
/// host bits below the prefix are cleared, as iptables does.
pub fn parse_cidrs(text: &str) -> Result<Vec<IpNet>, CaptureValueError> {
    list(
        text,
        "a CIDR such as 10.0.0.0/8 or 2001:db8::/32",
        |element| {
            let address = || element.parse::<IpAddr>().ok().map(IpNet::from);
            element
                .parse()
                .ok()
                .or_else(address)
                .map(|net: IpNet| net.trunc())
        },
    )
}

/// Reads a comma-separated list of user or group ids.
pub fn parse_ids(text: &str) -> Result<Vec<u32>, CaptureValueError> {
    list(text, "a numeric user or group id", |element| {
        element.parse().ok()
    })
}

/// Reads a comma-separated list of network interfaces.
pub fn parse_interfaces(text: &str) -> Result<Vec<InterfaceName>, CaptureValueError> {
    list(text, InterfaceName::EXPECTED, |element| {
        InterfaceName::try_from(element.to_owned()).ok()
    })
}

/// Reads `*` or what `parse` reads.
pub fn parse_selection<T>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<Vec<T>, CaptureValueError>,
) -> Result<Selection<T>, CaptureValueError> {
    match text.trim() {
        "*" => Ok(Selection::All),
        text => parse(text).map(Selection::Only),
    }
}

fn list<T>(
    text: &str,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, CaptureValueError> {
    let elements = text
        .split(',')
        .map(str::trim)
        .filter(|element| !element.is_empty());
    elements
        .map(|element| {
            parse(element).ok_or_else(|| CaptureValueError {
                value: element.to_owned(),
                expected,
            })
        })
        .collect()
}

fn join<T: fmt::Display>(elements: &[T]) -> String {
    elements
        .iter()
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

// === impl CaptureMode ===

impl fmt::Display for CaptureMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redirect => "redirect",
            Self::Tproxy => "tproxy",
            Self::None => "none",
        })
    }
}

impl FromStr for CaptureMode {
    type Err = CaptureValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "redirect" => Ok(Self::Redirect),
            "tproxy" => Ok(Self::Tproxy),
            "none" => Ok(Self::None),
            other => Err(CaptureValueError {
                value: other.to_owned(),
                expected: "a capture mode: redirect, tproxy or none",
            }),
        }
    }
}

// === impl Selection ===

impl<T: fmt::Display> fmt::Display for Selection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Only(elements) => f.write_str(&join(elements)),
        }
    }
}

// === impl InterfaceName ===

impl InterfaceName {
    const EXPECTED: &'static str =
        "a network interface name (1 to 15 bytes, no white space, no '/', ':' or ',')";

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = CaptureValueError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let fits = (1..=15).contains(&name.len()) && name != "." && name != "..";
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || "/:,!+\"'\\".contains(c);
        if fits && !name.starts_with('-') && !name.contains(forbidden) {
            Ok(Self(name))
        } else {
            Err(CaptureValueError {
                value: name,
                expected: Self::EXPECTED,
            })
        }
    }
}

impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> Self {
        name.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_drop_empty_elements_and_name_the_bad_one() {
        assert_eq!(parse_ports("6000,7000,"), Ok(vec![6000, 7000]));
        assert_eq!(parse_ports(""), Ok(vec![]));
        for bad in ["0", "65536", "-1", "http", "80 81"] {
            let error = parse_ports(&format!("80,{bad}")).expect_err(bad);
            assert_eq!(error.value, bad);
        }
    }

    #[test]
    fn cidrs_take_bare_addresses_and_clear_host_bits() {
        let cidrs = parse_cidrs("10.1.2.3/8, 192.0.2.1,2001:db8::1/32").expect("cidrs");
        assert_eq!(join(&cidrs), "10.0.0.0/8,192.0.2.1/32,2001:db8::/32");
        assert!(parse_cidrs("10.0.0.0/33").is_err());
        assert!(parse_cidrs("*").is_err());
    }

    #[test]
    fn interface_names_are_those_the_kernel_takes() {
        assert!(parse_interfaces("eth0,net1.100").is_ok());
        for bad in ["a/b", "sixteen-bytes-xx", "-j", "eth 0", "..", "a+"] {
            assert!(parse_interfaces(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_flag_is_written_once() {
        let args = CaptureSpec::default().to_args();
        assert_eq!(args.len(), 13);
        assert_eq!(args[0], "--mode=redirect");
        assert_eq!(args[6], "--include-outbound-cidrs=*");
        assert_eq!(args[11], "--exclude-inbound-ports=15090,15021,15020");
    }
}
