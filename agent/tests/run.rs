//! `weir-agent run` in a network namespace, with the rules of `weir-agent capture`: traffic goes
//! through, readiness waits for the redirect, and SIGTERM drains.

use std::{
    fs::{self, Permissions},
    io::Write as _,
    net::{TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt as _, process::CommandExt as _},
    },
    process::Command,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use weir_api::{identity, ports, sidecar::READY_PATH};
use weir_process::command::{LIMIT, execute};
use weir_tests::{
    eventually::eventually,
    http,
    netns::{self, NetNs},
    running::Running,
};

const AGENT: &str = env!("CARGO_BIN_EXE_weir-agent");
const PATIENCE: Duration = Duration::from_secs(20);

/// The sidecar, as the user whose own connections the rules leave alone.
struct Sidecar {
    process: Running,
    _folder: TempDir,
}

impl Sidecar {
    fn start(arguments: &[&str]) -> Self {
        // The build's folders may be closed to other users.
        let folder = tempfile::tempdir().expect("folder");
        let open = Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).expect("permissions");
        // By a process of its own: a file open for writing here could not be executed while
        // another test starts a process.
        execute(Command::new("cp").arg(AGENT).arg(folder.path()), "", LIMIT).expect("cp");
        let mut command = Command::new(folder.path().join("weir-agent"));
        command
            .arg("run")
            .args(arguments)
            .args(["--pod-ip", "10.88.0.2"])
            .args(["--pod-ports", r#"[{"name":"http","containerPort":8080}]"#])
            .uid(identity::PROXY_UID)
            .gid(identity::PROXY_GID);
        Self {
            process: Running::start(&mut command).expect("run"),
            _folder: folder,
        }
    }

    fn wait(&mut self) -> Option<i32> {
        self.process.ended(PATIENCE).expect("an end").code()
    }
}

fn agent(arguments: &[&str]) -> bool {
    execute(Command::new(AGENT).args(arguments), "", LIMIT).is_ok()
}

/// Sends a request and gives the head of the answer.
fn exchange(stream: &mut TcpStream, path: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("write");
    let answer = http::read_head(stream).expect("a response");
    answer.expect("a whole one")
}

fn status(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    let answer = exchange(&mut stream, path);
    answer.lines().next().unwrap_or_default().to_owned()
}

fn is_ready() -> bool {
    status(ports::READINESS, READY_PATH).contains(" 200 ")
}

/// Asks again until it is so, for other processes do not tell when it is.
fn until(what: &str, is_so: impl Fn() -> bool) {
    eventually(PATIENCE, || is_so().then_some(())).expect(what);
}

/// An application that answers every request with 200 and no body.
fn application(address: &str) {
    let listener = TcpListener::bind(address).expect("the application's port");
    http::serve(listener, "server: app\r\n", "");
}

#[test]
fn traffic_passes_both_ways_and_sigterm_drains() {
    if !netns::available() {
        return;
    }
    let (pod, peer) = (NetNs::new().expect("new"), NetNs::new().expect("new"));
    pod.link("eth0", &["10.88.0.2/24"], &peer, &["10.88.0.1/24"])
        .expect("link");
    peer.run(|| application("10.88.0.1:9090"));
    pod.run(|| application("0.0.0.0:8080"));
    let mut sidecar = pod.run(|| Sidecar::start(&["--drain-minimum", "0"]));
    let mut outbound = pod.run(|| {
        until("the readiness listener", || {
            TcpStream::connect(("127.0.0.1", 15021)).is_ok()
        });
        assert!(!is_ready(), "nothing is redirected yet");
        assert!(agent(&["capture"]), "capture");
        assert!(agent(&["wait", "--timeout", "20"]), "wait");
        assert!(is_ready());
        TcpStream::connect("10.88.0.1:9090").expect("the peer")
    });
    assert!(exchange(&mut outbound, "/").contains("server: app"));
    let ask = || {
        let mut inbound = TcpStream::connect("10.88.0.2:8080").expect("the pod");
        exchange(&mut inbound, "/")
    };
    assert!(peer.run(ask).contains("server: app"));
    pod.run(|| {
        let listeners =
            status(ports::STATUS, READY_PATH) + &status(ports::PROMETHEUS, "/stats/prometheus");
        assert_eq!(listeners.matches(" 200 ").count(), 2, "{listeners}");
    });

    sidecar.process.terminate();
    pod.run(|| until("draining", || !is_ready()));
    assert!(
        exchange(&mut outbound, "/").contains("server: app"),
        "outbound works on"
    );
    let inbound = peer.run(ask).to_ascii_lowercase();
    assert!(
        inbound.contains("server: app") && inbound.contains("connection: close"),
        "{inbound}"
    );
    assert!(
        sidecar.process.try_wait().expect("a process").is_none(),
        "a connection is open"
    );
    drop(outbound);
    assert_eq!(sidecar.wait(), Some(0));
}

#[test]
fn a_classic_sidecar_outlives_the_application_and_not_by_much() {
    if !netns::available() {
        return;
    }
    NetNs::new().expect("new").run(|| {
        let drain = ["--drain-minimum", "0.5", "--drain-timeout", "120"];
        let mut sidecar = Sidecar::start(&[&["--capture-mode", "none"][..], &drain].concat());
        // Listens on a port, and takes its time with SIGTERM.
        let mut application = Command::new("sleep")
            .arg("600")
            .stdin(
                TcpListener::bind("127.0.0.1:8080")
                    .map(OwnedFd::from)
                    .expect("a port"),
            )
            .spawn()
            .expect("sleep");
        assert!(agent(&["wait", "--timeout", "20"]), "wait");
        sidecar.process.terminate();
        until("draining", || !is_ready());
        let terminated = Instant::now();
        while terminated.elapsed() < Duration::from_secs(6) {
            let ended = sidecar.process.try_wait().expect("a process");
            assert!(ended.is_none(), "after {:?}", terminated.elapsed());
            thread::sleep(Duration::from_millis(100));
        }
        application.kill().expect("running");
        application.wait().expect("an end");
        let ended = Instant::now();
        assert_eq!(sidecar.wait(), Some(0));
        assert!(
            ended.elapsed() < Duration::from_secs(10),
            "{:?}",
            ended.elapsed()
        );
    });
}

#[test]
fn a_second_signal_ends_it_at_once() {
    if !netns::available() {
        return;
    }
    NetNs::new().expect("new").run(|| {
        let drain = ["--drain-minimum", "600", "--drain-timeout", "600"];
        let mut sidecar = Sidecar::start(&[&["--capture-mode", "none"][..], &drain].concat());
        assert!(agent(&["wait", "--timeout", "20"]), "wait");
        sidecar.process.terminate();
        until("draining", || !is_ready());
        sidecar.process.terminate();
        assert_eq!(sidecar.wait(), Some(0));
    });
}
