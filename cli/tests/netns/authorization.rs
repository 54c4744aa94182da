//! AuthorizationPolicies that come, change and go, all programs real and nothing restarted: who may do
//! what at a pod, by the caller's certificate and by the request.

use std::path::PathBuf;

use weir_tests::eventually::eventually;

use super::{
    demo::Demos,
    inbound::Connection,
    mesh::mesh_works,
    pods::{PATIENCE, address, admin, apply, delete, status},
    strict::from_node,
};

pub(crate) const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
    - name: web
      image: weir.dev/echo
      ports: [{containerPort: 8080}]
      readinessProbe: {httpGet: {port: 8080, path: /ready}}
---
apiVersion: v1
kind: Pod
metadata: {name: teller}
spec:
  serviceAccountName: teller
  containers:
    - {name: client, image: weir.dev/echo, ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: guest}
spec:
  serviceAccountName: guest
  containers:
    - {name: client, image: weir.dev/echo, ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  clusterIP: 10.96.77.8
  selector: {app: web}
  ports: [{name: a, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: teller, namespace: default}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: guest, namespace: default}
";

/// A policy; then who asks how, and the status of the answer. `outsider` has no sidecar, and `node` is where
/// the kubelet's probes come from.
type Case = (
    &'static str,
    &'static [(&'static str, &'static [&'static str], &'static str)],
);

const CASES: [Case; 6] = [
    (
        "{}",
        &[
            ("teller", &["/"], "403"),
            ("guest", &["/"], "403"),
            ("outsider", &["/"], "403"),
            ("outsider", &["/ready"], "403"),
            ("node", &["/ready"], "200"),
            ("node", &["/"], "403"),
        ],
    ),
    (
        "{rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/teller]}}]}]}",
        &[
            ("teller", &["/"], "200"),
            ("guest", &["/"], "403"),
            ("outsider", &["/"], "403"),
        ],
    ),
    (
        "{selector: {matchLabels: {app: web}}, action: DENY, rules: [{to: [{operation: {methods: [DELETE]}}]}]}",
        &[
            ("guest", &["/", "-XDELETE"], "403"),
            ("guest", &["/"], "200"),
            ("outsider", &["/", "-XDELETE"], "403"),
            ("outsider", &["/"], "200"),
        ],
    ),
    (
        "{action: DENY, rules: [{from: [{source: {notServiceAccounts: [teller]}}], \
          to: [{operation: {paths: [/admin*]}}]}]}",
        &[
            ("guest", &["/admin/users"], "403"),
            ("guest", &["/x/../admin", "--path-as-is"], "403"),
            ("guest", &["/x/%2e%2e/admin", "--path-as-is"], "403"),
            ("guest", &["/other"], "200"),
            ("teller", &["/admin/users"], "200"),
        ],
    ),
    (
        "{rules: [{when: [{key: 'request.headers[x-pass]', values: [let-me-*]}], \
          to: [{operation: {hosts: [WEB.default], ports: ['8080']}}]}]}",
        &[
            (
                "guest",
                &["/", "-Hx-pass: let-me-in", "-Hhost: web.default"],
                "200",
            ),
            ("guest", &["/", "-Hx-pass: let-me-in"], "403"),
            (
                "guest",
                &["/", "-Hx-pass: no", "-Hhost: web.default"],
                "403",
            ),
        ],
    ),
    (
        "{selector: {matchLabels: {app: other}}}",
        &[("guest", &["/"], "200"), ("outsider", &["/"], "200")],
    ),
];

/// File of the policy.
const POLICY: &str = "a-policy.yaml";

struct Mesh<'a> {
    demos: &'a Demos,
    run: PathBuf,
    address: String,
}

impl Mesh<'_> {
    /// Puts a policy there.
    fn say(&self, spec: &str, annotations: &str) {
        let policy = format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{name: it, namespace: default, annotations: {annotations}}}\nspec: {spec}\n"
        );
        apply(&self.run, POLICY, &policy);
    }

    /// The status that a pod gets: by the service, or without a sidecar at the pod's own address.
    fn status(&self, pod: &str, request: &[&str]) -> String {
        let is_node = pod == "node";
        let (pod, host) = match pod {
            "outsider" | "node" => ("weir-demo/outsider", format!("{}:8080", self.address)),
            pod => (pod, "10.96.77.8".to_owned()),
        };
        let (path, flags) = request.split_first().expect("a path");
        let url = format!("http://{host}{path}");
        if is_node {
            return from_node(self.demos, &[&[&*url], flags].concat());
        }
        status(self.demos, pod, &[&[&*url], flags].concat())
    }

    fn counted(&self, name: &str) -> u64 {
        let stats = admin(self.demos, "web", &format!("stats?filter={name}"));
        let counts = stats.lines().filter_map(|line| line.split_once(": "));
        counts
            .filter_map(|(_, count)| count.parse::<u64>().ok())
            .sum()
    }
}

#[test]
fn policies_let_in_whom_they_name_by_certificate_and_by_request() {
    if !mesh_works() {
        return;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("pods.yaml", PODS)]);
    let _demo = demos.start_with_mesh(&manifests);
    let run = demos.run();
    let mesh = Mesh {
        address: address(&run, "web"),
        demos: &demos,
        run,
    };
    let expect = |spec: &str, (pod, request, status): (&str, &[&str], &str)| {
        let mut last = String::new();
        let look = || {
            last = mesh.status(pod, request);
            (last == status).then_some(())
        };
        let said = eventually(PATIENCE, look);
        assert!(
            said.is_ok(),
            "{spec}: {pod} {request:?}: {last}, not {status}"
        );
    };
    expect("no policy", ("guest", &["/"], "200"));
    for (spec, calls) in CASES {
        mesh.say(spec, "{}");
        calls.iter().for_each(|call| expect(spec, *call));
    }

    // One that is only watched refuses nobody, and counts whom it would have.
    mesh.say("{}", r#"{istio.io/dry-run: "true"}"#);
    let look = || {
        assert_eq!(mesh.status("guest", &["/"]), "200");
        (mesh.counted("istio_dry_run_allow_.*shadow_denied") > 0).then_some(())
    };
    eventually(PATIENCE, look).expect("counted");

    // Connections that were open obey, too.
    let mut before = Connection::open(&demos, &mesh.address);
    assert_eq!(before.ask(), "HTTP/1.1 200 OK");
    mesh.say("{}", "{}");
    let look = || (mesh.status("guest", &["/"]) == "403").then_some(());
    eventually(PATIENCE, look).expect("refused");
    let last = [before.ask(), before.ask()];
    assert_eq!(last[1], "nothing", "{last:?}");

    delete(&mesh.run, POLICY);
    expect("no policy", ("guest", &["/"], "200"));
}
