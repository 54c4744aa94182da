//! Memory of `weir-agent proxy` after a burst: what many connections needed goes back to the
//! system once they have left.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use weir_tests::{ports, running::Running};

const AGENT: &str = env!("CARGO_BIN_EXE_weir-agent");
/// What may stay, KiB.
const MORE: u64 = 4 * 1024;
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections that are in the middle of something at the same time.
const BUSY: usize = 1000;
/// Connections that are open at the same time.
const IDLE: usize = 5000;
/// Body of a busy request.
const BODY: usize = 64 * 1024;
/// `GET /` for `h` on the first stream, behind the preface and empty SETTINGS.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\
    \0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01h";

struct Agent {
    running: Running,
    address: SocketAddr,
}

impl Agent {
    fn start(upstream: SocketAddr) -> Self {
        let address = ports::free();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bootstrap.yaml");
        fs::write(&file, bootstrap(address.port(), upstream)).expect("written");
        let mut command = Command::new(AGENT);
        command.args(["proxy", "--concurrency", "2", "--config"]);
        let started = Running::start(command.arg(&file).stderr(Stdio::piped()));
        let mut running = started.expect("it starts");
        let said = running.stderr.take().expect("piped");
        let mut lines = BufReader::new(said).lines();
        let serving = |line: &Result<String, _>| line.as_ref().is_ok_and(|l| l.contains("serving"));
        assert!(lines.any(|line| serving(&line)), "it serves");
        thread::spawn(move || lines.for_each(drop));
        Self { running, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream
    }

    /// Resident memory, KiB.
    fn resident(&self) -> u64 {
        self.running.memory("VmRSS").expect("it runs")
    }
}

fn bootstrap(port: u16, upstream: SocketAddr) -> String {
    format!(
        r#"
static_resources:
  listeners:
  - name: web
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          codec_type: AUTO
          route_config:
            virtual_hosts:
            - {{ name: any, domains: ["*"], routes: [ {{ match: {{ prefix: / }}, route: {{ cluster: up }} }} ] }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: up
    type: STATIC
    load_assignment:
      cluster_name: up
      endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }} }} ] }} ]
"#,
        upstream.port()
    )
}

/// Answers each request with as many bytes as its length says, once they are all there.
fn upstream() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = socket.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in socket.incoming().flatten() {
            let serve = thread::Builder::new().stack_size(64 * 1024);
            serve.spawn(move || answer(&stream)).expect("a thread");
        }
    });
    address
}

fn answer(stream: &TcpStream) {
    let mut stream = stream;
    let mut reader = BufReader::with_capacity(4096, stream);
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
        let lower = line.to_ascii_lowercase();
        if let Some(number) = lower.strip_prefix("content-length:") {
            length = number.trim().parse().expect("a number");
        }
        if line == "\r\n" {
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            let sent = stream.write_all(head.as_bytes());
            if sent.and_then(|()| stream.write_all(&body)).is_err() {
                return;
            }
            length = 0;
        }
        line.clear();
    }
}

/// Reads a response of HTTP/1 to its end.
fn read_response(stream: &TcpStream) {
    let mut reader = BufReader::with_capacity(4096, stream);
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        assert!(reader.read_line(&mut line).expect("a response") > 0);
        if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().expect("a number");
        }
        if line == "\r\n" {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length]).expect("the body");
}

/// Reads frames until a stream has ended.
fn read_stream(mut stream: &TcpStream) {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).expect("its payload");
        let ends = matches!(head[3], 0 | 1) && head[4] & 1 != 0;
        if ends {
            return;
        }
    }
}

/// Many requests at a time, all half sent before any is finished.
fn be_busy(agent: &Agent) {
    let body = vec![b'x'; BODY];
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {BODY}\r\n\r\n");
    let all: Vec<_> = (0..BUSY)
        .map(|_| {
            let mut stream = agent.connect();
            stream.write_all(head.as_bytes()).expect("sent");
            stream.write_all(&body[..BODY / 2]).expect("sent");
            stream
        })
        .collect();
    for mut stream in &all {
        stream.write_all(&body[BODY / 2..]).expect("sent");
    }
    all.iter().for_each(read_response);
}

/// Many connections of both versions, each used once.
fn be_idle(agent: &Agent) {
    let all: Vec<_> = (0..IDLE)
        .map(|index| {
            let mut stream = agent.connect();
            if index % 2 == 0 {
                stream
                    .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                    .expect("sent");
                read_response(&stream);
            } else {
                stream.write_all(HTTP2).expect("sent");
                read_stream(&stream);
            }
            stream
        })
        .collect();
    drop(all);
}

#[test]
fn memory_goes_back_once_connections_have_left() {
    let agent = Agent::start(upstream());
    // What the first request needs is not what is looked for.
    let mut stream = agent.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .expect("sent");
    read_response(&stream);
    let mut other = agent.connect();
    other.write_all(HTTP2).expect("sent");
    read_stream(&other);
    drop((stream, other));
    let idle = agent.resident();
    for name in ["busy", "idle"] {
        match name {
            "busy" => be_busy(&agent),
            _ => be_idle(&agent),
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = agent.resident();
            if now <= idle + MORE {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "after {name} connections {now} KiB, {idle} before"
            );
            thread::sleep(Duration::from_millis(500));
        }
    }
}
