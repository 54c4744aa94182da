//! AuthorizationPolicies that have a service asked, all programs real: who is let in and what clients are
//! told, when the service decides, when it is gone and when nobody knows it.

use std::{fs, path::Path};

use serde_json::Value;
use weir_tests::skip;

use super::{
    pods::{answer, apply, curl, delete, status},
    routes::{Mesh, in_mesh},
    strict::from_node,
};

/// The service. It keeps what it was asked, `METHOD PATH X-ROLE X-BY`, and tells it at `/asked`.
const SERVICE: &str = r#"
import http.server
asked = []
class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        role = self.headers.get("x-role", "-")
        if self.path == "/asked":
            status, body, more = 200, "\n".join(asked), []
        elif role == "admin":
            status, body, more = 200, "", [("x-user", "ada"), ("x-secret", "1"), ("x-welcome", "yes")]
        else:
            status, body, more = 418, "not with " + role, [("x-why", "role"), ("x-secret", "1")]
        if self.path != "/asked":
            by, other = self.headers.get("x-by", "-"), self.headers.get("x-other", "-")
            asked.append(" ".join([self.command, self.path, role, by, other]))
        self.send_response(status)
        for name, value in more:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    do_GET = do_POST = answer
http.server.ThreadingHTTPServer(("", 9000), Service).serve_forever()
"#;

const PYTHON: &str = "/usr/bin/python3";
/// Files of the policy and of the service's Service.
const POLICY: &str = "a-policy.yaml";
const OF_SERVICE: &str = "service.auth.authz.yaml";

/// Who asks, who is asked, and the service; nothing listens at the second port of the last.
fn manifests() -> String {
    let program = serde_json::to_string(SERVICE).expect("text");
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: web, namespace: default, labels: {{app: web}}}}
spec:
  containers:
    - name: web
      image: weir.dev/echo
      ports: [{{containerPort: 8080}}]
      readinessProbe: {{httpGet: {{port: 8080, path: /ready}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: default}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: caller, namespace: default}}
spec: {{containers: [{{name: client, image: weir.dev/echo, ports: [{{containerPort: 8080}}]}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: authz, namespace: auth, labels: {{app: authz}}}}
spec:
  containers:
    - name: authz
      image: authz
      command: [{PYTHON}, -c, {program}]
      ports: [{{containerPort: 9000}}]
      readinessProbe: {{tcpSocket: {{port: 9000}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: authz, namespace: auth}}
spec: {{selector: {{app: authz}}, ports: [{{name: http, port: 9000}}, {{name: http-dead, port: 9001}}]}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: weir-config, namespace: weir-system}}
data:
  mesh.yaml: |
    extensionProviders:
      - name: authz
        envoyExtAuthzHttp: {{{AUTHZ}}}
      - {{name: dead, envoyExtAuthzHttp: {{service: authz.auth.svc.cluster.local, port: 9001}}}}
"
    )
}

const AUTHZ: &str = "service: authz.auth.svc.cluster.local, port: 9000, pathPrefix: /check, \
    includeRequestHeadersInCheck: [x-role], includeAdditionalHeadersInCheck: {x-by: '100% mesh'}, \
    headersToUpstreamOnAllow: [x-user], headersToDownstreamOnAllow: [x-wel*], \
    headersToDownstreamOnDeny: [x-why]";

/// A request that the policy is about, and one that it is not about.
const PRIVATE: &str = "http://web/private/1?a=b";
const PUBLIC: &str = "http://web/public";
const ADMIN: &str = "-Hx-role: admin";
const GUEST: &str = "-Hx-role: guest";

/// Has a provider asked about what is private.
fn ask(mesh: &Mesh<'_>, provider: &str) {
    let policy = format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{name: it, namespace: default}}\n\
         spec: {{selector: {{matchLabels: {{app: web}}}}, action: CUSTOM, provider: {{name: {provider}}}, \
         rules: [{{to: [{{operation: {{paths: [/private*]}}}}]}}]}}\n"
    );
    apply(&mesh.run, POLICY, &policy);
}

