//! [`Rule`]: the few matches and targets capture needs, written the way `iptables-save` writes
//! them, so that what is asked for and what is in force can be compared.

mod parse;

use std::fmt;

use ipnet::IpNet;
use weir_api::capture::InterfaceName;

/// What every chain of ours is named with. A chain so named belongs to us.
pub const OWN_PREFIX: &str = "WEIR_";

/// A chain of ours in the nat table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// Decides about packets that arrive.
    Inbound,
    /// Sends to the inbound port.
    InRedirect,
    /// Decides about packets that leave.
    Output,
    /// Sends to the outbound port.
    Redirect,
}

/// A chain of the kernel's from which a chain of ours is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Packets that arrive.
    Prerouting,
    /// Packets made on this machine.
    Output,
}

/// A value that must, or must not, be the packet's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match<T> {
    /// The packet has it.
    Is(T),
    /// The packet has another (`!`).
    Not(T),
}

/// Who made the packet, by the credentials its socket was opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A user id.
    User(u32),
    /// A group id.
    Group(u32),
}

/// Protocols a rule may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP, the only one that is captured.
    Tcp,
}

/// What happens to a packet that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Back to the chain this one was reached from.
    Return,
    /// To this port of this machine.
    RedirectTo(u16),
    /// On in a chain of ours.
    Jump(Chain),
}

/// One rule, without the chain it is in. A packet matches if every match that is given holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Source address.
    pub source: Option<Match<IpNet>>,
    /// Destination address.
    pub destination: Option<Match<IpNet>>,
    /// Interface the packet came in by.
    pub in_interface: Option<Match<InterfaceName>>,
    /// Interface the packet goes out by.
    pub out_interface: Option<Match<InterfaceName>>,
    /// Protocol; required for a port match and for [`Target::RedirectTo`].
    pub protocol: Option<Protocol>,
    /// Destination port.
    pub destination_port: Option<Match<u16>>,
    /// Who made it.
    pub owner: Option<Match<Owner>>,
    /// What then.
    pub target: Target,
}

// === impl Chain ===

impl Chain {
    /// Every chain of ours, in the order in which they are written.
    pub const ALL: [Self; 4] = [
        Self::Inbound,
        Self::InRedirect,
        Self::Output,
        Self::Redirect,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inbound => "WEIR_INBOUND",
            Self::InRedirect => "WEIR_IN_REDIRECT",
            Self::Output => "WEIR_OUTPUT",
            Self::Redirect => "WEIR_REDIRECT",
        }
    }

    /// The chain of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|chain| chain.name() == name)
    }
}

// === impl Hook ===

impl Hook {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Output => "OUTPUT",
        }
    }
}

// === impl Match ===

impl<T> Match<T> {
    fn parts(&self) -> (&'static str, &T) {
        match self {
            Self::Is(value) => ("", value),
            Self::Not(value) => ("! ", value),
        }
    }
}

// === impl Rule ===

impl Rule {
    /// Every packet to `target`.
    #[must_use]
    pub fn any(target: Target) -> Self {
        Self {
            source: None,
            destination: None,
            in_interface: None,
            out_interface: None,
            protocol: None,
            destination_port: None,
            owner: None,
            target,
        }
    }

    /// Every TCP packet to `target`.
    #[must_use]
    pub fn tcp(target: Target) -> Self {
        Self {
            protocol: Some(Protocol::Tcp),
            ..Self::any(target)
        }
    }

    /// TCP packets to `port`, to `target`.
    #[must_use]
    pub fn tcp_port(port: u16, target: Target) -> Self {
        Self {
            destination_port: Some(Match::Is(port)),
            ..Self::tcp(target)
        }
    }
}

impl fmt::Display for Rule {
    /// As the arguments of `iptables -A CHAIN`, in the order of `iptables-save`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn write<T: fmt::Display>(
            f: &mut fmt::Formatter<'_>,
            option: &str,
            value: Option<&Match<T>>,
        ) -> fmt::Result {
            let Some((not, value)) = value.map(Match::parts) else {
                return Ok(());
            };
            write!(f, "{not}{option} {value} ")
        }
        write(f, "-s", self.source.as_ref())?;
        write(f, "-d", self.destination.as_ref())?;
        write(f, "-i", self.in_interface.as_ref())?;
        write(f, "-o", self.out_interface.as_ref())?;
        if let Some(Protocol::Tcp) = self.protocol {
            f.write_str("-p tcp ")?;
        }
        if self.destination_port.is_some() {
            f.write_str("-m tcp ")?;
        }
        write(f, "--dport", self.destination_port.as_ref())?;
        if let Some((not, owner)) = self.owner.as_ref().map(Match::parts) {
            match owner {
                Owner::User(id) => write!(f, "-m owner {not}--uid-owner {id} ")?,
                Owner::Group(id) => write!(f, "-m owner {not}--gid-owner {id} ")?,
            }
        }
        match self.target {
            Target::Return => f.write_str("-j RETURN"),
            Target::RedirectTo(port) => write!(f, "-j REDIRECT --to-ports {port}"),
            Target::Jump(chain) => write!(f, "-j {}", chain.name()),
        }
    }
}
