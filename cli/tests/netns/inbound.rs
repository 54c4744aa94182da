//! A Service that is created after a pod changes what connections to the pod meet, all programs
//! real and nothing restarted.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Stdio},
};

use weir_tests::eventually::eventually;

use super::{
    demo::Demos,
    mesh::mesh_works,
    pods::{PATIENCE, address, admin, apply},
};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
    - {name: web, image: weir.dev/echo, ports: [{containerPort: 8080}]}
";

/// Asks for heads over one connection, one for each line of its input.
const ASK: &str = r#"
trap '' PIPE
exec 3<>/dev/tcp/$0/8080
while read -r _; do
  printf 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n' >&3 2>/dev/null
  said=nothing
  while IFS= read -r line <&3; do
    line=${line%$'\r'}
    [ -n "$line" ] || break
    case $line in HTTP*) said=$line ;; esac
  done
  echo "$said"
done
"#;

/// A connection that stays open between requests.
pub(crate) struct Connection {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Connection {
    pub(crate) fn open(demos: &Demos, address: &str) -> Self {
        let mut child = demos
            .weir(&[
                "exec",
                "weir-demo/outsider",
                "--",
                "bash",
                "-c",
                ASK,
                address,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("weir runs");
        let stdout = child.stdout.take().expect("piped");
        Self {
            child,
            stdout: BufReader::new(stdout),
        }
    }

    /// The status line, or `nothing` where the connection was closed.
    pub(crate) fn ask(&mut self) -> String {
        let stdin = self.child.stdin.as_mut().expect("piped");
        writeln!(stdin).expect("it reads");
        let mut said = String::new();
        self.stdout.read_line(&mut said).expect("a line");
        said.trim().to_owned()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The end of its input is its end.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A Service of the pod with these ports.
fn service(ports: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: default}}
spec: {{clusterIP: 10.96.77.7, selector: {{app: web}}, ports: [{ports}]}}
"
    )
}

/// Names of the filter chains that the control plane gave the pod for a port.
pub(crate) fn chains(demos: &Demos, port: u16) -> Vec<String> {
    let page = admin(demos, "web", "config_dump?name_regex=^virtualInbound$");
    let dump: serde_json::Value = serde_json::from_str(&page).expect("JSON");
    let configs = dump["configs"].as_array().expect("configs").iter();
    let listeners = configs.filter_map(|config| config["dynamic_listeners"].as_array());
    let active = "/active_state/listener/filter_chains";
    let all = listeners
        .flatten()
        .filter_map(|it| it.pointer(active)?.as_array());
    let names = all.flatten().filter_map(|chain| chain["name"].as_str());
    let of_port = names.filter_map(|name| name.strip_prefix(&format!("inbound|{port}|")));
    of_port.map(str::to_owned).collect()
}

#[test]
fn a_service_that_comes_later_says_what_is_spoken_and_other_connections_stay() {
    if !mesh_works() {
        return;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("pod.yaml", POD)]);
    let _demo = demos.start_with_mesh(&manifests);
    let until = |port: u16, expected: &[&str]| {
        let look = || (chains(&demos, port) == expected).then_some(());
        eventually(PATIENCE, look).unwrap_or_else(|error| panic!("{expected:?}: {error}"));
    };
    let run = demos.run();
    let apply = |ports: &str| apply(&run, "service.default.web.yaml", &service(ports));
    until(8080, &["mtls-http", "mtls-tcp", "http", "tcp", "tls"]);
    let address = address(&run, "web");
    let mut connection = Connection::open(&demos, &address);
    assert_eq!(connection.ask(), "HTTP/1.1 200 OK");

    // A port that no container declares; nothing new of the port that is in use.
    let other = "{name: b, port: 81, targetPort: 9090, appProtocol: http}";
    apply(other);
    until(9090, &["mtls", "http", "tcp", "tls"]);
    assert_eq!(connection.ask(), "HTTP/1.1 200 OK");

    // The port in use is not HTTP: its chains give way. What is idle on them is closed, a while later or
    // behind a request that was on its way.
    apply(&format!(
        "{{name: a, port: 80, targetPort: 8080, appProtocol: tcp}}, {other}"
    ));
    until(8080, &["mtls", "tcp", "tls"]);
    let last = [connection.ask(), connection.ask()];
    assert_eq!(last[1], "nothing", "{last:?}");
    let mut again = Connection::open(&demos, &address);
    assert_eq!(again.ask(), "HTTP/1.1 200 OK", "carried as it is");
}
