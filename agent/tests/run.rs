//! `weir-agent run` in a network namespace, with the rules of `weir-agent capture`: traffic goes
//! through, readiness waits for the redirect, SIGTERM drains, a strict port takes no plaintext, and a pod
//! that policies are about serves nobody before they are known.

use std::{
    fs::{self, Permissions},
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt as _, process::CommandExt as _},
    },
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use weir_api::{identity, ports, sidecar::READY_PATH};
use weir_process::command::{LIMIT, execute, output};
use weir_tests::{
    eventually::eventually,
    http,
    netns::{self, NetNs},
    running::Running,
    skip,
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
        let folder = folder(0o755);
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

fn folder(mode: u32) -> TempDir {
    let folder = tempfile::tempdir().expect("folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(mode)).expect("permissions");
    folder
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

/// A control plane that reads rules and serves xDS there, and the address that it then has.
fn control(program: &Path, directory: &Path, rule: &str, xds: &str) -> (Running, String) {
    let manifests = directory.join("manifests");
    fs::create_dir(&manifests).expect("directory");
    fs::write(manifests.join("rule.yaml"), rule).expect("written");
    let mut command = Command::new(program);
    command.arg("--manifests").arg(manifests);
    command.arg("--certs-dir").arg(directory.join("certs"));
    command.arg(format!("--xds-plaintext-addr={xds}"));
    for socket in ["xds", "debug", "webhook"] {
        command.arg(format!("--{socket}-addr=127.0.0.1:0"));
    }
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = Running::start(&mut command).expect("starts");
    let mut line = String::new();
    let out = running.stdout.take().expect("standard output");
    BufReader::new(out).read_line(&mut line).expect("a line");
    let bound: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let address = bound["xds_plaintext"].as_str().expect("an address");
    (running, address.to_owned())
}

/// What a page of the sidecar says.
fn page(port: u16, path: &str) -> String {
    let answer = http::get(([127, 0, 0, 1], port).into(), path);
    answer.expect("an answer").body
}

#[test]
fn metrics_of_the_mesh_are_called_what_the_flag_says_or_are_not_there() {
    if !netns::available() {
        return;
    }
    for (arguments, prefix) in [
        (&[][..], Some("weir")),
        (&["--mesh-metrics", "istio"], Some("istio")),
        (&["--mesh-metrics", "off"], None),
    ] {
        let pod = NetNs::new().expect("new");
        let _sidecar = pod.run(|| {
            let mode = ["--capture-mode", "none"];
            Sidecar::start(&[&mode[..], arguments].concat())
        });
        let page = pod.run(|| {
            until("readiness", || {
                TcpStream::connect(("127.0.0.1", ports::PROMETHEUS)).is_ok()
            });
            page(ports::PROMETHEUS, "/stats/prometheus")
        });
        let series = page
            .lines()
            .find_map(|line| line.split_once("_mesh_metrics_series{}"));
        assert_eq!(series.map(|(prefix, _)| prefix), prefix, "{page}");
    }
}

/// A rule demands mutual TLS; the control plane cannot be reached when the sidecar starts, and later is
/// gone when it starts again.
#[test]
fn a_strict_port_takes_no_plaintext_while_no_control_plane_answers() {
    let Some(program) = skip::built("weir-control").filter(|_| netns::available()) else {
        return;
    };
    let (pod, peer) = (NetNs::new().expect("new"), NetNs::new().expect("new"));
    pod.link("eth0", &["10.88.0.2/24"], &peer, &["10.88.0.1/24"])
        .expect("link");
    pod.run(|| application("0.0.0.0:8080"));
    let (state, directory) = (folder(0o777), folder(0o755));
    let state_dir = state.path().to_str().expect("a path");
    let start = |control: &str, more: &[&str]| {
        let common = ["--drain-minimum", "0", "--state-dir", state_dir];
        let reach = ["--control-plane", control, "--control-plane-plaintext"];
        let sidecar = pod.run(|| Sidecar::start(&[&common[..], &reach, more].concat()));
        assert!(pod.run(|| agent(&["capture"])), "capture");
        assert!(pod.run(|| agent(&["wait", "--timeout", "20"])), "wait");
        sidecar
    };
    let stop = |mut sidecar: Sidecar| {
        sidecar.process.terminate();
        assert_eq!(sidecar.wait(), Some(0));
    };
    let is_served = || {
        peer.run(|| {
            let mut stream = TcpStream::connect("10.88.0.2:8080").expect("the pod");
            let sent = stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
            let answer = sent.and_then(|()| http::read_head(&mut stream));
            answer.ok().flatten().is_some()
        })
    };
    let ready = || pod.run(|| page(ports::READINESS, READY_PATH));
    const NOBODY: &str = "127.0.0.1:9";

    let strict = ["--inbound-tls", r#"{"mode":"STRICT"}"#];
    let sidecar = start(NOBODY, &strict);
    assert!(!is_served(), "as the injector stamped it");
    pod.run(|| {
        assert!(page(ports::ADMIN, "/connections").contains("plaintext_refused"));
        let stats = page(ports::ADMIN, "/stats?filter=no_filter_chain_match");
        assert!(stats.contains("_15006.no_filter_chain_match: 1"), "{stats}");
    });
    assert!(
        ready().contains("inbound policy: as rules said at admission"),
        "{}",
        ready()
    );
    stop(sidecar);

    let rule = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
                metadata: {name: all, namespace: weir-system}\nspec: {mtls: {mode: STRICT}}\n";
    let (control, address) = pod.run(|| control(&program, directory.path(), rule, "127.0.0.1:0"));
    let sidecar = start(&address, &[]);
    until("the rule", || !is_served());
    let kept = state.path().join("inbound-listeners.pb");
    until("the file", || kept.exists());
    assert!(!ready().contains("inbound policy"), "{}", ready());
    stop(sidecar);
    drop(control);

    let sidecar = start(NOBODY, &[]);
    assert!(!is_served(), "as it was before the restart");
    assert!(ready().contains("inbound policy: as the control plane said before the last restart"));
    stop(sidecar);

    fs::write(&kept, "half of a policy").expect("written");
    let sidecar = start(NOBODY, &strict);
    assert!(!is_served(), "what is broken leaves the stamp");
    stop(sidecar);
    stop({
        let sidecar = start(NOBODY, &[]);
        assert!(is_served(), "nothing is stamped");
        sidecar
    });
}

/// The node, and somebody else.
const NODE: &str = "10.88.0.1";
const OTHER: &str = "10.88.0.3";

/// What a caller is answered, and the reason that the proxy gives.
fn answer(peer: &NetNs, from: &str, path: &str) -> String {
    let mut curl = Command::new("curl");
    curl.args([
        "-s",
        "--max-time",
        "10",
        "-o",
        "/dev/null",
        "--interface",
        from,
    ])
    .args(["-w", "%{http_code} %header{x-weir-reason}"])
    .arg(format!("http://10.88.0.2:8080{path}"));
    let output = peer.run(|| output(&mut curl, "", LIMIT).expect("curl runs"));
    output.stdout.trim().to_owned()
}

/// The control plane cannot be reached when the sidecar starts, comes, and is gone when it starts again.
#[test]
fn a_pod_that_policies_are_about_serves_nobody_but_probes_before_they_are_known() {
    const XDS: &str = "127.0.0.1:15010";
    const NOBODY: &str = "127.0.0.1:9";
    let Some(program) = skip::built("weir-control").filter(|_| netns::available()) else {
        return;
    };
    let (pod, peer) = (NetNs::new().expect("new"), NetNs::new().expect("new"));
    let both = [format!("{NODE}/24"), format!("{OTHER}/24")];
    let both: Vec<&str> = both.iter().map(String::as_str).collect();
    pod.link("eth0", &["10.88.0.2/24"], &peer, &both)
        .expect("link");
    pod.run(|| application("0.0.0.0:8080"));
    let (state, directory) = (folder(0o777), folder(0o755));
    let start = |control: &str| {
        let state_dir = state.path().to_str().expect("a path");
        let common = ["--drain-minimum", "0", "--state-dir", state_dir];
        let reach = ["--control-plane", control, "--control-plane-plaintext"];
        let probes = ["--probes", r#"[{"port":8080,"path":"/ready"}]"#];
        let stamp = ["--refuse-inbound", "--host-ip", NODE];
        let arguments = [&common[..], &reach, &probes, &stamp].concat();
        let sidecar = pod.run(|| Sidecar::start(&arguments));
        assert!(pod.run(|| agent(&["capture"])), "capture");
        assert!(pod.run(|| agent(&["wait", "--timeout", "20"])), "wait");
        sidecar
    };
    let ready = || pod.run(|| page(ports::READINESS, READY_PATH));

    let mut sidecar = start(XDS);
    for (from, path, expected) in [
        (OTHER, "/", "403 rbac_access_denied"),
        (OTHER, "/ready", "403 rbac_access_denied"),
        (NODE, "/ready", "200"),
        (NODE, "/", "403 rbac_access_denied"),
    ] {
        assert_eq!(answer(&peer, from, path), expected, "{from} {path}");
    }
    let said = "inbound policy: nobody is let in, for an AuthorizationPolicy was about the pod";
    assert!(ready().contains(said), "{}", ready());
    let denied = pod.run(|| page(ports::ADMIN, "/stats?filter=inbound_8080.rbac.denied"));
    assert!(denied.contains("rbac.denied: 3"), "{denied}");

    let rule = format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{name: other, namespace: default}}\n\
         spec: {{rules: [{{from: [{{source: {{ipBlocks: [{OTHER}]}}}}]}}]}}\n"
    );
    let (control, _) = pod.run(|| control(&program, directory.path(), &rule, XDS));
    until("the policy", || answer(&peer, OTHER, "/") == "200");
    assert_eq!(answer(&peer, NODE, "/"), "403 rbac_access_denied");
    let kept = state.path().join("inbound-listeners.pb");
    until("the file", || kept.exists());
    assert!(!ready().contains("inbound policy"), "{}", ready());
    sidecar.process.terminate();
    assert_eq!(sidecar.wait(), Some(0));
    drop(control);

    // What was kept counts for more than what was stamped.
    let _sidecar = start(NOBODY);
    assert_eq!(answer(&peer, OTHER, "/"), "200");
    assert_eq!(answer(&peer, NODE, "/"), "403 rbac_access_denied");
}
