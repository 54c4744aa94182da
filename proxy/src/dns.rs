//! A stub resolver: asks the servers of /etc/resolv.conf, or others, for the addresses of a name.
//!
//! It does what Envoy's c-ares does as far as that can be seen: /etc/hosts first, search domains and
//! `ndots`, servers in turn with a timeout that doubles each round, TCP where an answer is cut. It
//! remembers nothing: who asks decides when to ask again.

mod message;
mod refresh;
mod server;
mod system;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hickory_proto::rr::{Name, RecordType};

use self::{
    message::Reply,
    system::{Hosts, System},
};
use crate::config::dns::{DnsLookupFamily, DnsResolver};

pub(crate) use refresh::Refresh;

/// Looks names up in one way.
#[derive(Debug)]
pub(crate) struct Resolver {
    config: Arc<DnsResolver>,
    /// Which server is asked first, where they rotate.
    turn: AtomicUsize,
}

/// The addresses of a name. None: there is no such name, or it has no address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) addresses: Vec<IpAddr>,
    /// How long the shortest-lived of them may be kept; zero: nobody says.
    pub(crate) ttl: Duration,
}

/// Why nobody knows what the addresses are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LookupError {
    /// The text is no name of DNS.
    #[error("{0:?} is not a name that DNS can have")]
    Name(String),
    /// No server answered in time.
    #[error("no server of names answers in time")]
    Timeout,
    /// Servers cannot be reached.
    #[error("no server of names can be reached")]
    Unreachable,
    /// Servers answer that they cannot say.
    #[error("servers of names answer {0}")]
    Failed(String),
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

// === impl Resolver ===

impl Resolver {
    pub(crate) fn new(config: &Arc<DnsResolver>) -> Self {
        Self {
            config: Arc::clone(config),
            turn: AtomicUsize::new(0),
        }
    }

    /// The addresses of `name`, as the servers order them. A name that is an address has that one.
    ///
    /// # Errors
    /// Nobody knows: what was known before may still be so.
    pub(crate) async fn lookup(
        &self,
        name: &str,
        family: DnsLookupFamily,
    ) -> Result<Resolved, LookupError> {
        match family {
            DnsLookupFamily::V4Only => self.of_family(name, Family::V4).await,
            DnsLookupFamily::V6Only => self.of_family(name, Family::V6).await,
            DnsLookupFamily::Auto => self.either(name, [Family::V6, Family::V4]).await,
            DnsLookupFamily::V4Preferred => self.either(name, [Family::V4, Family::V6]).await,
            DnsLookupFamily::All => self.both(name).await,
        }
    }

    /// Those of the first family, or else of the other.
    async fn either(&self, name: &str, [one, other]: [Family; 2]) -> Result<Resolved, LookupError> {
        let first = self.of_family(name, one).await;
        match first {
            Ok(resolved) if !resolved.addresses.is_empty() => Ok(resolved),
            _ => match self.of_family(name, other).await {
                // The first family is still unknown.
                Ok(resolved) if resolved.addresses.is_empty() => first,
                second => second,
            },
        }
    }

    /// Those of both families, IPv4 first.
    async fn both(&self, name: &str) -> Result<Resolved, LookupError> {
        let each = [Family::V4, Family::V6].map(|family| self.of_family(name, family));
        let [v4, v6] = each;
        match tokio::join!(v4, v6) {
            (Ok(v4), Ok(v6)) => Ok(v4.and(v6)),
            (Ok(known), Err(error)) | (Err(error), Ok(known)) => match known.addresses.is_empty() {
                true => Err(error),
                false => Ok(known),
            },
            (Err(error), Err(_)) => Err(error),
        }
    }

