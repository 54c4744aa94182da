//! A pod that an AuthorizationPolicy is about serves nobody before its sidecar knows the policy, all
//! programs real: the control plane is held while the sidecar starts.

use std::{fs, process::Command, time::Duration};

use weir_process::command::{LIMIT, execute};
use weir_tests::eventually::eventually;

use super::{
    authorization::PODS,
    demo::{Demos, text},
    mesh::mesh_works,
    pods::{address, answer, status},
    strict::from_node,
};

/// Far longer than anything takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(60);

const POLICY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: teller, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  rules: [{from: [{source: {serviceAccounts: [teller]}}]}]
";

/// Forgets what a sidecar kept, as a pod that starts has kept nothing.
const FORGET: &str = "rm /var/lib/weir/*";

/// The process of a container that runs this program.
const PID: &str = "for p in /proc/[0-9]*; do \
  if tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -q \"^[^ ]*$0 \" && \
     [ \"$(readlink $p/ns/net)\" = \"$(readlink /proc/self/ns/net)\" ]; then echo ${p#/proc/}; fi; done";

/// What a shell says in a container of a pod.
fn shell(demos: &Demos, (pod, container): (&str, &str), script: &[&str]) -> String {
    let call = ["exec", pod, "-c", container, "--", "sh", "-c"];
    let output = demos.output(&[&call[..], script].concat());
    assert!(output.status.success(), "{script:?}: {}", text(&output));
    output.stdout.trim().to_owned()
}

/// A process that does nothing while it is held.
struct Held(String);

impl Held {
    fn hold(pid: String) -> Self {
        assert!(pid.parse::<u32>().is_ok(), "{pid:?}");
        let held = Self(pid);
        held.signal("-STOP");
        held
    }

    fn signal(&self, signal: &str) {
        execute(Command::new("kill").args([signal, &self.0]), "", LIMIT).expect("kill");
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

#[test]
fn nobody_but_the_node_is_served_before_the_control_plane_has_said_who_may_be() {
    if !mesh_works() {
        return;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("pods.yaml", PODS), ("policy.yaml", POLICY)]);
    let _demo = demos.start_with_mesh(&manifests);
    let run = demos.run();
    let pod = fs::read_to_string(run.join("objects/pod.default.web.yaml")).expect("the pod");
    assert!(pod.contains("WEIR_REFUSE_INBOUND"), "the stamp: {pod}");
    let address = address(&run, "web");
    let url = |path: &str| format!("http://{address}:8080{path}");
    let outsider = |path: &str| {
        let format = "%{http_code} %header{x-weir-reason}";
        answer(&demos, "weir-demo/outsider", format, &[&url(path)])
    };
    let teller = || status(&demos, "teller", &["http://10.96.77.8/"]);
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let look = || is_so().then_some(());
        eventually(PATIENCE, look).unwrap_or_else(|error| panic!("{what}: {error}"));
    };
    until("the policy", &|| teller() == "200");

    let files = fs::read_dir(run.join("objects")).expect("objects");
    let mut names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let control = names.find_map(|name| {
        let name = name
            .strip_prefix("pod.weir-system.")?
            .strip_suffix(".yaml")?;
        Some(format!("weir-system/{name}"))
    });
    let control = control.expect("the control plane's pod");
    let control = shell(&demos, (&control, "weir-control"), &[PID, "weir-control"]);
    let held = Held::hold(control);
    let sidecar = ("web", "weir-proxy");
    shell(&demos, sidecar, &[FORGET]);
    let agent = shell(&demos, sidecar, &[PID, "weir-agent"]);
    execute(Command::new("kill").args(["-KILL", &agent]), "", LIMIT).expect("kill");
    let ready = || {
        let page = "127.0.0.1:15021/healthz/ready";
        demos
            .output(&["exec", "web", "--", "curl", "-s", page])
            .stdout
    };
    until("the stamp", &|| {
        ready().contains("inbound policy: nobody is let in")
    });
    assert_eq!(outsider("/"), "403 rbac_access_denied");
    assert_eq!(outsider("/ready"), "403 rbac_access_denied");
    assert_eq!(from_node(&demos, &[&url("/ready")]), "200");
    assert_eq!(from_node(&demos, &[&url("/")]), "403");
    // Whom the policy names is refused like everybody: by the reset of a connection, for the sidecar has
    // no certificate yet to answer it with.
    assert_eq!(teller(), "503");

    drop(held);
    until("the policy again", &|| teller() == "200");
    assert_eq!(outsider("/"), "403 rbac_access_denied");
    assert!(!ready().contains("inbound policy"), "{}", ready());
}
