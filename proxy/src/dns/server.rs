//! One server of names: a question over UDP, over TCP where the answer is too long.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hickory_proto::rr::{Name, RecordType};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

use super::message::{Heard, Reply, hear, question};
use crate::config::dns::DnsResolver;

/// A server that has said nothing for so long says nothing.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);

/// Asks. It waits for as long as nothing comes: who calls bounds it.
pub(super) async fn ask(
    server: SocketAddr,
    what: (&Name, RecordType),
    config: &DnsResolver,
) -> io::Result<Reply> {
    for payload in [Some(config.max_payload), None] {
        let heard = match config.tcp {
            true => over_tcp(server, what, payload).await?,
            false => match over_udp(server, what, payload).await? {
                Heard::Truncated => over_tcp(server, what, payload).await?,
                heard => heard,
            },
        };
        match heard {
            Heard::Reply(reply) => return Ok(reply),
            Heard::NoEdns => {}
            Heard::Truncated | Heard::Foreign => {
                return Ok(Reply::Failed("with nonsense".to_owned()));
            }
        }
    }
    Ok(Reply::Failed(
        "that it does not know such questions".to_owned(),
    ))
}

/// Anything that does not answer the question is passed over, since anybody may have sent it. The
/// kernel lets through what comes from the server alone.
async fn over_udp(
    server: SocketAddr,
    what: (&Name, RecordType),
    payload: Option<u16>,
) -> io::Result<Heard> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    let id = id()?;
    socket.send(&encoded(id, what, payload)?).await?;
    // RFC 1035, 4.2.1: 512 without EDNS.
    let mut buffer = vec![0; usize::from(payload.unwrap_or(512).max(512))];
    loop {
        let read = socket.recv(&mut buffer).await?;
        match hear(buffer.get(..read).unwrap_or_default(), id, what) {
            Heard::Foreign => {}
            heard => return Ok(heard),
        }
    }
}

/// RFC 1035, 4.2.2: each message behind its length.
async fn over_tcp(
    server: SocketAddr,
    what: (&Name, RecordType),
    payload: Option<u16>,
) -> io::Result<Heard> {
    let mut stream = TcpStream::connect(server).await?;
    let id = id()?;
    let question = encoded(id, what, payload)?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend(question);
    stream.write_all(&framed).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(hear(&answer, id, what))
}

fn encoded(id: u16, what: (&Name, RecordType), payload: Option<u16>) -> io::Result<Vec<u8>> {
    question(id, what, payload).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// One that nobody can guess: together with the port, it tells the server's answer from another's.
fn id() -> io::Result<u16> {
    let mut bytes = [0; 2];
    let filled = aws_lc_rs::rand::fill(&mut bytes);
    filled.map_err(|_| io::Error::other("no random numbers"))?;
    Ok(u16::from_be_bytes(bytes))
}
