//! Autobahn's test suite for WebSocket, through the data plane to an endpoint of the same suite: what
//! it says of each case is in `peer_autobahn/results.txt`; `REFRESH_GOLDEN=1` rewrites it.
//!
//! It needs Python 2, so this test says SKIP on most machines, unless `REQUIRE_AUTOBAHN=1`.

use std::{
    collections::BTreeMap,
    env, fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use weir_tests::{
    eventually::eventually,
    skip::{Need, skip},
};

use crate::proxy::{Config, Upstream};

#[path = "http2/proxy.rs"]
#[allow(dead_code, reason = "shared with http2.rs")]
mod proxy;

/// Far longer than the suite takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(600);

/// Cases that are left out: compressed messages by the thousand, which take Python minutes and are data
/// like any other to a proxy.
const LEFT_OUT: [&str; 2] = ["12.*", "13.*"];

/// An endpoint that is killed when it is dropped.
struct Endpoint(Child);

impl Drop for Endpoint {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn websockets_pass_as_autobahn_expects() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let wstest = root.join(".make/autobahn/bin/wstest");
    if !wstest.exists() {
        skip(
            Need::Autobahn,
            "there is no wstest; `scripts/setup test` installs it where there is Python 2",
        );
        return;
    }
    let endpoint = free_address();
    let _endpoint = serve(&wstest, endpoint);
    let mut config = Config::routes(&format!(
        // The suite's server refuses to be called by another port than its own.
        "{{ match: {{ prefix: / }}, route: {{ cluster: up, timeout: 0s, \
         host_rewrite_literal: \"{endpoint}\" }} }}"
    ))
    .cluster("up", Upstream::Http1, endpoint, "");
    config.manager = ", upgrade_configs: [ { upgrade_type: websocket } ]";
    let proxy = config.start();
    let results = run(&wstest, proxy.address());
    compare(&results);
}

fn free_address() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("loopback");
    socket.local_addr().expect("bound")
}

fn serve(wstest: &Path, address: SocketAddr) -> Endpoint {
    let child = Command::new(wstest)
        .args(["--mode", "testeeserver", "--wsuri"])
        .arg(format!("ws://{address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("wstest");
    let endpoint = Endpoint(child);
    eventually(Duration::from_secs(60), || TcpStream::connect(address).ok()).expect("a server");
    endpoint
}

/// What the suite says of each case.
fn run(wstest: &Path, proxy: SocketAddr) -> BTreeMap<Vec<u32>, String> {
    let directory = tempfile::tempdir().expect("a directory");
    let reports = directory.path().join("reports");
    let specification = json!({
        "outdir": reports,
        "servers": [{ "agent": "weir", "url": format!("ws://{proxy}") }],
        "cases": ["*"],
        "exclude-cases": LEFT_OUT,
        "exclude-agent-cases": {},
    });
    let path = directory.path().join("specification.json");
    fs::write(&path, specification.to_string()).expect("writable");
    let child = Command::new(wstest)
        .args(["--mode", "fuzzingclient", "--spec"])
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("wstest");
    let mut client = Endpoint(child);
    let ended = || client.0.try_wait().expect("a child");
    eventually(PATIENCE, ended).expect("an end");
    let index = fs::read_to_string(reports.join("index.json")).expect("a report");
    let index: Value = serde_json::from_str(&index).expect("JSON");
    let cases = index["weir"].as_object().expect("cases");
    let said = |(case, result): (&String, &Value)| {
        let number = case.split('.').map(|part| part.parse().expect("a number"));
        let word = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
        let (behavior, close) = (word("behavior"), word("behaviorClose"));
        (number.collect(), format!("{behavior} {close}"))
    };
    cases.iter().map(said).collect()
}

fn compare(results: &BTreeMap<Vec<u32>, String>) {
    let mut text = String::from(
        "# Autobahn's cases and what it said of the behavior and of the close. Made by\n\
         # REFRESH_GOLDEN=1 cargo test -p weir-proxy --test peer_autobahn\n",
    );
    for (case, said) in results {
        let case: Vec<_> = case.iter().map(ToString::to_string).collect();
        text.push_str(&format!("{} {said}\n", case.join(".")));
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peer_autobahn/results.txt");
    if env::var_os("REFRESH_GOLDEN").is_some() {
        fs::write(&path, &text).expect("writable");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let new: Vec<_> = text
        .lines()
        .filter(|line| !committed.lines().any(|known| known == *line))
        .collect();
    assert!(
        new.is_empty() && text.lines().count() == committed.lines().count(),
        "not as in {}: {new:#?}",
        path.display()
    );
}
