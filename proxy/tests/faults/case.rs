//! A case: what a client and an endpoint do, and what each of them must see of the other.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    peer::{self, Endpoint},
    proxy::{Config, Upstream},
};

/// Far beyond what anything here takes: a hang fails instead of lasting.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a peer does, in order. Its first step says which version of HTTP it speaks.
pub(crate) type Script = &'static [Step];
/// Names and values.
pub(crate) type Fields = &'static [(&'static str, &'static str)];

/// A step of a peer. What stands between two waits leaves in one write.
///
/// An endpoint begins once it has read a whole request, and plays its script for each.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// HTTP/1: these bytes.
    Bytes(&'static str),
    /// HTTP/2, what follows: on this stream. A client begins with 1, an endpoint with the stream of
    /// the request.
    On(u32),
    /// HTTP/2: a section of fields, after which more follows.
    Head(Fields),
    /// HTTP/2: a section of fields that ends the stream.
    Last(Fields),
    /// HTTP/2: a section of fields that ends the stream, in so many frames.
    Cut(Fields, usize),
    /// HTTP/2: payload, after which more follows.
    Data(&'static str),
    /// HTTP/2: payload that ends the stream.
    LastData(&'static str),
    /// HTTP/2: RST_STREAM with this code.
    Reset(u32),
    /// HTTP/2: GOAWAY with the highest stream there can be, and this code.
    GoAway(u32),
    /// An endpoint, as its first step: begins once it has read a request's head.
    AtHead,
    /// Waits until the peer has sent so many heads (1xx too, and requests of all streams).
    Heads(usize),
    /// Closes the connection.
    Close,
}

/// A case, run for each of its clients with each of its endpoints.
///
/// What a peer sees is one line for each thing, messages apart by `---`:
/// `200` or `GET /path`, `name: value` (`host` whether it is a field or `:authority`),
/// `body: text`, `trailer name: value`, and at last `whole`, `cut`, `reset <code>`, or `open` if
/// nothing more came. `nothing` stands for no message at all.
///
/// What it must see are alternatives, any of which will do; none at all: whatever it sees. Each is
/// a list of lines that must be there; `!text`: no line begins so; `~text`, `!~text`: the bytes of
/// the connection have, or have not, this text. Messages beyond the first must be asked for by
/// `---`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Fields of the HTTP connection manager, each behind a comma.
    pub(crate) manager: &'static str,
    /// Fields of the cluster, each behind a comma.
    pub(crate) cluster: &'static str,
    pub(crate) clients: &'static [Script],
    pub(crate) endpoints: &'static [Script],
    pub(crate) client_sees: &'static [&'static [&'static str]],
    pub(crate) endpoint_sees: &'static [&'static [&'static str]],
}

/// A plain request's fields in HTTP/2.
pub(crate) const GET_FIELDS: Fields = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "h.example"),
];
/// A plain request in both versions.
pub(crate) const GET: &[Script] = &[HTTP1_GET[0], HTTP2_GET[0]];
/// A plain request of HTTP/1.
pub(crate) const HTTP1_GET: &[Script] =
    &[&[Step::Bytes("GET / HTTP/1.1\r\nHost: h.example\r\n\r\n")]];
/// A plain request of HTTP/2.
pub(crate) const HTTP2_GET: &[Script] = &[&[Step::Last(GET_FIELDS)]];
/// A plain response in both versions.
pub(crate) const OK: &[Script] = &[HTTP1_OK[0], HTTP2_OK[0]];
/// A plain response of HTTP/1.
pub(crate) const HTTP1_OK: &[Script] = &[&[Step::Bytes(
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
)]];
/// A plain response of HTTP/2.
pub(crate) const HTTP2_OK: &[Script] =
    &[&[Step::Head(&[(":status", "200")]), Step::LastData("ok")]];

// === impl Case ===

impl Case {
    /// A plain request, a plain response, and whatever may come of them.
    pub(crate) const PLAIN: Self = Self {
        name: "",
        manager: "",
        cluster: "",
        clients: GET,
        endpoints: OK,
        client_sees: &[],
        endpoint_sees: &[],
    };

    /// Runs the case over all pairs. Says what went wrong.
    pub(crate) async fn run(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for client in self.clients {
            for endpoint in self.endpoints {
                wrong.extend(self.run_pair(client, endpoint).await);
            }
        }
        wrong
    }

    async fn run_pair(&self, client: Script, script: Script) -> Vec<String> {
        let version = match peer::speaks_http2(script) {
            true => Upstream::Http2,
            false => Upstream::Http1,
        };
        let endpoint = Endpoint::start(script).await;
        let mut config = Config::routes("{ match: { prefix: / }, route: { cluster: up } }");
        config = config.cluster("up", version, endpoint.address, self.cluster);
        config.manager = self.manager;
        let proxy = config.start();
        let mut peer = peer::connect(proxy.address(), client).await;
        let _ = timeout(PATIENCE, peer.play(client)).await;
        let _ = timeout(PATIENCE, peer.until_answered()).await;
        if client.iter().any(|step| matches!(step, Step::Reset(_))) {
            // It asked for no answer: what matters is what comes of its request.
            let _ = timeout(PATIENCE, endpoint.until_ended()).await;
        }
        let open = peer.lines();
        // What was sent too much comes with the end of the connections.
        drop(proxy);
        let _ = timeout(PATIENCE, peer.until_closed()).await;
        let _ = timeout(PATIENCE, endpoint.until_closed()).await;
        // What was open until the proxy ended was never ended by it.
        let seen = match open.iter().any(|line| line == "open") || open == ["nothing"] {
            true => open,
            false => peer.lines(),
        };
        let who = match (peer::speaks_http2(client), version) {
            (false, Upstream::Http1) => "HTTP/1 to HTTP/1",
            (false, Upstream::Http2) => "HTTP/1 to HTTP/2",
            (true, Upstream::Http1) => "HTTP/2 to HTTP/1",
            (true, Upstream::Http2) => "HTTP/2 to HTTP/2",
        };
        let (requests, raw) = (endpoint.lines(), endpoint.raw());
        let mut wrong = Vec::new();
        for (what, alternatives, seen, raw) in [
            ("the client", self.client_sees, seen, peer.raw()),
            ("the endpoint", self.endpoint_sees, requests, raw),
        ] {
            if !alternatives.is_empty() && !alternatives.iter().any(|one| fits(one, &seen, &raw)) {
                let name = self.name;
                wrong.push(format!(
                    "{name}, {who}: {what} sees {seen:#?} where {alternatives:#?} is right"
                ));
            }
        }
        wrong
    }
}

fn fits(patterns: &[&str], lines: &[String], raw: &str) -> bool {
    let asks_for_more = patterns.contains(&"---");
    let one = asks_for_more || !lines.iter().any(|line| line == "---");
    one && patterns.iter().all(|pattern| {
        if let Some(text) = pattern.strip_prefix("!~") {
            !raw.contains(text)
        } else if let Some(text) = pattern.strip_prefix('~') {
            raw.contains(text)
        } else if let Some(text) = pattern.strip_prefix('!') {
            !lines.iter().any(|line| line.starts_with(text))
        } else {
            lines.iter().any(|line| line == pattern)
        }
    })
}
