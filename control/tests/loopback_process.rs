//! The program as a process: what it prints, serves and exits with.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use weir_process::command::{Output, output};
use weir_tests::{eventually::eventually, http, ports, running::Running};

/// Far longer than anything takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(20);

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: 10.4.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cart-1, namespace: shop, labels: {kubernetes.io/service-name: cart}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.5.0.1]}]
";

/// A running control plane.
struct Control {
    running: Running,
    bound: Value,
    directory: tempfile::TempDir,
}

fn directory(manifests: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("temporary directory");
    fs::create_dir(directory.path().join("manifests")).expect("directory");
    fs::write(directory.path().join("manifests/shop.yaml"), manifests).expect("manifests");
    directory
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-control"));
    command.arg("--manifests").arg(directory.join("manifests"));
    command.arg("--certs-dir").arg(directory.join("certs"));
    command
}

/// Flags for ports of nobody else.
fn local_ports() -> Vec<String> {
    let sockets = ["xds-plaintext", "xds", "debug", "webhook"];
    let flags = sockets.map(|socket| format!("--{socket}-addr=127.0.0.1:0"));
    flags.to_vec()
}

fn fails(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = output(&mut command, "", PATIENCE).expect("runs");
    (status.code(), stderr)
}

impl Control {
    fn start(manifests: &str) -> Self {
        let directory = directory(manifests);
        Self::run(command(directory.path()), directory)
    }

    fn run(mut command: Command, directory: tempfile::TempDir) -> Self {
        command
            .args(local_ports())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut running = Running::start(&mut command).expect("starts");
        let mut line = String::new();
        let out = running.stdout.take().expect("standard output");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let bound = serde_json::from_str(&line).expect("JSON");
        Self {
            running,
            bound,
            directory,
        }
    }

    fn address(&self, of: &str) -> SocketAddr {
        self.bound[of]
            .as_str()
            .expect("an address")
            .parse()
            .expect("an address")
    }

    fn get(&self, path: &str) -> (u16, String) {
        let answer = http::get(self.address("debug"), path).expect("an answer");
        (answer.status, answer.body)
    }

    /// What a webhook answers.
    fn ask(&self, path: &str, review: &Value) -> Value {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--insecure",
            "--max-time",
            "10",
            "--data-binary",
            "@-",
        ])
        .args(["--header", "content-type: application/json"])
        .arg(format!("https://{}{path}", self.address("webhook")));
        let answer = output(&mut curl, &review.to_string(), PATIENCE).expect("an answer");
        serde_json::from_str(&answer.stdout).expect("JSON")
    }

    fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }
}

#[test]
fn it_says_where_it_listens_and_shows_what_it_knows() {
    let control = Control::start(SERVICE);
    for served in ["xds_plaintext", "xds", "webhook"] {
        TcpStream::connect(control.address(served)).expect(served);
    }
    let root_cert = control.bound["root_cert"].as_str().expect("a path");
    assert!(
        fs::read_to_string(root_cert)
            .expect("root certificate")
            .contains("BEGIN CERTIFICATE")
    );
    assert_eq!(control.get("/ready"), (200, "ready\n".to_owned()));

    let services = control.json("/debug/registryz?namespace=shop");
    assert_eq!(services[0]["name"], "cart");
    assert_eq!(services[0]["ports"][0]["protocol_from"], "port-name");
    assert_eq!(
        control.json("/debug/registryz?name=other"),
        Value::Array(vec![])
    );
    let endpoints = control.json("/debug/endpointz");
    assert_eq!(
        endpoints[0]["ports"][0]["endpoints"][0]["address"],
        "10.5.0.1:8080"
    );
    let resources = control.json("/debug/configz");
    assert!(
        resources["listener"]["outbound|10.4.0.1:80"].is_string(),
        "{resources}"
    );
    assert_eq!(
        control.json("/debug/syncz")["clients"],
        Value::Array(vec![])
    );
    assert_eq!(control.get("/debug/registryz?nonsense=1").0, 400);
    assert_eq!(control.get("/nowhere").0, 404);
}

#[test]
fn metrics_are_named_as_the_golden_file_says() {
    let control = Control::start(SERVICE);
    let (_, text) = control.get("/metrics");
    let names = text
        .lines()
        .filter(|line| line.starts_with("# TYPE "))
        .map(|line| line[7..].to_owned() + "\n");
    let names: String = names.collect();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics.txt");
    weir_tests::golden::check(&golden, &names);
    assert!(text.contains("\nweir_services 1\n"), "{text}");
}

