//! Envoy and `weir-agent proxy`, each with addresses of its own, and what is to be seen of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    case::{Case, Variant},
    control_plane::ControlPlane,
    endpoint,
    seen::{self, Seen},
};

/// A proxy with all cases on a busy machine serves within it.
const START: Duration = Duration::from_secs(60);
/// How long a line of a log, or a request to the control plane, may take.
const LATER: Duration = Duration::from_secs(3);
/// Answers of a proxy whose resources have not come.
const NOT_YET: [&str; 2] = ["HTTP/1.1 404", "HTTP/1.1 503"];
const POLL: Duration = Duration::from_millis(20);
/// Below the ports that a kernel gives out by itself.
const ADMIN: u16 = 9000;
const FIRST_PORT: u16 = 10_000;

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Envoy,
    Weir,
}

/// How far a process has to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    Ready,
    /// It may wait for a control plane.
    Runs,
}

/// A running proxy with some variants; killed when dropped.
pub(crate) struct Proxy {
    ip: Ipv4Addr,
    /// Where nothing listens unless a case has it so.
    other_ip: Ipv4Addr,
    child: Child,
    control_plane: ControlPlane,
    directory: TempDir,
    ports: BTreeMap<String, u16>,
}

/// An address of loopback that only one proxy uses, so that every port of it is free.
fn own_ip() -> Ipv4Addr {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id() % 8192;
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 64, 0, 0)) + (process << 8) + count % 255)
}

// === impl Proxy ===

impl Proxy {
    /// Starts it with all variants in one configuration.
    ///
    /// # Errors
    /// It refuses the configuration, with what it says of it.
    pub(crate) fn start(kind: Kind, variants: &[&Variant], until: Until) -> Result<Self, String> {
        let (ip, other_ip) = (own_ip(), own_ip());
        let control_plane = ControlPlane::start(IpAddr::V4(ip));
        let directory = tempfile::tempdir().expect("a directory");
        let endpoints = endpoint::NAMES.map(|name| (name, endpoint::start(name, IpAddr::V4(ip))));
        let mut ports = BTreeMap::new();
        let mut complete = |variant: &Variant| {
            let port = FIRST_PORT + u16::try_from(ports.len()).expect("few");
            ports.insert(variant.id.clone(), port);
            let fill = |tree: &Value| {
                let mut text = tree.to_string();
                for (name, address) in &endpoints {
                    text = place_endpoint(&text, name, *address);
                }
                text = place_endpoint(&text, "GONE", (ip, 1).into());
                text = place_endpoint(&text, "ADS", control_plane.address);
                let text = text
                    .replace("@ID@", &variant.id)
                    .replace("@LOG@", &log_of(&directory, &variant.id))
                    .replace("@IP@", &ip.to_string())
                    .replace("@IP2@", &other_ip.to_string())
                    .replace("\"@PORT@\"", &port.to_string())
                    .replace("\"@ADMIN@\"", &ADMIN.to_string());
                serde_json::from_str::<Value>(&text).expect("JSON")
            };
            let ads: Vec<Value> = variant.ads.iter().map(&fill).collect();
            control_plane.has(&ads);
            fill(&variant.bootstrap)
        };
        let all: Vec<Value> = variants.iter().map(|it| complete(it)).collect();
        let bootstrap = match variants {
            [_] => all.into_iter().next().expect("one"),
            _ => together(all, ip, control_plane.address),
        };
        let output = |name| File::create(directory.path().join(name)).expect("a file");
        let file = directory.path().join("bootstrap.json");
        fs::write(&file, bootstrap.to_string()).expect("written");
        let mut command = kind.command();
        let child = command
            .arg(&file)
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .stdin(Stdio::null())
            .spawn()
            .expect("the proxy starts");
        let mut proxy = Self {
            ip,
            other_ip,
            child,
            control_plane,
            directory,
            ports,
        };
        proxy.wait(until)?;
        Ok(proxy)
    }

