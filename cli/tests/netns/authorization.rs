//! AuthorizationPolicies that come, change and go, all programs real and nothing restarted: who may do
//! what at a pod, by the caller's certificate and by the request.

use std::{fs, path::PathBuf, time::Duration};

use weir_tests::eventually::eventually;

use super::{
    demo::{Demos, text},
    inbound::Connection,
    mesh::mesh_works,
    strict::from_node,
};

/// Far longer than anything takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

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

struct Mesh<'a> {
    demos: &'a Demos,
    run: PathBuf,
    address: String,
}

impl Mesh<'_> {
    /// Moves a policy there, whole.
    fn say(&self, spec: &str, annotations: &str) {
        let policy = format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{name: it, namespace: default, annotations: {annotations}}}\nspec: {spec}\n"
        );
        let new = self.run.join("policy.yaml");
        fs::write(&new, policy).expect("write");
        fs::rename(&new, self.run.join("objects/a-policy.yaml")).expect("rename");
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
        let mut call = vec!["exec", pod, "--", "curl", "-s", "-o", "/dev/null"];
        call.extend(["-w", "%{http_code}", "-m", "5", &url]);
        call.extend(flags);
        self.demos.output(&call).stdout
    }

    /// What a page of the admin interface of the server says.
    fn admin(&self, page: &str) -> String {
        let page = format!("127.0.0.1:15000/{page}");
        let call = ["exec", "web", "--", "curl", "-s", &page];
        let output = self.demos.output(&call);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        output.stdout
    }

    fn counted(&self, name: &str) -> u64 {
        let stats = self.admin(&format!("stats?filter={name}"));
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
    let pod = fs::read_to_string(run.join("objects/pod.default.web.yaml")).expect("the pod");
    let pod: serde_json::Value = serde_json::from_str(&pod).expect("JSON");
    let mesh = Mesh {
        address: pod["status"]["podIP"]
            .as_str()
            .expect("an address")
            .to_owned(),
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

    fs::remove_file(mesh.run.join("objects/a-policy.yaml")).expect("remove");
    expect("no policy", ("guest", &["/"], "200"));
}
