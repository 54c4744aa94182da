//! The echo application: answers HTTP/1.1, h2c, gRPC health checks, TLS and TCP, and says who
//! called and how. It stands in for any application in a playground.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::Args;
use tokio::net::{TcpListener, TcpStream};

mod auto;
mod grpc;
mod http;
mod identity;
mod tcp;
mod tls;

use identity::{Connection, Identity};

/// Ports to listen on, each flag as often as wanted; HTTP on 8080 if there are none.
#[derive(Debug, Args)]
pub(crate) struct EchoArgs {
    /// HTTP/1.1, h2c and gRPC health checks; `?status=503&delay=50ms` in the query sets the answer
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    http: Vec<u16>,
    /// The same as --http, to say what is meant
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    grpc: Vec<u16>,
    /// TCP: sends back what it gets; the line `who` is answered with who is asked and who asks
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    tcp: Vec<u16>,
    /// TCP where the server speaks first: a line of JSON, then as --tcp
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    server_first: Vec<u16>,
    /// TLS with a self-signed certificate for the name asked for; within it as --auto
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    tls: Vec<u16>,
    /// TLS, HTTP or TCP, by the first bytes
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    auto: Vec<u16>,
    /// Listen on no port, in place of a program that only works or waits
    #[arg(long, hide = true)]
    idle: bool,
    /// Address to listen on; all of them by default
    #[arg(long, default_value_t = IpAddr::V6(Ipv6Addr::UNSPECIFIED), hide_default_value = true)]
    address: IpAddr,
}

/// What a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http,
    Tcp,
    ServerFirst,
    Tls,
    Auto,
}

/// What every connection needs.
struct Echo {
    identity: Arc<Identity>,
    tls: tls::Acceptor,
}

pub(crate) fn run(args: EchoArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: EchoArgs) -> anyhow::Result<ExitCode> {
    let mut ports: Vec<(Protocol, u16)> = Vec::new();
    let mut add = |protocol, list: &[u16]| ports.extend(list.iter().map(|port| (protocol, *port)));
    add(Protocol::Http, &args.http);
    add(Protocol::Http, &args.grpc);
    add(Protocol::Tcp, &args.tcp);
    add(Protocol::ServerFirst, &args.server_first);
    add(Protocol::Tls, &args.tls);
    add(Protocol::Auto, &args.auto);
    if ports.is_empty() && !args.idle {
        ports.push((Protocol::Http, 8080));
    }
    let echo = Arc::new(Echo {
        identity: Arc::new(Identity::from_environment()),
        tls: tls::Acceptor::new()?,
    });
    for (protocol, port) in ports {
        let listener = listen(SocketAddr::new(args.address, port))
            .await
            .with_context(|| format!("cannot listen on port {port} ({protocol:?})"))?;
        tokio::spawn(accept(listener, protocol, Arc::clone(&echo)));
    }
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => result?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Listens on both families where IPv6 is there, else on IPv4.
async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            let v4 = SocketAddr::from(([0, 0, 0, 0], address.port()));
            // The first error says more where both fail, as for a port in use.
            TcpListener::bind(v4).await.map_err(|_| error)
        }
        result => result,
    }
}

async fn accept(listener: TcpListener, protocol: Protocol, echo: Arc<Echo>) {
    loop {
        // An error here is that of one connection, gone before it was accepted.
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        tokio::spawn(handle(stream, protocol, Arc::clone(&echo)));
    }
}

async fn handle(stream: TcpStream, protocol: Protocol, echo: Arc<Echo>) {
    let Ok(connection) = Connection::of(&stream) else {
        return;
    };
    let _ = stream.set_nodelay(true);
    // A connection that breaks concerns nobody but its client, who knows.
    let _ = match protocol {
        Protocol::Http => http::serve(stream, connection, &echo.identity).await,
        Protocol::Tcp => tcp::serve(stream, &connection, &echo.identity).await,
        Protocol::ServerFirst => tcp::greet_and_serve(stream, &connection, &echo.identity).await,
        Protocol::Tls => auto::serve_tls(stream, connection, &echo).await,
        Protocol::Auto => auto::serve(stream, connection, &echo).await,
    };
}