#[test]
fn changes_of_the_manifests_are_seen() {
    let control = Control::start(SERVICE);
    let manifests = control.directory.path().join("manifests");
    fs::write(
        manifests.join("more.yaml"),
        SERVICE
            .replace("cart", "till")
            .replace("10.4.0.1", "10.4.0.2"),
    )
    .expect("write");
    let deadline = std::time::Instant::now() + PATIENCE;
    while control.json("/debug/registryz?name=till") == Value::Array(vec![]) {
        assert!(std::time::Instant::now() < deadline);
    }
}

#[test]
fn it_stops_with_0_when_asked_to() {
    let mut control = Control::start(SERVICE);
    // A client that stays does not keep it.
    let _client = TcpStream::connect(control.address("xds_plaintext")).expect("connect");
    control.running.terminate();
    assert_eq!(
        control.running.ended(PATIENCE).expect("ends").code(),
        Some(0)
    );
}

#[test]
fn what_is_wrong_is_named_and_the_exit_code_says_whose_fault_it_is() {
    let good = directory(SERVICE);
    let bad = directory(&SERVICE.replace("port: 80}", "port: eighty}"));
    let (code, text) = fails(command(bad.path()));
    assert_eq!(code, Some(64));
    assert!(
        text.contains("shop.yaml: document 1: spec.ports[0].port: "),
        "{text}"
    );

    let (code, text) = fails({
        let mut command = command(good.path());
        command.args(["--xds-addr", "nonsense"]);
        command
    });
    assert_eq!(code, Some(64));
    assert!(text.contains("--xds-addr"), "{text}");

    let settings = good.path().join("mesh.yaml");
    let provider = "{name: it, envoyExtAuthzHttp: {service: a.b, port: 80, statusOnError: '200'}}";
    fs::write(&settings, format!("extensionProviders: [{provider}]")).expect("write");
    let (code, text) = fails({
        let mut command = command(good.path());
        command.arg("--mesh-config").arg(&settings);
        command
    });
    assert_eq!(code, Some(64));
    let wrong = "mesh.yaml: extensionProviders: \"it\": envoyExtAuthzHttp.statusOnError: \"200\"";
    assert!(text.contains(wrong), "{text}");

    let mut open = Command::new(env!("CARGO_BIN_EXE_weir-control"));
    open.arg("--manifests").arg(good.path().join("manifests"));
    open.args(["--xds-plaintext-addr", "0.0.0.0:0"]);
    let (code, text) = fails(open);
    assert_eq!(code, Some(64));
    assert!(
        text.contains("--xds-plaintext-addr 0.0.0.0:0: is served on loopback only"),
        "{text}"
    );

    let mut neither = Command::new(env!("CARGO_BIN_EXE_weir-control"));
    neither
        .env_remove("KUBECONFIG")
        .env_remove("KUBERNETES_SERVICE_HOST");
    let (code, text) = fails(neither);
    assert_eq!(code, Some(64));
    assert!(
        text.contains("neither --manifests nor --kubeconfig is given"),
        "{text}"
    );

    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let mut busy = Command::new(env!("CARGO_BIN_EXE_weir-control"));
    busy.arg("--manifests").arg(good.path().join("manifests"));
    busy.arg("--certs-dir").arg(good.path().join("certs"));
    busy.args(["--xds-plaintext-addr", &address]);
    let (code, text) = fails(busy);
    assert_eq!(code, Some(1));
    let expected = format!("--xds-plaintext-addr {address}: Address already in use");
    assert!(
        text.contains(&expected) && text.contains("another program"),
        "{text}"
    );
}

#[test]
fn an_api_server_that_is_not_there_is_waited_for_and_said() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let server = format!("http://{}", ports::free());
    let kubeconfig = directory.path().join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: \"{server}\"}}}}]\n\
         users: [{{name: u, user: {{}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
    );
    fs::write(&kubeconfig, text).expect("kubeconfig");
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-control"));
    command.arg("--kubeconfig").arg(&kubeconfig);
    let mut control = Control::run(command, directory);
    let deadline = std::time::Instant::now() + PATIENCE;
    let reasons = loop {
        let (status, body) = control.get("/ready");
        assert_eq!(status, 503, "{body}");
        if body.matches("Connection refused").count() >= 3 {
            break body;
        }
        assert!(std::time::Instant::now() < deadline, "{body}");
    };
    for subject in ["certificate: ", "configuration: ", "nodes: ", "registry: "] {
        assert!(
            reasons.contains(&format!("not ready: {subject}")),
            "{reasons}"
        );
    }
    // It can be asked to stop all the same.
    control.running.terminate();
    assert_eq!(
        control.running.ended(PATIENCE).expect("ends").code(),
        Some(0)
    );
}

