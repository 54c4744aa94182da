//! Reads ports that listen on a pod's loopback only, such as a sidecar's admin port.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use weir_api::ports;

use crate::{
    error::{Error, Result},
    netns,
};

/// How long the admin port gets for each step.
const LIMIT: Duration = Duration::from_secs(2);

/// `GET path` at the admin port of the pod whose network namespace is `netns`.
///
/// # Errors
/// If nobody answers there, or not with status 200.
pub fn get(netns: &str, path: &str) -> Result<String> {
    get_from(netns, ports::ADMIN, path)
}

/// `GET path` at a port of the pod whose network namespace is `netns`.
///
/// # Errors
/// If nobody answers there, or not with status 200.
pub fn get_from(netns: &str, port: u16, path: &str) -> Result<String> {
    let path = path.to_owned();
    netns::within(netns, move || fetch(port, &path))?
        .map_err(Error::system(format!("read port {port} of {netns}")))
}

fn fetch(port: u16, path: &str) -> std::io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    // HTTP/1.0, so that the answer is neither chunked nor followed by another.
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nhost: localhost:{port}\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> std::io::Result<String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or_else(|| std::io::Error::other("the answer is not HTTP"))?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status == "200" {
        Ok(body.to_owned())
    } else {
        Err(std::io::Error::other(format!(
            "status {status}: {}",
            body.trim()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_body_or_an_error() {
        assert_eq!(
            parse(b"HTTP/1.0 200 OK\r\na: b\r\n\r\ntext\n").expect("body"),
            "text\n"
        );
        assert!(parse(b"HTTP/1.0 404 Not Found\r\n\r\nno").is_err());
        assert!(parse(b"").is_err());
    }
}