/// Replaces the settings of the mesh.
fn set(mesh: &Mesh<'_>, providers: &str) {
    let new = mesh.run.join("new-settings");
    fs::write(&new, format!("extensionProviders: [{providers}]\n")).expect("write");
    fs::rename(&new, mesh.run.join("settings/mesh.yaml")).expect("rename");
}

fn asked(mesh: &Mesh<'_>) -> Vec<String> {
    let text = curl(mesh.demos, "caller", &["http://authz.auth:9000/asked"]);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_service_decides_who_is_let_in_and_nobody_is_where_it_is_gone_or_not_known() {
    if !Path::new(PYTHON).is_file() {
        skip::skip(skip::Need::Peers, &format!("{PYTHON} is not there"));
        return;
    }
    in_mesh(&manifests(), |mesh| {
        mesh.status(&[PRIVATE], "200");
        ask(mesh, "authz");
        mesh.status(&[PRIVATE], "418");
        decided(mesh);
        gone(mesh);
        unknown(mesh);
        delete(&mesh.run, POLICY);
        mesh.status(&[PRIVATE], "200");
    });
}

/// The service is there.
fn decided(mesh: &Mesh<'_>) {
    let before = asked(mesh).len();
    let told = answer(
        mesh.demos,
        "caller",
        "%{http_code} %header{x-welcome} %header{x-secret}",
        &[PRIVATE, ADMIN, "-Hx-user: forged"],
    );
    assert_eq!(told, "200 yes ");
    let seen: Value = mesh.seen(&[PRIVATE, ADMIN, "-Hx-user: forged", "-d", "body"]);
    assert_eq!(seen["headers"]["x-user"], "ada", "{seen:#}");
    assert_eq!(seen["headers"]["x-secret"], Value::Null, "{seen:#}");
    assert_eq!(seen["body_bytes"], 4);
    let denied = ["-i", PRIVATE, GUEST, "-Hx-other: 1"];
    let denied = curl(mesh.demos, "caller", &denied);
    let (head, body) = denied.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 418 "), "{denied}");
    assert!(head.contains("\r\nx-why: role"), "{denied}");
    assert!(!head.contains("x-secret"), "{denied}");
    assert_eq!(body, "not with guest");
    // What the policy is not about passes, and nobody is asked.
    let passed = status(mesh.demos, "caller", &[PUBLIC, GUEST]);
    assert_eq!(passed, "200");
    assert_eq!(
        asked(mesh)[before..],
        [
            "GET /check/private/1?a=b admin 100% mesh -",
            "POST /check/private/1?a=b admin 100% mesh -",
            "GET /check/private/1?a=b guest 100% mesh -",
        ]
    );
}

/// Nobody decides: the service does not answer, then there is none.
fn gone(mesh: &Mesh<'_>) {
    let with = |more: &str| {
        format!(
            "{{name: dead, envoyExtAuthzHttp: {{service: authz.auth.svc.cluster.local, port: 9001{more}}}}}, \
             {{name: authz, envoyExtAuthzHttp: {{{AUTHZ}{more}}}}}"
        )
    };
    let admin = [PRIVATE, ADMIN];
    ask(mesh, "dead");
    mesh.status(&admin, "403");
    mesh.status(&[PUBLIC], "200");
    set(mesh, &with(", statusOnError: '503'"));
    mesh.status(&admin, "503");
    set(mesh, &with(", failOpen: true"));
    mesh.status(&admin, "200");

    ask(mesh, "authz");
    mesh.status(&[PRIVATE, GUEST], "418");
    delete(&mesh.run, OF_SERVICE);
    mesh.status(&[PRIVATE, GUEST], "200");
    set(mesh, &with(""));
    mesh.status(&admin, "403");
    mesh.status(&[PUBLIC], "200");
}

/// Nobody knows who would decide, so nobody is let in, but for probes.
fn unknown(mesh: &Mesh<'_>) {
    set(mesh, "");
    mesh.status(&[PUBLIC], "403");
    mesh.status(&[PRIVATE, ADMIN], "403");
    let web = super::pods::address(&mesh.run, "web");
    let probe = from_node(mesh.demos, &[&format!("http://{web}:8080/ready")]);
    assert_eq!(probe, "200");
}
