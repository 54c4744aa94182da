//! The hash that stands for a client or a request. It is Envoy's, so that both choose the same host for
//! the same key.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-routeaction-hashpolicy>

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
};

use twox_hash::XxHash64;

use super::Cluster;
use crate::{
    config::hash::{GeneratedCookie, HashPolicy, Hashed},
    http::{
        cookie::{Attributes, cookie, set_cookie},
        head::{RequestHead, is_list},
        route::query_parameter,
    },
    metadata::FilterState,
};

/// Longest text of an IPv6 address, with a scope.
const ADDRESS: usize = 64;

/// What may be hashed.
pub(crate) struct Subject<'s> {
    /// The address that the client has.
    pub(crate) source: IpAddr,
    /// None of a connection without requests.
    pub(crate) request: Option<&'s dyn RequestHead>,
    /// Objects that filters have left.
    pub(crate) filter_state: &'s FilterState,
    /// The client's end of the connection, and the other one.
    pub(crate) connection: (SocketAddr, SocketAddr),
}

/// The hash of a client, and what the client is to be told.
#[derive(Default)]
pub(crate) struct ClientHash {
    /// None: any host is as good.
    pub(crate) hash: Option<u64>,
    /// Values of `set-cookie`.
    pub(crate) cookies: Vec<String>,
}

// === impl Cluster ===

impl Cluster {
    /// The hash of a client where hosts are chosen by one: by the cluster's own policies if it has some,
    /// else by those of the route.
    pub(crate) fn client_hash(&self, of_route: &[HashPolicy], subject: &Subject<'_>) -> ClientHash {
        let mut client = ClientHash::default();
        if !self.config.lb_policy.goes_by_hash() {
            return client;
        }
        let own = &self.config.load_balancing.consistent_hashing.hash_policy;
        let policies = if own.is_empty() { of_route } else { own };
        client.hash = subject.hash(policies, &mut client.cookies);
        client
    }
}

// === impl Subject ===

impl Subject<'_> {
    /// The hash that the policies come to, if any of them gives one, and the cookies that the client is
    /// to have.
    fn hash(&self, policies: &[HashPolicy], cookies: &mut Vec<String>) -> Option<u64> {
        let mut hash: Option<u64> = None;
        for policy in policies {
            if let Some(new) = self.hash_of(&policy.of, cookies) {
                // As Envoy: of two that are equal something remains.
                hash = Some(hash.unwrap_or_default().rotate_left(1) ^ new);
            }
            if policy.is_terminal && hash.is_some() {
                break;
            }
        }
        hash
    }

    fn hash_of(&self, of: &Hashed, cookies: &mut Vec<String>) -> Option<u64> {
        match of {
            Hashed::SourceIp => Some(hash_of_address(self.source)),
            Hashed::Header { name, rewrite } => {
                let mut lines = lines(self.request?, name);
                if let Some((pattern, substitution)) = rewrite {
                    for line in &mut lines {
                        *line = pattern.replace_all(line, substitution).into_owned();
                    }
                }
                // In whatever order they came. The hash of each is the seed of the next one's.
                lines.sort_unstable();
                let chain = |seed, line: &String| XxHash64::oneshot(seed, line.as_bytes());
                (!lines.is_empty()).then(|| lines.iter().fold(0, chain))
            }
            Hashed::Cookie { name, generated } => {
                if let Some(value) = cookie(self.request?, name) {
                    return Some(hash(value.as_bytes()));
                }
                let generated = generated.as_ref()?;
                let value = self.cookie_value();
                cookies.push(set_cookie(name, &value, generated.attributes()));
                Some(hash(value.as_bytes()))
            }
            Hashed::QueryParameter(name) => {
                let value = query_parameter(self.request?.path(), name)?;
                Some(hash(value.as_bytes()))
            }
            Hashed::FilterState(name) => {
                let object = self.filter_state.hashable(name)?;
                Some(hash(object.as_bytes()))
            }
        }
    }

    /// The same for all requests of a connection, so that those which race get the same cookie.
    fn cookie_value(&self) -> String {
        let (client, local) = self.connection;
        let ends = format!("{}{}", canonical(client), canonical(local));
        format!("{:016x}", hash(ends.as_bytes()))
    }
}

/// The lines of a header, one value for those that Envoy joins.
fn lines(request: &dyn RequestHead, name: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if name.starts_with(':') || name == "host" || is_list(name) {
        lines.extend(request.field(name).map(|value| value.into_owned()));
    } else {
        request.any_line(name, &mut |line| {
            lines.push(line.into_owned());
            false
        });
    }
    lines
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn hash(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}

/// Of the address as people write it, without a port.
fn hash_of_address(address: IpAddr) -> u64 {
    let mut text = [0; ADDRESS];
    let mut rest = &mut text[..];
    // No address is longer than there is room for.
    let _ = write!(rest, "{}", address.to_canonical());
    let length = ADDRESS - rest.len();
    hash(&text[..length])
}

// === impl GeneratedCookie ===

impl GeneratedCookie {
    fn attributes(&self) -> Attributes<'_> {
        Attributes {
            max_age: self.ttl,
            path: &self.path,
            others: &self.attributes,
        }
    }
}

#[cfg(test)]
mod tests;
