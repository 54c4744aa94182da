//! A sidecar gets its certificate from a control plane, and says how that stands.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use weir_api::{ports, sidecar::READY_PATH};
use weir_tests::{
    eventually::eventually,
    http,
    netns::{self, NetNs},
    running::Running,
    skip,
};

const AGENT: &str = env!("CARGO_BIN_EXE_weir-agent");
const PATIENCE: Duration = Duration::from_secs(20);

/// A control plane that knows tokens of a key, and where its xDS is.
fn control(directory: &Path, program: &Path, flags: &[&str]) -> (Running, String) {
    let mut command = Command::new(program);
    command.arg("--manifests").arg(directory.join("manifests"));
    command.arg("--certs-dir").arg(directory.join("certs"));
    command
        .arg("--service-account-key")
        .arg(directory.join("key.pub"));
    for socket in ["xds-plaintext", "xds", "debug", "webhook"] {
        command.arg(format!("--{socket}-addr=127.0.0.1:0"));
    }
    command
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut running = Running::start(&mut command).expect("starts");
    let mut line = String::new();
    let out = running.stdout.take().expect("standard output");
    BufReader::new(out).read_line(&mut line).expect("a line");
    let bound: Value = serde_json::from_str(&line).expect("JSON");
    let address = bound["xds"].as_str().expect("an address").to_owned();
    (running, address)
}

/// A token as the kubelet mounts it.
fn token(key: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("clock");
    let claims = json!({
        "sub": "system:serviceaccount:shop:web", "aud": ["weir-ca"], "exp": now.as_secs() + 600,
        "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "web"},
                          "pod": {"name": "web-0"}},
    });
    let key = EncodingKey::from_ec_pem(key.as_bytes()).expect("a key");
    encode(&Header::new(Algorithm::ES256), &claims, &key).expect("a token")
}

fn sidecar(directory: &Path, control: &str) -> Running {
    let mut command = Command::new(AGENT);
    command
        .args(["run", "--pod-ip", "127.0.0.1", "--capture-mode", "none"])
        .args(["--pod-name", "web-0", "--pod-namespace", "shop"])
        .args(["--control-plane", control, "--drain-minimum", "0"])
        .arg("--ca-file")
        .arg(directory.join("certs/root-cert.pem"))
        .arg("--token-file")
        .arg(directory.join("token"))
        .stderr(Stdio::null());
    Running::start(&mut command).expect("starts")
}

fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let answer = http::get(([127, 0, 0, 1], port).into(), path).ok()?;
    Some((answer.status, answer.body))
}

fn stat(name: &str) -> Option<u64> {
    let (_, text) = get(ports::ADMIN, &format!("/stats?filter=^identity.{name}$"))?;
    text.trim().rsplit_once(": ")?.1.parse().ok()
}

#[test]
fn a_sidecar_gets_certificates_and_is_ready_without_one() {
    let Some(program) = skip::built("weir-control") else {
        return;
    };
    if !netns::available() {
        return;
    }
    let directory = tempfile::tempdir().expect("directory");
    let directory = directory.path();
    let key = rcgen::KeyPair::generate().expect("a key");
    fs::create_dir(directory.join("manifests")).expect("directory");
    fs::write(directory.join("key.pub"), key.public_key_pem()).expect("written");
    let pod = NetNs::new().expect("a namespace");
    pod.run(|| {
        let (_control, address) = control(directory, &program, &["--workload-cert-life=4s"]);
        let mut sidecar = sidecar(directory, &address);
        // The kubelet has not mounted the token yet.
        let ready = eventually(PATIENCE, || {
            let (status, text) = get(ports::READINESS, READY_PATH)?;
            (status == 200 && text.contains("token: No such file")).then_some(text)
        });
        let ready = ready.expect("ready without a certificate");
        assert!(ready.starts_with("LIVE\n"), "{ready}");
        assert!(
            ready.contains("no workload certificate: cannot read"),
            "{ready}"
        );
        assert_eq!(stat("certificate"), Some(0));

        fs::write(directory.join("token"), token(&key.serialize_pem())).expect("written");
        eventually(PATIENCE, || (stat("certificate")? == 1).then_some(())).expect("issued");
        assert_eq!(
            get(ports::READINESS, READY_PATH),
            Some((200, "LIVE\n".to_owned()))
        );
        eventually(PATIENCE, || (stat("renewals")? >= 3).then_some(())).expect("renewed");

        // What another key signed is no token.
        let other = rcgen::KeyPair::generate().expect("a key").serialize_pem();
        fs::write(directory.join("token"), token(&other)).expect("written");
        let refused = eventually(PATIENCE, || {
            let (status, text) = get(ports::READINESS, READY_PATH)?;
            let is_said = text.contains("Unauthenticated: the token is refused");
            (status == 200 && is_said).then_some(text)
        });
        let refused = refused.expect("refused");
        assert!(refused.contains("workload certificate"), "{refused}");
        sidecar.terminate();
        assert_eq!(sidecar.ended(PATIENCE).expect("ends").code(), Some(0));
    });
}
