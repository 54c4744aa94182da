//! One call, from wherever this runs, and what happened as JSON: the client of the demo.

use std::{
    net::SocketAddr,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::output;

mod http;
mod tcp;
mod tls;

/// A call to make.
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// `http://` (HTTP/1.1), `h2c://`, `grpc://` (health check), `https://` (HTTP/1.1 in TLS), `tls://`
    /// (TCP in TLS), `tcp://` or `first://` (the server speaks first), then `host:port/path`
    url: String,
    /// Header to send, as `name: value`; for HTTP
    #[arg(long, value_name = "HEADER")]
    header: Vec<String>,
    /// Seconds to wait for the whole call
    #[arg(long, default_value_t = 10)]
    timeout: u64,
}

/// What became of a call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// What was called.
    pub(crate) url: String,
    /// Why there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// HTTP or gRPC status; absent for TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// Where the call came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) local: Option<SocketAddr>,
    /// Where the call went to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remote: Option<SocketAddr>,
    /// Time from the first packet to the whole answer, without the name look-up.
    pub(crate) latency_ms: f64,
    /// What the other side said of itself and the caller, if it is the echo application.
    #[serde(default)]
    pub(crate) answer: Value,
    /// The reason the sidecar gives where it answers itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// A parsed URL of the schemes above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    H2c,
    Grpc,
    Https,
    Tls,
    Tcp,
    ServerFirst,
}

pub(crate) fn run(args: &CallArgs) -> anyhow::Result<ExitCode> {
    let target = Target::parse(&args.url)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut outcome = Outcome {
        url: args.url.clone(),
        ..Outcome::default()
    };
    let limit = Duration::from_secs(args.timeout);
    let result = runtime.block_on(async {
        let call = make(&target, &args.header, &mut outcome);
        match tokio::time::timeout(limit, call).await {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("no answer within {} s", args.timeout)),
        }
    });
    outcome.error = result.err().map(|error| format!("{error:#}"));
    output::line(&serde_json::to_string(&outcome)?);
    Ok(if outcome.error.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn make(target: &Target, headers: &[String], outcome: &mut Outcome) -> anyhow::Result<()> {
    let Target { host, port, .. } = target;
    let mut addresses = tokio::net::lookup_host((host.as_str(), *port))
        .await
        .with_context(|| format!("cannot resolve {host}"))?;
    // Pods have one family; a name with both is asked for the one that pods have.
    let address = addresses
        .find(SocketAddr::is_ipv4)
        .with_context(|| format!("{host} has no IPv4 address"))?;
    outcome.remote = Some(address);
    let began = Instant::now();
    let result = exchange(target, headers, address, outcome).await;
    outcome.latency_ms = began.elapsed().as_secs_f64() * 1000.0;
    result
}

async fn exchange(
    target: &Target,
    headers: &[String],
    address: SocketAddr,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    outcome.local = Some(stream.local_addr()?);
    match target.scheme {
        Scheme::Http => http::get(stream, target, headers, outcome).await,
        Scheme::H2c => http::get_h2c(stream, target, headers, outcome).await,
        Scheme::Grpc => http::check_health(stream, target, outcome).await,
        Scheme::Https => {
            http::get(
                tls::connect(stream, target).await?,
                target,
                headers,
                outcome,
            )
            .await
        }
        Scheme::Tls => tcp::ask(tls::connect(stream, target).await?, outcome).await,
        Scheme::Tcp => tcp::ask(stream, outcome).await,
        Scheme::ServerFirst => tcp::listen_and_ask(stream, outcome).await,
    }
}

// === impl Target ===

impl Target {
    pub(crate) fn parse(url: &str) -> anyhow::Result<Self> {
        let (scheme, rest) = url
            .split_once("://")
            .with_context(|| format!("{url:?} has no scheme"))?;
        let (scheme, default_port) = match scheme {
            "http" => (Scheme::Http, Some(80)),
            "h2c" => (Scheme::H2c, Some(80)),
            "grpc" => (Scheme::Grpc, Some(80)),
            "https" => (Scheme::Https, Some(443)),
            "tls" => (Scheme::Tls, Some(443)),
            "tcp" => (Scheme::Tcp, None),
            "first" => (Scheme::ServerFirst, None),
            _ => bail!("{scheme}:// is not one of http, h2c, grpc, https, tls, tcp, first"),
        };
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (
                host,
                port.parse()
                    .with_context(|| format!("{port:?} is not a port"))?,
            ),
            None => (
                authority,
                default_port.with_context(|| format!("{url:?} needs a port"))?,
            ),
        };
        if host.is_empty() {
            bail!("{url:?} names no host");
        }
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        })
    }

    /// Host and port as a `Host` header has them.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_protocol_host_port_and_path() {
        let target = Target::parse("h2c://web.shop:8080/a?b=c").expect("target");
        assert_eq!(target.scheme, Scheme::H2c);
        assert_eq!(
            (target.host.as_str(), target.port, target.path.as_str()),
            ("web.shop", 8080, "/a?b=c")
        );
        assert_eq!(Target::parse("http://web").expect("target").port, 80);
        for bad in [
            "web:80",
            "ftp://web",
            "tcp://web",
            "http://:80",
            "http://web:x",
        ] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
