//! The cluster's DNS, as CoreDNS answers for Kubernetes: Services, headless Services, pods by host
//! name and by address. It knows nothing else and asks nobody: what is outside does not exist.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType, rdata},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};

use crate::{
    address,
    error::{Error, Result},
};

/// How long clients may remember an answer, in seconds: CoreDNS' default for Kubernetes.
const TTL: u32 = 5;
/// The longest answer over UDP that every client takes.
const UDP_LIMIT: usize = 512;

/// Names and what they stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone {
    records: BTreeMap<String, Target>,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Addresses, in the order they are answered.
    Addresses(Vec<Ipv4Addr>),
    /// Another name (`ExternalName` Services).
    Alias(String),
}

/// A zone that is answered from while it is replaced.
#[derive(Debug, Clone, Default)]
pub struct SharedZone(Arc<Mutex<Arc<Zone>>>);

// === impl SharedZone ===

impl SharedZone {
    /// Answers from `zone` from now on.
    pub fn replace(&self, zone: Zone) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(zone);
    }

    fn get(&self) -> Arc<Zone> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Zone ===

impl Zone {
    /// Adds a fully qualified name, without the dot at the end.
    pub fn insert(&mut self, name: &str, target: Target) {
        self.records.insert(name.to_ascii_lowercase(), target);
    }

    /// Answers the bytes of a query; `None` where there is nothing to answer to.
    #[must_use]
    pub fn answer(&self, bytes: &[u8]) -> Option<Message> {
        let request = Message::from_vec(bytes).ok()?;
        if request.metadata.message_type != MessageType::Query {
            return None;
        }
        let mut response = Message::response(request.metadata.id, request.metadata.op_code);
        response.metadata.recursion_desired = request.metadata.recursion_desired;
        response.metadata.recursion_available = true;
        response.metadata.authoritative = true;
        let [query] = request.queries.as_slice() else {
            response.metadata.response_code = ResponseCode::FormErr;
            return Some(response);
        };
        response.add_query(query.clone());
        if request.metadata.op_code != OpCode::Query || query.query_class() != DNSClass::IN {
            response.metadata.response_code = ResponseCode::NotImp;
            return Some(response);
        }
        response.metadata.response_code = self.resolve(query, &mut response.answers);
        Some(response)
    }

    fn resolve(&self, query: &Query, answers: &mut Vec<Record>) -> ResponseCode {
        let name = query
            .name()
            .to_ascii()
            .trim_end_matches('.')
            .to_ascii_lowercase();
        let wants = |kind| query.query_type() == kind || query.query_type() == RecordType::ANY;
        let mut add = |name: &Name, data| answers.push(Record::from_rdata(name.clone(), TTL, data));
        match self
            .records
            .get(&name)
            .cloned()
            .or_else(|| pod_by_address(&name))
        {
            Some(Target::Addresses(addresses)) => {
                for address in addresses.into_iter().filter(|_| wants(RecordType::A)) {
                    add(query.name(), RData::A(rdata::A(address)));
                }
                ResponseCode::NoError
            }
            Some(Target::Alias(alias)) => {
                let Ok(target) = Name::from_ascii(format!("{alias}.")) else {
                    return ResponseCode::ServFail;
                };
                add(query.name(), RData::CNAME(rdata::CNAME(target.clone())));
                if let Some(Target::Addresses(addresses)) =
                    self.records.get(&alias.to_ascii_lowercase())
                    && wants(RecordType::A)
                {
                    for address in addresses {
                        add(&target, RData::A(rdata::A(*address)));
                    }
                }
                ResponseCode::NoError
            }
            None if self.is_parent(&name) => ResponseCode::NoError,
            None => ResponseCode::NXDomain,
        }
    }

    /// Whether names below `name` exist, which makes `name` one that exists without records.
    fn is_parent(&self, name: &str) -> bool {
        let suffix = format!(".{name}");
        self.records.keys().any(|known| known.ends_with(&suffix))
    }
}

/// `10-244-0-7.shop.pod.cluster.local` is that address, whether or not there is such a pod.
fn pod_by_address(name: &str) -> Option<Target> {
    let suffix = format!(".pod.{}", address::CLUSTER_DOMAIN);
    let (address, _namespace) = name.strip_suffix(&suffix)?.split_once('.')?;
    Some(Target::Addresses(vec![
        address.replace('-', ".").parse().ok()?,
    ]))
}

/// What a pod of `namespace` has in its `/etc/resolv.conf`.
#[must_use]
pub fn resolv_conf(namespace: &str) -> String {
    let domain = address::CLUSTER_DOMAIN;
    format!(
        "nameserver {}\nsearch {namespace}.svc.{domain} svc.{domain} {domain}\noptions ndots:5\n",
        address::DNS
    )
}

/// Answers on the cluster's DNS address, over UDP and TCP, until the runtime ends.
///
/// # Errors
/// If the sockets cannot be bound.
pub async fn serve(zone: SharedZone) -> Result<()> {
    let address = SocketAddr::new(IpAddr::V4(address::DNS), 53);
    let udp = UdpSocket::bind(address)
        .await
        .map_err(Error::system(format!("bind {address}")))?;
    let tcp = TcpListener::bind(address)
        .await
        .map_err(Error::system(format!("bind {address}")))?;
    tokio::spawn(serve_udp(udp, zone.clone()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = tcp.accept().await {
            tokio::spawn(serve_tcp(stream, zone.clone()));
        }
    });
    Ok(())
}

async fn serve_udp(socket: UdpSocket, zone: SharedZone) {
    let mut buffer = [0; 4096];
    loop {
        // An error here is that of an earlier answer to a client that is gone.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let Some(answer) = zone.get().answer(&buffer[..length]) else {
            continue;
        };
        let Ok(mut bytes) = answer.to_vec() else {
            continue;
        };
        if bytes.len() > UDP_LIMIT {
            let Ok(short) = answer.truncate().to_vec() else {
                continue;
            };
            bytes = short;
        }
        let _ = socket.send_to(&bytes, client).await;
    }
}

async fn serve_tcp(mut stream: TcpStream, zone: SharedZone) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; usize::from(length)];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        let Some(Ok(bytes)) = zone.get().answer(&query).map(|answer| answer.to_vec()) else {
            return;
        };
        let Ok(length) = u16::try_from(bytes.len()) else {
            return;
        };
        let framed = [&length.to_be_bytes()[..], &bytes].concat();
        if stream.write_all(&framed).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
