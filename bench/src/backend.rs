//! What the proxies forward to, in the server pod: nginx, and a TCP server of our own.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    load::until_connected,
    pods::{Pods, SERVER},
    process::Process,
    scenario::Protocol,
};

pub(crate) mod tcp;

const BODY: &str = "hello from the backend of the benchmark\n";

/// Runs until dropped.
#[derive(Debug)]
pub(crate) struct Backend {
    _nginx: Process,
}

// === impl Backend ===

impl Backend {
    pub(crate) fn start(pods: &Pods, directory: &Path) -> Result<Self> {
        let log = directory.join("nginx.log");
        let config = directory.join("nginx.conf");
        fs::write(&config, nginx(directory)).context("nginx.conf")?;
        let body = fs::File::create(directory.join("1mib")).context("1mib")?;
        (&body).write_all(&vec![b'x'; 1 << 20]).context("1mib")?;
        let child = pods.as_server(|| {
            let mut command = Command::new("nginx");
            command.arg("-c").arg(&config).arg("-e").arg(&log);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            Ok(command.spawn()?)
        });
        let mut nginx = Process::new(child.context("nginx (Debian: apt-get install nginx)")?);
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let port = protocol.direct_port();
            let connected = pods.as_server(|| until_connected(SERVER, port, || nginx.is_alive()));
            if connected.is_err() {
                bail!("nginx: {}", fs::read_to_string(&log).unwrap_or_default());
            }
        }
        for port in Protocol::Tcp.ports() {
            pods.as_server(|| tcp::serve((SERVER, port)))?;
        }
        Ok(Self { _nginx: nginx })
    }
}

fn nginx(directory: &Path) -> String {
    let directory = directory.display();
    let (http1, http2) = (Protocol::Http1, Protocol::Http2);
    let server = |protocol: Protocol, version: &str| {
        let listen = protocol
            .ports()
            .map(|port| format!("listen {port}{version};"));
        format!(
            "server {{
                {listen}
                location / {{ return 200 '{BODY}'; }}
                location /1mib {{ alias {directory}/1mib; }}
                location /grpc {{
                    default_type application/grpc;
                    add_trailer grpc-status 0;
                    return 200 'twelve bytes';
                }}
            }}\n",
            listen = listen.collect::<String>(),
        )
    };
    format!(
        "daemon off; master_process off; pid {directory}/nginx.pid;
        events {{ worker_connections 32768; }}
        http {{
            access_log off; default_type text/plain; tcp_nodelay on; sendfile on;
            client_body_temp_path {directory}; proxy_temp_path {directory};
            fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};
            keepalive_requests 1000000000; keepalive_timeout 1h;
            http2_max_concurrent_streams 1000;
            {}{}
        }}\n",
        server(http1, ""),
        server(http2, " http2"),
    )
}
