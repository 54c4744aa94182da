//! [`Family`]: rules are made once and written for IPv4 and for IPv6.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use weir_api::identity;

/// An IP family. Each has its own rules, tools and addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4: `iptables`.
    V4,
    /// IPv6: `ip6tables`.
    V6,
}

// === impl Family ===

impl Family {
    /// Both, in the order in which they are worked on.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The loopback address.
    #[must_use]
    pub fn loopback(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::LOCALHOST.into(),
            Self::V6 => Ipv6Addr::LOCALHOST.into(),
        }
    }

    /// Source of the connections from the inbound listener to the application.
    #[must_use]
    pub fn inbound_passthrough(self) -> IpAddr {
        match self {
            Self::V4 => identity::INBOUND_PASSTHROUGH_V4.into(),
            Self::V6 => identity::INBOUND_PASSTHROUGH_V6.into(),
        }
    }

    /// What the names of the family's commands begin with.
    #[must_use]
    pub fn command(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }

    /// Whether `net` is of this family.
    #[must_use]
    pub fn has(self, net: &IpNet) -> bool {
        self == Self::of(net.addr())
    }

    /// Family of `address`.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
