//! A PeerAuthentication that comes, changes and goes, all programs real and nothing restarted: under
//! STRICT a caller without a sidecar is refused with a reason and counted, one with a sidecar is not, and
//! the kubelet is answered what its probes ask.

use std::{path::PathBuf, process::Command};

use weir_playground::netns;
use weir_process::command::output;
use weir_tests::eventually::eventually;

use super::{
    demo::Demos,
    inbound::{Connection, chains},
    mesh::mesh_works,
    pods::{PATIENCE, address, admin, apply, delete, status},
};

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

/// File of the rule.
const RULE: &str = "a-rule.yaml";

struct Mesh<'a> {
    demos: &'a Demos,
    run: PathBuf,
}

impl Mesh<'_> {
    /// Puts the rule there and waits until the sidecar has these chains.
    fn demand(&self, mode: &str, expected: &[&str]) {
        let rule = format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
             metadata: {{name: default, namespace: default}}\nspec: {{mtls: {{mode: {mode}}}}}\n"
        );
        apply(&self.run, RULE, &rule);
        let look = || (chains(self.demos, 8080) == expected).then_some(());
        eventually(PATIENCE, look).unwrap_or_else(|error| {
            panic!("{mode}: {error}: {:?}", chains(self.demos, 8080));
        });
    }

    /// The status that a pod with a sidecar gets.
    fn call(&self) -> String {
        status(self.demos, "client", &["http://10.96.77.7/"])
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
    let address = address(&mesh.run, "web");
    let mut before = Connection::open(&demos, &address);
    assert_eq!(before.ask(), "HTTP/1.1 200 OK");
    assert_eq!(mesh.call(), "200");

    mesh.demand("STRICT", &["mtls-http", "mtls-tcp"]);
    // What was open gives way, behind a request that was on its way.
    let last = [before.ask(), before.ask()];
    assert_eq!(last[1], "nothing", "{last:?}");
    assert_eq!(Connection::open(&demos, &address).ask(), "nothing");
    assert_eq!(mesh.call(), "200");
    let counted = admin(&demos, "web", "stats?filter=no_filter_chain_match");
    assert!(
        counted
            .lines()
            .any(|line| line.ends_with("no_filter_chain_match: 1")),
        "{counted}"
    );
    let seen = admin(&demos, "web", "connections");
    assert!(seen.contains("plaintext_refused"), "{seen}");

    // Nobody uses TLS then, and everybody is served.
    mesh.demand("DISABLE", &["http", "tcp", "tls"]);
    assert_eq!(Connection::open(&demos, &address).ask(), "HTTP/1.1 200 OK");
    eventually(PATIENCE, || (mesh.call() == "200").then_some(())).expect("in plaintext");

    delete(&mesh.run, RULE);
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
      args: [--http=8080, --grpc=9090, --http=7070, --tls=8443]
      ports: [{name: page, containerPort: 8080}, {name: grpc, containerPort: 9090}, {containerPort: 7070}]
      readinessProbe: {httpGet: {port: page, path: /ready}}
      livenessProbe: {grpc: {port: 9090}}
      startupProbe: {tcpSocket: {port: 7070}}
    - name: helper
      image: weir.dev/echo
      args: [--http=6060]
      readinessProbe: {httpGet: {port: 8443, path: /ready, scheme: HTTPS}}
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
    let look = || (chains(&demos, 8080) == ["mtls-http", "mtls-tcp", "probe"]).then_some(());
    eventually(PATIENCE, look)
        .unwrap_or_else(|error| panic!("{error}: {:?}", chains(&demos, 8080)));
    let address = address(&demos.run(), "web");
    let url = |rest: &str| format!("http://{address}:{rest}");
    let tls = |path: &str| format!("https://{address}:8443{path}");

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
        // What is asked over TLS is between the kubelet and the application; plaintext is not.
        (vec!["-k", &*tls("/ready")], "200"),
        (vec![&*url("8443/ready")], "000"),
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
    let counted = admin(
        &demos,
        "web",
        "stats?filter=inbound_8080_probe.downstream_rq_2xx",
    );
    let served = counted.trim().rsplit_once(": ").expect("a number").1;
    assert!(served.parse::<u32>().expect("a number") >= 2, "{counted}");
}