    async fn of_family(&self, name: &str, family: Family) -> Result<Resolved, LookupError> {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(Resolved::of(family.only([address]), Duration::ZERO));
        }
        let system = System::read();
        let known = family.only(Hosts::read().addresses(name));
        if !known.is_empty() {
            return Ok(Resolved::of(known, Duration::ZERO));
        }
        if is_localhost(name) {
            // RFC 6761, 6.3: such names are never asked for.
            return Ok(Resolved::of(vec![family.loopback()], Duration::ZERO));
        }
        let servers = self.servers(&system);
        let mut found = Resolved::default();
        for candidate in self.candidates(name, &system)? {
            found = self.ask(&servers, &candidate, family).await?;
            if !found.addresses.is_empty() {
                break;
            }
        }
        if let Some(ttl) = self.config.fixed_ttl {
            found.ttl = ttl;
        }
        Ok(found)
    }

    fn servers(&self, system: &System) -> Vec<SocketAddr> {
        let of_system = self.config.servers.is_empty()
            || (self.config.is_fallback && !system.servers.is_empty());
        let mut servers = match of_system {
            true => system.servers.clone(),
            false => self.config.servers.clone(),
        };
        if servers.is_empty() {
            // resolv.conf(5): without any, the one on this machine is asked.
            servers.push((Ipv4Addr::LOCALHOST, 53).into());
        }
        if self.config.rotates {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let first = turn % servers.len();
            servers.rotate_left(first);
        }
        servers
    }

    /// What the name may stand for, in order.
    fn candidates(&self, name: &str, system: &System) -> Result<Vec<Name>, LookupError> {
        let wrong = |_| LookupError::Name(name.to_owned());
        let mut absolute = Name::from_ascii(name).map_err(wrong)?;
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let has_search = !name.ends_with('.') && !self.config.no_search;
        absolute.set_fqdn(true);
        let searched = system.search.iter().filter_map(|domain| {
            let mut name = Name::from_ascii(format!("{name}.{domain}")).ok()?;
            name.set_fqdn(true);
            Some(name)
        });
        let searched: Vec<Name> = searched
            .take(if has_search { usize::MAX } else { 0 })
            .collect();
        Ok(match dots >= system.ndots {
            true => std::iter::once(absolute).chain(searched).collect(),
            false => searched.into_iter().chain([absolute]).collect(),
        })
    }

    /// Asks servers in turn until one knows.
    async fn ask(
        &self,
        servers: &[SocketAddr],
        name: &Name,
        family: Family,
    ) -> Result<Resolved, LookupError> {
        let mut error = LookupError::Timeout;
        let mut timeout = self.config.timeout;
        for _ in 0..self.config.tries {
            for server in servers {
                let asked = server::ask(*server, (name, family.records()), &self.config);
                match tokio::time::timeout(timeout, asked).await {
                    Ok(Ok(Reply::Addresses { addresses, ttl })) => {
                        return Ok(Resolved::of(addresses, ttl));
                    }
                    Ok(Ok(Reply::Failed(code))) => error = LookupError::Failed(code),
                    Ok(Err(_)) => error = LookupError::Unreachable,
                    Err(_) => error = LookupError::Timeout,
                }
            }
            timeout = timeout.saturating_mul(2).min(server::LONGEST);
        }
        Err(error)
    }
}

/// Whether a name is this machine's wherever it is asked for.
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

// === impl Family ===

impl Family {
    fn only(self, addresses: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
        let is_of = |address: &IpAddr| address.is_ipv4() == (self == Self::V4);
        addresses.into_iter().filter(is_of).collect()
    }

    fn loopback(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::LOCALHOST.into(),
            Self::V6 => Ipv6Addr::LOCALHOST.into(),
        }
    }

    fn records(self) -> RecordType {
        match self {
            Self::V4 => RecordType::A,
            Self::V6 => RecordType::AAAA,
        }
    }
}

// === impl Resolved ===

impl Resolved {
    /// Each address once.
    fn of(addresses: Vec<IpAddr>, ttl: Duration) -> Self {
        let mut seen = std::collections::HashSet::new();
        let once = addresses
            .into_iter()
            .filter(|address| seen.insert(*address));
        Self {
            addresses: once.collect(),
            ttl,
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.ttl = match (self.addresses.is_empty(), other.addresses.is_empty()) {
            (true, _) => other.ttl,
            (_, true) => self.ttl,
            (false, false) => self.ttl.min(other.ttl),
        };
        self.addresses.extend(other.addresses);
        self
    }
}

#[cfg(test)]
mod tests;
