//! What a hash of a request or of a caller leads to.

use serde::Deserialize;

use crate::{
    model::{Balancing, HashKey, HashTable, Hashing},
    rules::{
        Findings, Place,
        gateway::edits::{is_token, is_value},
        istio::Span,
    },
};

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ConsistentHash {
    use_source_ip: Option<bool>,
    http_header_name: Option<String>,
    http_cookie: Option<Cookie>,
    http_query_parameter_name: Option<String>,
    maglev: Option<Maglev>,
    ring_hash: Option<RingHash>,
    minimum_ring_size: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Cookie {
    name: String,
    path: String,
    ttl: Option<Span>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Maglev {
    table_size: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RingHash {
    minimum_ring_size: Option<u64>,
}

/// Most places of a ring that sidecars take.
const MOST_PLACES: u64 = 8 * 1024 * 1024;
/// Most entries of a table that sidecars take.
const MOST_ENTRIES: u64 = 5_000_011;

// === impl ConsistentHash ===

impl ConsistentHash {
    pub(super) fn read(
        &self,
        at: &str,
        place: &Place<'_>,
        findings: &mut Findings,
    ) -> Option<Balancing> {
        let key = self.key(at, place, findings);
        let table = self.table(at, findings);
        Some(Balancing::Hashed(
            Hashing {
                key: key?,
                table: table?,
            }
            .into(),
        ))
    }

    fn key(&self, at: &str, place: &Place<'_>, findings: &mut Findings) -> Option<HashKey> {
        let text = |text: &str| place.names.text(text);
        let mut keys = Vec::new();
        if let Some(name) = &self.http_header_name {
            if !is_token(name) {
                let reason = format!("{name:?} is no name of a header: write one");
                findings.malformed(format!("{at}.httpHeaderName"), reason);
                return None;
            }
            keys.push(HashKey::Header(text(&name.to_ascii_lowercase())));
        }
        if let Some(cookie) = &self.http_cookie {
            keys.push(cookie.read(&format!("{at}.httpCookie"), place, findings)?);
        }
        if let Some(name) = &self.http_query_parameter_name {
            if name.is_empty() {
                let reason = "is empty: write the name of a parameter";
                findings.malformed(format!("{at}.httpQueryParameterName"), reason);
                return None;
            }
            keys.push(HashKey::QueryParameter(text(name)));
        }
        if self.use_source_ip == Some(true) {
            keys.push(HashKey::SourceIp);
        }
        let one = keys.pop();
        if one.is_none() {
            findings.malformed(
                at,
                "names nothing to hash: write httpHeaderName, httpCookie, \
                 httpQueryParameterName or useSourceIp: true",
            );
        }
        if !keys.is_empty() {
            findings.malformed(at, "names several things to hash: write one of them");
            return None;
        }
        one
    }

    fn table(&self, at: &str, findings: &mut Findings) -> Option<HashTable> {
        if let Some(maglev) = &self.maglev {
            if self.ring_hash.is_some() {
                findings.malformed(at, "has both ringHash and maglev: write one of them");
                return None;
            }
            let size = maglev.table_size.filter(|size| *size > 0);
            if size.is_some_and(|size| size > MOST_ENTRIES || !is_prime(size)) {
                let reason = format!("is no prime number up to {MOST_ENTRIES}: write one");
                findings.malformed(format!("{at}.maglev.tableSize"), reason);
                return None;
            }
            return Some(HashTable::Maglev { size });
        }
        let of_ring = self.ring_hash.as_ref().and_then(|it| it.minimum_ring_size);
        let minimum_size = of_ring.or(self.minimum_ring_size).filter(|it| *it > 0);
        if minimum_size.is_some_and(|size| size > MOST_PLACES) {
            let reason = format!("is more than {MOST_PLACES}: write less");
            findings.malformed(format!("{at}.minimumRingSize"), reason);
            return None;
        }
        Some(HashTable::Ring { minimum_size })
    }
}

// === impl Cookie ===

impl Cookie {
    fn read(&self, at: &str, place: &Place<'_>, findings: &mut Findings) -> Option<HashKey> {
        if !is_token(&self.name) {
            let reason = format!("{:?} is no name of a cookie: write one", self.name);
            findings.malformed(format!("{at}.name"), reason);
            return None;
        }
        let is_path = is_value(&self.path) && !self.path.contains(';');
        if !self.path.is_empty() && !is_path {
            let reason = format!("{:?} is no path: write one, or leave it out", self.path);
            findings.malformed(format!("{at}.path"), reason);
            return None;
        }
        Some(HashKey::Cookie {
            name: place.names.text(&self.name),
            path: place.names.text(&self.path),
            ttl: self.ttl.map(|Span(ttl)| ttl),
        })
    }
}

fn is_prime(number: u64) -> bool {
    let mut divisors = (2..).take_while(|divisor| divisor * divisor <= number);
    number >= 2 && divisors.all(|divisor| !number.is_multiple_of(divisor))
}
