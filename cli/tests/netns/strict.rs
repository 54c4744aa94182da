//! A PeerAuthentication that comes, changes and goes, all programs real and nothing restarted: under
//! STRICT a caller without a sidecar is refused with a reason and counted, one with a sidecar is not, and
//! the kubelet is answered what its probes ask.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use weir_playground::netns;
use weir_process::command::output;
use weir_tests::eventually::eventually;

use super::{
    demo::{Demos, text},
    inbound::{Connection, chains},
    mesh::mesh_works,
};

/// Far longer than anything takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
    - {name: web, image: weir.dev/echo, ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers:
    - {name: client, image: weir.dev/echo, ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.77.7, selector: {app: web}, ports: [{name: a, port: 80, targetPort: 8080}]}
";

struct Mesh<'a> {
    demos: &'a Demos,
    run: PathBuf,
}

impl Mesh<'_> {
    /// Moves the rule there, whole, and waits until the sidecar has these chains.
    fn demand(&self, mode: &str, expected: &[&str]) {
        let rule = format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
             metadata: {{name: default, namespace: default}}\nspec: {{mtls: {{mode: {mode}}}}}\n"
        );
        let new = self.run.join("rule.yaml");
        fs::write(&new, rule).expect("write");
        fs::rename(&new, self.run.join("objects/a-rule.yaml")).expect("rename");
        let look = || (chains(self.demos, 8080) == expected).then_some(());
        eventually(PATIENCE, look).unwrap_or_else(|error| {
            panic!("{mode}: {error}: {:?}", chains(self.demos, 8080));
        });
    }

    /// The status that a pod with a sidecar gets.
    fn call(&self) -> String {
        let format = "%{http_code}";
        let url = "http://10.96.77.7/";
        let call = [
            "exec",
            "client",
            "--",
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "-w",
            format,
            url,
        ];
        self.demos.output(&call).stdout
    }

    /// What a page of the admin interface of a pod says.
    fn admin(&self, page: &str) -> String {
        let page = format!("127.0.0.1:15000/{page}");
        let output = self
            .demos
            .output(&["exec", "web", "--", "curl", "-s", &page]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        output.stdout
    }
}

#[test]
fn a_strict_pod_refuses_callers_without_a_sidecar_and_says_why() {
    if !mesh_works() {
        return;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("pods.yaml", PODS)]);
    let _demo = demos.start_with_mesh(&manifests);
    let mesh = Mesh {
        demos: &demos,
        run: demos.run(),
    };
    let pod = fs::read_to_string(mesh.run.join("objects/pod.default.web.yaml")).expect("the pod");
    let pod: serde_json::Value = serde_json::from_str(&pod).expect("JSON");
    let address = pod["status"]["podIP"].as_str().expect("an address");
    let mut before = Connection::open(&demos, address);
    assert_eq!(before.ask(), "HTTP/1.1 200 OK");
    assert_eq!(mesh.call(), "200");

    mesh.demand("STRICT", &["mtls-http", "mtls-tcp"]);
    // What was open gives way, behind a request that was on its way.
    let last = [before.ask(), before.ask()];
    assert_eq!(last[1], "nothing", "{last:?}");
    assert_eq!(Connection::open(&demos, address).ask(), "nothing");
    assert_eq!(mesh.call(), "200");
    let counted = mesh.admin("stats?filter=no_filter_chain_match");
    assert!(
        counted
            .lines()
            .any(|line| line.ends_with("no_filter_chain_match: 1")),
        "{counted}"
    );
    let seen = mesh.admin("connections");
    assert!(seen.contains("plaintext_refused"), "{seen}");

    // Nobody uses TLS then, and everybody is served.
    mesh.demand("DISABLE", &["http", "tcp", "tls"]);
    assert_eq!(Connection::open(&demos, address).ask(), "HTTP/1.1 200 OK");
    eventually(PATIENCE, || (mesh.call() == "200").then_some(())).expect("in plaintext");

    fs::remove_file(mesh.run.join("objects/a-rule.yaml")).expect("remove");
    let look = || (chains(&demos, 8080).len() == 5).then_some(());
    eventually(PATIENCE, look).expect("as before");
    assert_eq!(mesh.call(), "200");
}

const PROBED: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
    - name: web
      image: weir.dev/echo
      args: [--http=8080, --grpc=9090, --http=7070]
      ports: [{name: page, containerPort: 8080}, {name: grpc, containerPort: 9090}, {containerPort: 7070}]
      readinessProbe: {httpGet: {port: page, path: /ready}}
      livenessProbe: {grpc: {port: 9090}}
      startupProbe: {tcpSocket: {port: 7070}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: default}
spec: {mtls: {mode: STRICT}}
";

/// What the node itself is answered.
pub(crate) fn from_node(demos: &Demos, arguments: &[&str]) -> String {
    let namespaces = demos.namespaces();
    let node = namespaces.iter().find(|name| name.contains("node"));
    let mut curl = Command::new("curl");
    curl.args([
        "-s",
        "--max-time",
        "5",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
    ])
    .args(arguments);
    let asked = move || output(&mut curl, "", PATIENCE).expect("curl runs").stdout;
    netns::within(node.expect("a node"), asked).expect("within the node")
}

#[test]
fn probes_of_a_strict_pod_stay_as_written_and_nothing_else_is_answered_to_the_node() {
    if !mesh_works() {
        return;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("pods.yaml", PROBED)]);
    let _demo = demos.start_with_mesh(&manifests);
    let mesh = Mesh {
        demos: &demos,
        run: demos.run(),
    };
    let look = || (chains(&demos, 8080) == ["mtls-http", "mtls-tcp", "probe"]).then_some(());
    eventually(PATIENCE, look)
        .unwrap_or_else(|error| panic!("{error}: {:?}", chains(&demos, 8080)));
    let pod = fs::read_to_string(mesh.run.join("objects/pod.default.web.yaml")).expect("the pod");
    let pod: serde_json::Value = serde_json::from_str(&pod).expect("JSON");
    let address = pod["status"]["podIP"]
        .as_str()
        .expect("an address")
        .to_owned();
    let url = |rest: &str| format!("http://{address}:{rest}");

    let h2 = ["--http2-prior-knowledge", "-X", "POST"];
    let health = url("9090/grpc.health.v1.Health/Check");
    for (arguments, status) in [
        (vec![&*url("8080/ready")], "200"),
        (vec![&*url("8080/ready?full=1")], "200"),
        (vec![&*url("8080/")], "403"),
        (vec![&*url("8080/ready/more")], "403"),
        (vec!["-X", "POST", &*url("8080/ready")], "403"),
        ([&h2[..], &[&*health]].concat(), "200"),
        (
            [&h2[..], &[&*url("9090/other.Service/Call")]].concat(),
            "403",
        ),
        // A connection is all that its probe asks of that one.
        (vec![&*url("7070/ready")], "000"),
    ] {
        assert_eq!(from_node(&demos, &arguments), status, "{arguments:?}");
    }
    assert_eq!(
        Connection::open(&demos, &address).ask(),
        "nothing",
        "not the node"
    );
    let counted = mesh.admin("stats?filter=inbound_8080_probe.downstream_rq_2xx");
    let served = counted.trim().rsplit_once(": ").expect("a number").1;
    assert!(served.parse::<u32>().expect("a number") >= 2, "{counted}");
}