#[test]
fn a_pod_is_told_at_admission_what_rules_demand_of_it() {
    let rule = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
                metadata: {name: web, namespace: shop}\n\
                spec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}\n\
                ---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                metadata: {name: web, namespace: shop}\n\
                spec: {selector: {matchLabels: {app: web}}}\n";
    let control = Control::start(rule);
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "operation": "CREATE", "namespace": "shop",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "object": {"metadata": {"name": "web", "labels": {"app": "web"}},
                   "spec": {"containers": [{
                       "name": "app", "ports": [{"name": "page", "containerPort": 8080}],
                       "readinessProbe": {"httpGet": {"port": "page", "path": "/ready"}},
                       "livenessProbe": {"grpc": {"port": 9090}},
                   }]}},
    }});
    let told = || {
        let answer = control.ask("/inject", &review);
        let patch = answer["response"]["patch"].as_str()?;
        let patch = BASE64_STANDARD.decode(patch).expect("base64");
        let patch = String::from_utf8(patch).expect("text");
        // The webhook may be served before the manifests are published.
        patch.contains(r#"{\"mode\":\"STRICT\"}"#).then_some(patch)
    };
    let patch = eventually(PATIENCE, told).expect("the rule");
    let guarded = r#"{"name":"WEIR_REFUSE_INBOUND","value":"true"}"#;
    assert!(patch.contains(guarded), "{patch}");
    let probes = r#""[{\"path\":\"/ready\",\"port\":8080},{\"port\":9090}]""#;
    assert!(patch.contains(probes), "{patch}");
}

#[test]
fn a_rule_that_is_wrong_is_refused_where_it_is_written_and_one_that_is_not_honoured_is_warned_of() {
    let control = Control::start(SERVICE);
    let answer = |kind: &str, spec: Value| {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u", "operation": "CREATE", "namespace": "shop", "name": "web",
            "kind": {"group": "security.istio.io", "version": "v1", "kind": kind},
            "object": {"metadata": {"name": "web"}, "spec": spec},
        }});
        control.ask("/validate", &review)["response"].take()
    };
    for (kind, spec, expected) in [
        (
            "PeerAuthentication",
            json!({"mtls": {"mode": "strict"}}),
            "weir: spec.mtls.mode: unknown variant `strict`, expected one of `UNSET`",
        ),
        (
            "AuthorizationPolicy",
            json!({"rules": [{"to": [{"operation": {"ports": ["http"]}}]}]}),
            "weir: spec.rules[0].to[0].operation.ports[0]: \"http\" is not a port",
        ),
    ] {
        let answer = answer(kind, spec);
        assert_eq!(answer["allowed"], false, "{answer}");
        let message = answer["status"]["message"].as_str();
        let is_said = message.is_some_and(|it| it.starts_with(expected));
        assert!(is_said, "{answer}");
    }
}

#[test]
fn a_policy_that_has_nobody_asked_is_warned_of_by_the_settings_that_are_in_force() {
    let directory = directory(SERVICE);
    let settings = directory.path().join("mesh.yaml");
    let provider =
        "extensionProviders: [{name: it, envoyExtAuthzGrpc: {service: a.b, port: 9000}}]";
    fs::write(&settings, "").expect("write");
    let mut command = command(directory.path());
    command.arg("--mesh-config").arg(&settings);
    let control = Control::run(command, directory);
    let warnings = || {
        let spec = json!({"action": "CUSTOM", "provider": {"name": "it"}, "rules": [{}]});
        let kind = "AuthorizationPolicy";
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u", "operation": "CREATE", "namespace": "shop", "name": "web",
            "kind": {"group": "security.istio.io", "version": "v1", "kind": kind},
            "object": {"metadata": {"name": "web"}, "spec": spec},
        }});
        let answer = control.ask("/validate", &review)["response"].take();
        assert_eq!(answer["allowed"], true, "{answer}");
        answer["warnings"].clone()
    };
    let said = warnings()[0].to_string();
    let expected = "it\\\" is no extension provider of the mesh (it has none), so nobody is let in";
    assert!(said.contains(expected), "{said}");
    fs::write(&settings, provider).expect("write");
    eventually(PATIENCE, || warnings().is_null().then_some(())).expect("it is known");
}
