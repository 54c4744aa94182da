//! What a proxy answers, in a form that can be compared.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

/// How long a proxy may be silent before its answer counts as complete: longer than the upstream
/// sleeps and than Envoy waits before it closes what it has refused.
const SILENCE: Duration = Duration::from_millis(1200);

/// Headers whose values cannot be equal.
const VARYING: [&str; 4] = [
    "date",
    "x-envoy-upstream-service-time",
    "x-request-id",
    "x-weir-reason",
];

/// The lines of an answer: status lines, headers in alphabetical order, bodies.
pub(crate) struct Answer(Vec<String>);

impl Answer {
    /// Sends `bytes` and reads until the proxy closes or falls silent.
    pub(crate) fn get(port: u16, bytes: &[u8]) -> Self {
        let mut stream =
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the proxy listens");
        stream.set_read_timeout(Some(SILENCE)).expect("a timeout");
        // A proxy that refuses early may close before everything is written.
        let _ = stream.write_all(bytes);
        let (mut answer, mut part) = (Vec::new(), [0; 65536]);
        while let Ok(n) = stream.read(&mut part) {
            answer.extend_from_slice(&part[..n]);
            if n == 0 || is_complete(&answer, bytes) {
                break;
            }
        }
        Self(lines(&answer))
    }

    /// The lines that `other` does not have.
    pub(crate) fn beyond(&self, other: &Self) -> Vec<String> {
        self.0
            .iter()
            .filter(|line| !other.0.contains(line))
            .cloned()
            .collect()
    }
}

/// Replaces `@TEXT*N@` by TEXT N times.
pub(crate) fn expand(text: &str) -> Vec<u8> {
    let mut out = String::new();
    for (index, part) in text.split('@').enumerate() {
        match part.rsplit_once('*') {
            Some((text, count)) if index % 2 == 1 => {
                out.push_str(&text.repeat(count.parse().expect("a count")));
            }
            _ => out.push_str(part),
        }
    }
    out.into_bytes()
}

/// Whether as many whole responses have come as requests were sent, so that no silence need be
/// waited for.
fn is_complete(answer: &[u8], sent: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let heads = String::from_utf8_lossy(sent)
        .matches(" HTTP/1.1\r\n")
        .count()
        .max(1);
    let (mut rest, mut responses) = (&*text, 0);
    while let Some((head, body)) = rest.split_once("\r\n\r\n") {
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        let Some(length) = length else { return false };
        if head.starts_with("HTTP/1.1 1") || sent.starts_with(b"HEAD") || body.len() < length {
            return false;
        }
        responses += 1;
        rest = body.get(length..).unwrap_or_default();
    }
    responses >= heads && rest.is_empty()
}

fn lines(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    let (mut lines, mut rest) = (Vec::new(), &*text);
    while rest.starts_with("HTTP/1.") {
        let Some((head, after)) = rest.split_once("\r\n\r\n") else {
            break;
        };
        let mut headers = head.split("\r\n");
        lines.extend(headers.next().map(str::to_owned));
        let mut headers: Vec<String> = headers.filter_map(header).collect();
        headers.sort();
        lines.append(&mut headers);
        // The next head begins where a body of printable lines ends.
        let end = after
            .find("HTTP/1.1 ")
            .filter(|at| lines_end_before(after, *at));
        let body = end.map_or(after, |end| &after[..end]);
        if !body.is_empty() {
            lines.push(format!("body {}", dechunk(body, head)));
        }
        rest = &after[body.len()..];
    }
    if !rest.is_empty() {
        lines.push(format!("not HTTP: {rest:?}"));
    }
    lines
}

fn lines_end_before(text: &str, at: usize) -> bool {
    at == 0 || text[..at].ends_with('\n') && !text[..at].ends_with("GET /echo HTTP/1.1\n")
}

fn header(line: &str) -> Option<String> {
    let (name, value) = line.split_once(':')?;
    let name = name.to_ascii_lowercase();
    (!VARYING.contains(&name.as_str())).then(|| format!("{name}: {}", value.trim()))
}

/// A chunked body without its framing, which may differ.
fn dechunk(body: &str, head: &str) -> String {
    if !head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        return format!("{body:?}");
    }
    let (mut out, mut rest) = (String::new(), body);
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = size.split(';').next().unwrap_or_default();
        let Ok(size) = usize::from_str_radix(size, 16) else {
            break;
        };
        out.push_str(after.get(..size).unwrap_or(after));
        rest = after.get(size + 2..).unwrap_or_default();
    }
    format!("chunked {out:?}")
}
