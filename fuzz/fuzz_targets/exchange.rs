//! The exchange: a script of what a client sends, what endpoints answer, and time. Whatever they do,
//! nothing panics, and once both have gone the proxy has ended their connections.
//!
//! An input is a byte that chooses a listener, then steps: a byte that says what, one that says how
//! much, and as many bytes. The proxy is a real one, on loopback; each input has connections of its own.

#![no_main]

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{LazyLock, Mutex},
    thread::sleep,
    time::{Duration, Instant},
};

use libfuzzer_sys::fuzz_target;
use weir_api::xds::json;
use weir_proxy::{convert, handle::Handle, options::Options, server::Server};

/// The longest that anything may take: all time-outs below are far shorter.
const PATIENCE: Duration = Duration::from_secs(9);
/// What may be on its way for so long is there.
const MOMENT: Duration = Duration::from_millis(2);
/// Steps of a script at most.
const STEPS: usize = 64;
/// What begins a connection of HTTP/2: the preface and empty SETTINGS, of which an endpoint sends the latter.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// A proxy and who is behind it.
struct World {
    handle: Handle,
    /// Workers serve for as long as this process lives.
    _server: Mutex<Server>,
    /// In front of an endpoint of HTTP/1, and of one of HTTP/2.
    listeners: [SocketAddr; 2],
    endpoints: [TcpListener; 2],
}

/// One run of a script.
struct Play<'w> {
    world: &'w World,
    /// Which of the two.
    at: usize,
    client: TcpStream,
    answering: Vec<TcpStream>,
}

// === impl World ===

impl World {
    fn new() -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoints = [bind(), bind()];
        let address = |listener: &TcpListener| listener.local_addr().expect("an address");
        // Taken and given back: nobody else asks for ports here.
        let listeners = [address(&bind()), address(&bind())];
        let yaml = bootstrap(listeners, [address(&endpoints[0]), address(&endpoints[1])]);
        let message = json::read_bootstrap(&yaml).expect("a bootstrap");
        let config = convert::bootstrap(message.clone()).expect("what is supported");
        let server = Server::start(&config, Options::new(message)).expect("free ports");
        let handle = server.handle();
        for endpoint in &endpoints {
            endpoint.set_nonblocking(true).expect("a socket");
        }
        Self {
            handle,
            _server: Mutex::new(server),
            listeners,
            endpoints,
        }
    }
}

// === impl Play ===

impl<'w> Play<'w> {
    fn new(world: &'w World, first: u8) -> Self {
        let at = usize::from(first & 1);
        let mut client = TcpStream::connect(world.listeners[at]).expect("it listens");
        client.set_nonblocking(true).expect("a socket");
        if first & 2 != 0 {
            let _ = client.write_all(&[PREFACE, SETTINGS].concat());
        }
        Self {
            world,
            at,
            client,
            answering: Vec::new(),
        }
    }

    /// Takes whoever calls the endpoint.
    fn accept(&mut self) {
        while let Ok((mut stream, _)) = self.world.endpoints[self.at].accept() {
            stream.set_nonblocking(true).expect("a socket");
            if self.at == 1 {
                let _ = stream.write_all(SETTINGS);
            }
            self.answering.push(stream);
        }
    }

    /// One step.
    fn step(&mut self, what: u8, bytes: &[u8]) {
        match what % 8 {
            0 | 1 => drop(self.client.write(bytes)),
            2..=4 => {
                let deadline = Instant::now() + MOMENT;
                while self.answering.is_empty() && Instant::now() < deadline {
                    self.accept();
                    sleep(MOMENT / 8);
                }
                if let Some(endpoint) = self.answering.last_mut() {
                    let _ = endpoint.write(bytes);
                }
            }
            5 => sleep(MOMENT * (u32::from(what) / 8)),
            6 => drop(self.answering.pop()),
            _ => drop(self.client.shutdown(Shutdown::Write)),
        }
        self.accept();
        read(&mut self.client);
        for endpoint in &mut self.answering {
            read(endpoint);
        }
    }

    /// Everybody goes.
    fn end(mut self) {
        self.answering.clear();
        let _ = self.client.shutdown(Shutdown::Write);
        let deadline = Instant::now() + PATIENCE;
        while !read(&mut self.client) {
            assert!(Instant::now() < deadline, "the client's connection stays");
            self.accept();
            self.answering.clear();
            sleep(MOMENT / 8);
        }
        drop(self.client);
        while self.world.handle.active_connections() > 0 {
            assert!(Instant::now() < deadline, "a connection stays");
            sleep(MOMENT / 8);
        }
        assert_eq!(self.world.handle.panics(), 0);
    }
}

/// Reads what there is. Whether that is the end.
fn read(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => return true,
        }
    }
}

fn bootstrap(listeners: [SocketAddr; 2], endpoints: [SocketAddr; 2]) -> String {
    let socket = |address: SocketAddr| {
        format!(
            "{{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }}",
            address.port()
        )
    };
    let listener = |name: &str, address| {
        LISTENER
            .replace("NAME", name)
            .replace("ADDRESS", &socket(address))
    };
    let cluster = |name: &str, address, options: &str| {
        let cluster = CLUSTER
            .replace("NAME", name)
            .replace("ADDRESS", &socket(address));
        cluster.replace("OPTIONS", options)
    };
    [
        "static_resources:\n  listeners:\n".to_owned(),
        listener("one", listeners[0]),
        listener("two", listeners[1]),
        "  clusters:\n".to_owned(),
        cluster("one", endpoints[0], ""),
        cluster("two", endpoints[1], "http2_protocol_options: {}"),
    ]
    .concat()
}

const LISTENER: &str = "
  - name: NAME
    address: ADDRESS
    filter_chains:
    - filters:
      - name: http
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: NAME
          stream_idle_timeout: 0.3s
          request_timeout: 0.3s
          request_headers_timeout: 0.3s
          drain_timeout: 0.05s
          common_http_protocol_options: { idle_timeout: 0.3s }
          upgrade_configs: [{ upgrade_type: websocket }]
          access_log:
          - name: log
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: /dev/null
          route_config:
            virtual_hosts:
            - name: all
              domains: ['*']
              routes:
              - match: { prefix: /local }
                direct_response: { status: 200, body: { inline_string: here } }
              - match: { prefix: /retry }
                route:
                  cluster: NAME
                  timeout: 0.2s
                  retry_policy: { retry_on: '5xx,reset', num_retries: 2, per_try_timeout: 0.05s, retry_back_off: { base_interval: 0.001s } }
              - match: { prefix: /copy }
                route: { cluster: NAME, timeout: 0.2s, request_mirror_policies: [{ cluster: NAME }] }
              - match: { prefix: / }
                route: { cluster: NAME, timeout: 0.2s }
          http_filters:
          - name: buffer
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer
              max_request_bytes: 300
            disabled: true
          - name: router
            typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
";

const CLUSTER: &str = "
  - name: NAME
    connect_timeout: 0.1s
    common_http_protocol_options: { idle_timeout: 0.3s }
    OPTIONS
    load_assignment:
      cluster_name: NAME
      endpoints: [{ lb_endpoints: [{ endpoint: { address: ADDRESS } }] }]
";

fuzz_target!(|data: &[u8]| {
    let Some((&first, mut left)) = data.split_first() else {
        return;
    };
    let mut play = Play::new(&WORLD, first);
    for _ in 0..STEPS {
        let [what, length, rest @ ..] = left else {
            break;
        };
        let (bytes, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        play.step(*what, bytes);
        left = rest;
    }
    play.end();
});