    /// Everything that the case looks at, unless the process has ended meanwhile.
    pub(crate) fn see_alone(&mut self, case: &Case, variant: &Variant) -> Result<Seen, String> {
        let seen = self.see(case, variant);
        self.runs().map(|()| seen)
    }

    /// Everything that the case looks at.
    pub(crate) fn see(&self, case: &Case, variant: &Variant) -> Seen {
        let to = SocketAddr::from((self.ip, self.ports[&variant.id]));
        let mut seen = Vec::new();
        for _ in 0..case.times {
            for text in &case.send {
                let bytes = seen::request(&text.replace("@ID@", &variant.id));
                match case.clients {
                    None => seen.extend(self.exchange(case, to, &bytes)),
                    Some(clients) => {
                        let clients = 2..clients + 2;
                        seen.extend(clients.flat_map(|it| seen::endpoint_of(it, to, &bytes)));
                    }
                }
            }
        }
        if case.times > 1 {
            seen.sort();
            seen.dedup();
        }
        let look = &case.look;
        if look.log {
            let log = log_of(&self.directory, &variant.id);
            seen.extend(later(|| seen::lines(&read(Path::new(&log)))));
        }
        for stat in &look.stats {
            let name = stat.replace("@ID@", &variant.id);
            let page = self.admin(&format!("/stats?filter=^{}$", name.replace('.', "\\.")));
            seen.extend(page.into_iter().filter(|line| line.starts_with(&name)));
        }
        if let Some(page) = &look.admin {
            let lines = self.admin(page).into_iter();
            let lines = lines.filter(|line| line.contains(&variant.id) || case.is_own());
            let lines = lines.filter(|line| line.contains(&look.lines));
            // How deep a line stands, and how often, is not what it says.
            let lines: BTreeSet<String> = lines.map(|line| line.trim().to_owned()).collect();
            seen.extend(lines);
        }
        if look.ads {
            seen.extend(later(|| self.control_plane.asked()));
        }
        if look.output {
            for stream in ["stdout", "stderr"] {
                let path = self.directory.path().join(stream);
                let said = later(|| {
                    let lines = seen::lines(&read(&path)).into_iter();
                    lines.filter(|line| line.contains(&variant.id)).collect()
                });
                seen.extend(said.into_iter().map(|line| format!("{stream} {line}")));
            }
        }
        let own = [
            (variant.id.as_str(), "ID"),
            (&self.ip.to_string(), "IP"),
            (&self.other_ip.to_string(), "IP2"),
        ];
        let named = seen.into_iter().map(|line| {
            own.iter()
                .fold(line, |line, (from, to)| line.replace(from, to))
        });
        named.collect()
    }

    /// Where resources come from a control plane, they may come a moment after the process is ready.
    fn exchange(&self, case: &Case, to: SocketAddr, bytes: &[u8]) -> Seen {
        let deadline = Instant::now() + LATER;
        loop {
            let seen = seen::exchange(Ipv4Addr::LOCALHOST, to, bytes);
            let has_come = !seen
                .iter()
                .any(|line| NOT_YET.iter().any(|it| line.starts_with(it)));
            if case.ads.is_empty() || has_come || Instant::now() > deadline {
                return seen;
            }
            thread::sleep(POLL);
        }
    }

    /// A page of the admin interface, which may take its time on a busy machine.
    fn admin(&self, path: &str) -> Seen {
        let deadline = Instant::now() + LATER;
        loop {
            match get((self.ip, ADMIN).into(), path) {
                None if Instant::now() < deadline => thread::sleep(POLL),
                page => return seen::lines(&page.unwrap_or_default()),
            }
        }
    }

    /// An error with its last words, if it has ended.
    fn runs(&mut self) -> Result<(), String> {
        let Some(status) = self.child.try_wait().expect("its status") else {
            return Ok(());
        };
        let said = read(&self.directory.path().join("stderr"));
        Err(format!("{status}: {said}"))
    }

