//! The control plane.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bytes::Bytes;
use serde_json::json;
use tokio::time::timeout;
use weir_api::ports;
use weir_tests::{
    eventually::eventually,
    http::{get, get_from},
    running::Running,
    skip,
};

use crate::{
    PATIENCE,
    admission::{Tls, admissions, review_of},
    strangers::{Attack, BodyEnd, attack, connect},
    world::{CLIENT, NODE, World, at, strangers},
};

/// Connections at a time: as many as the webhook takes, and some.
const MANY: usize = 1100;
/// Reviews beside them.
const REVIEWS: usize = 12;
const OPEN: &str = r#"weir_connections{listener="webhook"}"#;

struct Control {
    world: World,
    tls: Tls,
    process: Running,
    _directory: tempfile::TempDir,
}

// === impl Control ===

impl Control {
    fn start() -> Option<Self> {
        let program = skip::built("weir-control")?;
        let world = World::new()?;
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("manifests")).expect("a directory");
        let mut command = command(&program, directory.path());
        let mut process = world
            .target
            .run(|| Running::start(&mut command).expect("it starts"));
        let mut line = String::new();
        let said = process.stdout.take().expect("standard output");
        BufReader::new(said).read_line(&mut line).expect("a line");
        assert!(line.contains("webhook"), "it listens: {line}");
        let root = directory.path().join("certs/root-cert.pem");
        Some(Self {
            tls: Tls::trusting(&root),
            world,
            process,
            _directory: directory,
        })
    }

    /// Has some pods reviewed. How long that takes depends on the machine, which is busy with the attack
    /// itself; without a guard it takes for ever.
    fn review(&self) {
        let webhook = at(ports::WEBHOOK);
        let others = &self.world.others;
        others.run(|| admissions(webhook, &self.tls, REVIEWS));
    }

    /// MiB, at the highest so far.
    fn memory(&self) -> u64 {
        self.process.memory("VmHWM").expect("memory") / 1024
    }

    fn probe(&self) -> u16 {
        let probe = || get_from(NODE.into(), at(ports::CONTROL_DEBUG), "/ready");
        self.world.others.run(probe).expect("an answer").status
    }

    fn metric(&self, line: &str) -> u64 {
        let page = || get(at(ports::CONTROL_DEBUG), "/metrics");
        let page = self.world.target.run(page).expect("metrics").body;
        let value = page.lines().find_map(|it| it.strip_prefix(line));
        let value = value.unwrap_or_else(|| panic!("{line} in {page}"));
        value.trim().parse().expect("a number")
    }
}

fn command(program: &PathBuf, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("--manifests").arg(directory.join("manifests"));
    command.arg("--certs-dir").arg(directory.join("certs"));
    command.env("NODE_IP", NODE.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Each attack from one address and from many.
#[test]
fn silent_connections_do_not_keep_a_pod_from_being_admitted() {
    let Some(mut control) = Control::start() else {
        return;
    };
    let all: Vec<_> = strangers().collect();
    let webhook = at(ports::WEBHOOK);
    for how in [Attack::SilentHttp2(control.tls.clone()), Attack::Silence] {
        for from in [&all[..1], &all[..]] {
            let others = &control.world.others;
            attack(others, from, webhook, MANY, &how, || {
                // The webhook has as many of them as it takes.
                let full = if from.len() == 1 { 128 } else { 1024 };
                let is_full = || (control.metric(OPEN) >= full).then_some(());
                eventually(PATIENCE, is_full).expect("a webhook in use");
                control.review();
            });
        }
    }
    let evicted = r#"weir_connections_closed_total{listener="webhook",reason="evicted"}"#;
    assert!(control.metric(evicted) > 0);
    assert!(control.process.is_alive());
}

/// MiB by which attacks with bodies may make a control plane grow: what bodies may hold together, what
/// is read of two large ones at a time, and buffers of connections.
const GROWTH: u64 = 192;

/// 300 MB of them, if all were held.
#[test]
fn bodies_that_never_end_are_held_in_part_and_keep_no_pod_from_being_admitted() {
    let Some(control) = Control::start() else {
        return;
    };
    control.review();
    let before = control.memory();
    let body = Bytes::from(vec![b' '; 3_000_000]);
    let how = Attack::Review(control.tls.clone(), body, BodyEnd::Missing);
    let all: Vec<_> = strangers().collect();
    let overloaded = r#"weir_injection_reviews_total{outcome="overloaded",reason=""}"#;
    attack(
        &control.world.others,
        &all,
        at(ports::WEBHOOK),
        100,
        &how,
        || {
            let refused = || (control.metric(overloaded) > 0).then_some(());
            eventually(PATIENCE, refused).expect("a webhook without room");
            control.review();
        },
    );
    let grown = control.memory().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} MiB");
}

/// Each has a key that is compared with every known one.
#[test]
fn reviews_that_take_long_to_read_keep_no_pod_from_being_admitted() {
    let Some(control) = Control::start() else {
        return;
    };
    control.review();
    let before = control.memory();
    let key = format!("weir.dev/{}", "a".repeat(2_800_000));
    let review = review_of(&json!({"metadata": {"annotations": {key: "1"}},
        "spec": {"containers": [{"name": "app"}]}}));
    let how = Attack::Review(
        control.tls.clone(),
        review.to_string().into(),
        BodyEnd::Sent,
    );
    let all: Vec<_> = strangers().collect();
    attack(
        &control.world.others,
        &all,
        at(ports::WEBHOOK),
        32,
        &how,
        || control.review(),
    );
    let grown = control.memory().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} MiB");
}

#[test]
fn idle_connections_do_not_fail_the_liveness_probe() {
    let Some(control) = Control::start() else {
        return;
    };
    let all: Vec<_> = strangers().collect();
    let debug = at(ports::CONTROL_DEBUG);
    let probes = || [(); 6].map(|()| control.probe());
    let answers = attack(
        &control.world.others,
        &all,
        debug,
        MANY,
        &Attack::Silence,
        probes,
    );
    assert_eq!(answers, [200; 6]);
}

#[test]
fn idle_connections_do_not_keep_sidecars_from_discovery() {
    let Some(control) = Control::start() else {
        return;
    };
    let one: Vec<_> = strangers().take(1).collect();
    let xds = at(ports::XDS_TLS);
    let others = &control.world.others;
    let asked = || {
        others.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let asked = timeout(PATIENCE, discovery(xds, &control.tls));
                asked.await.expect("in time")
            })
        })
    };
    let how = Attack::SilentHttp2(control.tls.clone());
    let status = attack(others, &one, xds, MANY, &how, asked);
    assert_eq!(status.expect("an answer"), 200);
    let limit = r#"weir_connections{listener="xds"}"#;
    assert!(control.metric(limit) <= 512, "of one address");
}

/// Opens a stream of xDS and gives the status of the answer.
async fn discovery(xds: SocketAddr, tls: &Tls) -> anyhow::Result<u16> {
    const PATH: &str = "https://localhost/envoy.service.discovery.v3.AggregatedDiscoveryService/\
                        StreamAggregatedResources";
    let stream = tls.connect(connect(CLIENT, xds).await?).await?;
    let (mut requests, connection) = h2::client::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let request = http::Request::post(PATH).header("content-type", "application/grpc");
    let (response, _body) = requests.send_request(request.body(())?, false)?;
    let status = response.await?.status();
    connection.abort();
    Ok(status.as_u16())
}
