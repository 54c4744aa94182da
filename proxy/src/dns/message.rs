//! Questions, and what answers say.

use std::{net::IpAddr, time::Duration};

use hickory_proto::{
    op::{Edns, Message, MessageType, Query, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType},
};

/// Names that an answer may lead on to. Each costs a look at all records.
const MOST_ALIASES: usize = 16;

/// What a server knows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// These addresses, or that there are none.
    Addresses {
        addresses: Vec<IpAddr>,
        /// Of the one that may be kept least; zero if there are none.
        ttl: Duration,
    },
    /// It cannot say, and why.
    Failed(String),
}

/// What bytes from a server are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Reply(Reply),
    /// The answer is longer than it could be sent.
    Truncated,
    /// The server does not know EDNS (RFC 6891, 7).
    NoEdns,
    /// Nothing that answers the question. Anybody may have sent it.
    Foreign,
}

/// The bytes of a question; none if it cannot be asked. `payload` is how long an answer may be; none:
/// as long as servers without EDNS send.
pub(super) fn question(
    id: u16,
    (name, records): (&Name, RecordType),
    payload: Option<u16>,
) -> Option<Vec<u8>> {
    let mut message = Message::query();
    message.metadata.id = id;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), records));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message.to_vec().ok()
}

/// What `bytes` say to a question.
pub(super) fn hear(bytes: &[u8], id: u16, (name, records): (&Name, RecordType)) -> Heard {
    // Looked at first, because it costs nothing.
    if bytes.get(..2) != Some(&id.to_be_bytes()) {
        return Heard::Foreign;
    }
    let Ok(message) = Message::from_vec(bytes) else {
        return Heard::Foreign;
    };
    let head = &message.metadata;
    let is_ours = |query: &Query| query.name() == name && query.query_type() == records;
    let is_bare_refusal = message.queries.is_empty() && head.response_code == ResponseCode::FormErr;
    if head.message_type != MessageType::Response
        || !(is_bare_refusal || matches!(message.queries.as_slice(), [query] if is_ours(query)))
    {
        return Heard::Foreign;
    }
    if head.truncation {
        return Heard::Truncated;
    }
    match head.response_code {
        ResponseCode::NoError => Heard::Reply(addresses(&message.answers, name, records)),
        ResponseCode::NXDomain => Heard::Reply(Reply::Addresses {
            addresses: Vec::new(),
            ttl: Duration::ZERO,
        }),
        ResponseCode::FormErr | ResponseCode::NotImp => Heard::NoEdns,
        other => Heard::Reply(Reply::Failed(other.to_string())),
    }
}

/// The addresses of the name, or of what it is an alias of.
fn addresses(answers: &[Record], name: &Name, records: RecordType) -> Reply {
    let mut names = vec![name];
    let mut next = 0;
    while let Some(name) = names.get(next).copied() {
        next += 1;
        for record in answers.iter().filter(|record| record.name == *name) {
            if let RData::CNAME(alias) = &record.data
                && names.len() < MOST_ALIASES
                && !names.contains(&&alias.0)
            {
                names.push(&alias.0);
            }
        }
    }
    let of_ours = answers.iter().filter(|record| {
        record.dns_class == DNSClass::IN
            && record.record_type() == records
            && names.contains(&&record.name)
    });
    let each = of_ours.filter_map(|record| {
        let address = match &record.data {
            RData::A(address) => IpAddr::V4(address.0),
            RData::AAAA(address) => IpAddr::V6(address.0),
            _ => return None,
        };
        Some((address, record.ttl))
    });
    let (addresses, lives): (Vec<_>, Vec<_>) = each.unzip();
    let ttl = lives.into_iter().min().unwrap_or(0);
    Reply::Addresses {
        addresses,
        ttl: Duration::from_secs(ttl.into()),
    }
}