    fn wait(&mut self, until: Until) -> Result<(), String> {
        let deadline = Instant::now() + START;
        let first = self.ports.values().next().copied().unwrap_or(ADMIN);
        loop {
            self.runs()?;
            let admin = SocketAddr::from((self.ip, ADMIN));
            let has_admin = TcpStream::connect(admin).is_ok();
            let serves = match until {
                Until::Ready if has_admin => {
                    get(admin, "/ready").is_some_and(|it| it.contains("LIVE"))
                }
                Until::Ready => TcpStream::connect((self.ip, first)).is_ok(),
                Until::Runs => has_admin,
            };
            if serves {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err("it does not serve in time".to_owned());
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Kind ===

impl Kind {
    fn command(self) -> Command {
        match self {
            Self::Envoy => {
                let mut command = Command::new("envoy");
                // One machine, several tests: shared memory regions must not collide.
                command.args(["--disable-hot-restart", "--concurrency", "1", "-l", "error"]);
                command.args(["--file-flush-interval-msec", "20", "-c"]);
                command
            }
            Self::Weir => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_weir-agent"));
                command.args(["proxy", "--concurrency", "1", "--config"]);
                command
            }
        }
    }
}

/// One configuration of many.
fn together(all: Vec<Value>, ip: Ipv4Addr, control_plane: SocketAddr) -> Value {
    let (mut listeners, mut clusters) = (Vec::new(), Vec::new());
    for bootstrap in all {
        let resources = &bootstrap["static_resources"];
        listeners.extend(
            resources["listeners"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
        );
        clusters.extend(
            resources["clusters"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
        );
    }
    let ads: Value =
        serde_json::from_str(&place_endpoint("\"@ADS@\"", "ADS", control_plane)).expect("JSON");
    clusters.push(json!({
        "name": "ads", "type": "STATIC", "connect_timeout": "1s", "http2_protocol_options": {},
        "load_assignment": {"cluster_name": "ads", "endpoints": [{"lb_endpoints": [ads]}]},
    }));
    let service = json!({"envoy_grpc": {"cluster_name": "ads"}});
    json!({
        "node": {"id": "all", "cluster": "cases"},
        "admin": {"address": {"socket_address": {"address": ip, "port_value": ADMIN}}},
        "static_resources": {"listeners": listeners, "clusters": clusters},
        "dynamic_resources": {"ads_config": {
            "api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [service],
        }},
    })
}

/// `@NAME@` is an endpoint, `@AT:NAME@` its address.
fn place_endpoint(text: &str, name: &str, at: SocketAddr) -> String {
    let address = json!({"socket_address": {"address": at.ip(), "port_value": at.port()}});
    let endpoint = json!({"endpoint": {"address": address}}).to_string();
    text.replace(&format!("\"@{name}@\""), &endpoint)
        .replace(&format!("\"@AT:{name}@\""), &address.to_string())
}

fn log_of(directory: &TempDir, id: &str) -> String {
    directory.path().join(id).display().to_string()
}

/// The lines, once there are any, or none after a while.
fn later(lines: impl Fn() -> Seen) -> Seen {
    let deadline = Instant::now() + LATER;
    let (mut before, mut quiet) = (Vec::new(), 0);
    loop {
        let now = lines();
        quiet = if now == before && !now.is_empty() {
            quiet + 1
        } else {
            0
        };
        // What belongs together comes together, but not in one write.
        if quiet > 10 || Instant::now() > deadline {
            return now;
        }
        before = now;
        thread::sleep(POLL);
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The body of a page.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(START)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let is_chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    Some(if is_chunked {
        dechunk(body)
    } else {
        body.to_owned()
    })
}

fn dechunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let Some(chunk) = usize::from_str_radix(size, 16)
            .ok()
            .and_then(|it| after.get(..it))
        else {
            break;
        };
        body.push_str(chunk);
        rest = after.get(chunk.len() + 2..).unwrap_or_default();
    }
    body
}
