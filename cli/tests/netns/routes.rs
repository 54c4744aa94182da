//! Gateway API's routes of services, all programs real and nothing restarted: what becomes of requests
//! of pods as routes come, change and go.

use std::path::PathBuf;

use serde_json::Value;
use weir_tests::eventually::eventually;

use super::{
    demo::Demos,
    mesh::mesh_works,
    pods::{PATIENCE, address, admin, answer, apply, curl, delete},
};

fn manifests() -> String {
    let pod = |namespace: &str, name: &str| {
        format!(
            "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}
spec:
  containers:
    - name: echo
      image: weir.dev/echo
      args: [--auto, '8080']
      ports: [{{containerPort: 8080}}]
---"
        )
    };
    let service = |namespace: &str, name: &str, app: &str| {
        format!(
            "
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{app: {app}}}
  ports: [{{name: http, port: 80, targetPort: 8080}}, {{name: grpc, port: 9000, targetPort: 8080}}]
---"
        )
    };
    let mut all = String::new();
    for (namespace, name) in [
        ("default", "v1"),
        ("default", "v2"),
        ("default", "caller"),
        ("other", "far"),
        ("other", "consumer"),
    ] {
        all += &pod(namespace, name);
        all += &service(namespace, name, name);
    }
    all + &service("default", "web", "v1")
}

const FILE: &str = "a-route.yaml";
/// Of all requests some 40 of 200 go to the smaller share; by chance hardly ever so few or so many.
const SMALLER_SHARE: std::ops::Range<usize> = 12..80;

/// Runs a mesh of manifests, if this machine can, and looks at it.
pub(super) fn in_mesh(manifests: &str, look: impl FnOnce(&Mesh<'_>)) {
    if !mesh_works() {
        return;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("pods.yaml", manifests)]);
    let _demo = demos.start_with_mesh(&manifests);
    look(&Mesh {
        run: demos.run(),
        demos: &demos,
    });
}

/// A running mesh, and what becomes of requests in it.
pub(super) struct Mesh<'a> {
    pub(super) demos: &'a Demos,
    pub(super) run: PathBuf,
}

impl Mesh<'_> {
    /// Puts a route of `web` there, in a namespace.
    fn say(&self, namespace: &str, rules: &str) {
        apply(&self.run, FILE, &route("HTTPRoute", namespace, "", rules));
    }

    /// Asks until the answer is as it should be. `format` is curl's.
    pub(super) fn expect(&self, pod: &str, format: &str, args: &[&str], expected: &str) {
        let mut last = String::new();
        let said = eventually(PATIENCE, || {
            last = answer(self.demos, pod, format, args);
            (last == expected).then_some(())
        });
        assert!(said.is_ok(), "{pod} {args:?}: {last:?}, not {expected:?}");
    }

    pub(super) fn pod(&self, args: &[&str], expected: &str) {
        self.expect("caller", "%header{x-echo-pod}", args, expected);
    }

    pub(super) fn status(&self, args: &[&str], expected: &str) {
        self.expect("caller", "%{http_code}", args, expected);
    }

    /// Of many requests of `web` most go to v1 and some to v2.
    pub(super) fn splits(&self) {
        let many = [
            "http://web/[1-200]",
            "-o",
            "/dev/null",
            "-w",
            "%header{x-echo-pod}\n",
        ];
        let answers = curl(self.demos, "caller", &many);
        let of = |pod: &str| answers.lines().filter(|line| *line == pod).count();
        let shares = (of("v1"), of("v2"));
        assert_eq!(shares.0 + shares.1, 200, "{answers}");
        assert!(SMALLER_SHARE.contains(&shares.1), "{shares:?}");
    }

    /// What the application saw.
    pub(super) fn seen(&self, args: &[&str]) -> Value {
        let text = curl(self.demos, "caller", args);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

fn route(kind: &str, namespace: &str, port: &str, rules: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\n\
         metadata: {{name: it, namespace: {namespace}}}\n\
         spec: {{parentRefs: [{{group: '', kind: Service, name: web, namespace: default{port}}}], \
         rules: {rules}}}\n"
    )
}

#[test]
fn routes_send_change_redirect_and_refuse_requests_as_they_say() {
    in_mesh(&manifests(), |mesh| {
        mesh.pod(&["http://web/"], "v1");
        matches_and_weights(mesh);
        filters(mesh);
        times(mesh);
        of_clients(mesh);
        other_namespaces(mesh);
        copies(mesh);
        calls(mesh);
        delete(&mesh.run, FILE);
        mesh.pod(&["http://web/none"], "v1");
    });
}

fn matches_and_weights(mesh: &Mesh<'_>) {
    mesh.say(
        "default",
        "[{matches: [{path: {type: Exact, value: /two}}, {headers: [{name: version, value: two}]}, \
           {queryParams: [{name: v, value: '2'}]}, {path: {value: /deep}, method: PUT}], \
           backendRefs: [{name: v2, port: 80}]}, \
          {matches: [{path: {value: /deep}}], backendRefs: [{name: v1, port: 80}]}]",
    );
    for request in [
        &["http://web/two"][..],
        &["http://web/any", "-Hversion: two"],
        &["http://web/any?a=1&v=2"],
        &["http://web/deep/er", "-XPUT"],
    ] {
        mesh.pod(request, "v2");
    }
    mesh.pod(&["http://web/deep/er"], "v1");
    // What no rule is about is nowhere.
    mesh.status(&["http://web/deeper"], "404");
    // Who calls the pod calls no service, and another port of the service has the same rules.
    let pod = format!("http://{}:8080/two", address(&mesh.run, "v1"));
    mesh.pod(&[&pod], "v1");
    mesh.pod(&["http://web:9000/two"], "v2");

    mesh.say(
        "default",
        "[{backendRefs: [{name: v1, port: 80, weight: 8}, {name: v2, port: 80, weight: 2}, \
          {name: nobody, port: 80, weight: 0}]}]",
    );
    mesh.status(&["http://web/deeper"], "200");
    mesh.splits();

    // A share of what cannot be reached fails.
    mesh.say("default", "[{backendRefs: [{name: nobody, port: 80}]}]");
    mesh.status(&["http://web/"], "500");
    mesh.say(
        "default",
        "[{backendRefs: [{name: v1, port: 80}, {name: nobody, port: 80}]}]",
    );
    mesh.status(&["http://web/"], "200");
    mesh.status(&["http://web/"], "500");
}

fn filters(mesh: &Mesh<'_>) {
    mesh.say(
        "default",
        "[{matches: [{path: {value: /old}}], backendRefs: [{name: v1, port: 80}], filters: [\
            {type: URLRewrite, urlRewrite: {hostname: new.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}, \
            {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Set, value: '50%'}], add: [{name: x-add, value: b}], remove: [x-gone]}}, \
            {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-said, value: 'yes'}]}}]}, \
          {matches: [{path: {value: /bare}}], backendRefs: [{name: v1, port: 80}], filters: [\
            {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]}, \
          {matches: [{path: {value: /moved}}], filters: [\
            {type: RequestRedirect, requestRedirect: {hostname: other.example, statusCode: 301, path: {type: ReplacePrefixMatch, replacePrefixMatch: /here}}}]}, \
          {matches: [{path: {value: /secure}}], filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]}, \
          {matches: [{path: {value: /port}}], filters: [{type: RequestRedirect, requestRedirect: {port: 8083}}]}, \
          {matches: [{path: {value: /open}}], backendRefs: [{name: v1, port: 80}], filters: [\
            {type: CORS, cors: {allowOrigins: ['https://*.example'], allowMethods: [GET, PUT], maxAge: 60}}]}, \
          {matches: [{path: {value: /own}}], backendRefs: [{name: v1, port: 80}], filters: [\
            {type: ExtensionRef, extensionRef: {group: a.example, kind: Own, name: it}}]}]",
    );
    mesh.expect("caller", "%header{x-said}", &["http://web/old/a"], "yes");
    let edits = [
        "http://web/old/a?b=c",
        "-Hx-set: a",
        "-Hx-add: a",
        "-Hx-gone: a",
    ];
    let seen = mesh.seen(&edits);
    assert_eq!(seen["path"], "/new/a?b=c", "{seen:#}");
    assert_eq!(seen["host"], "new.example", "{seen:#}");
    let headers = &seen["headers"];
    assert_eq!(headers["x-set"], "50%", "{seen:#}");
    assert_eq!(headers["x-add"], "a, b", "{seen:#}");
    assert_eq!(headers.get("x-gone"), None, "{seen:#}");
    for (asked, path) in [("/bare/a", "/a"), ("/bare", "/"), ("/bare/?x", "/?x")] {
        let seen = mesh.seen(&[&format!("http://web{asked}")]);
        assert_eq!(seen["path"], path, "{seen:#}");
    }
    let redirect = "%{http_code} %{redirect_url}";
    for (asked, expected) in [
        ("/moved/a?b", "301 http://other.example/here/a?b"),
        ("/secure", "302 https://web/secure"),
        ("/port", "302 http://web:8083/port"),
    ] {
        mesh.expect(
            "caller",
            redirect,
            &[&format!("http://web{asked}")],
            expected,
        );
    }
    let preflight = [
        "http://web/open",
        "-XOPTIONS",
        "-Horigin: https://shop.example",
        "-Haccess-control-request-method: PUT",
    ];
    let allowed =
        "%{http_code} %header{access-control-allow-origin} %header{access-control-max-age}";
    mesh.expect("caller", allowed, &preflight, "200 https://shop.example 60");
    let stranger = ["http://web/open", "-Horigin: https://stranger"];
    mesh.expect("caller", allowed, &stranger, "200  ");
    mesh.status(&["http://web/own"], "500");
}

fn times(mesh: &Mesh<'_>) {
    mesh.say(
        "default",
        "[{matches: [{path: {value: /bounded}}], timeouts: {request: 300ms}, backendRefs: [{name: v1, port: 80}]}, \
          {matches: [{path: {value: /again}}], retry: {codes: [503], attempts: 3, backoff: 1ms}, \
           backendRefs: [{name: v1, port: 80}]}]",
    );
    mesh.status(&["http://web/bounded"], "200");
    mesh.status(&["http://web/bounded?delay=20s"], "504");
    let retries = || {
        let name = "cluster.outbound|80||v1.default.svc.cluster.local.upstream_rq_retry:";
        let stats = admin(mesh.demos, "caller", "stats?filter=upstream_rq_retry");
        let line = stats.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |count| count.trim().parse::<u64>().expect("a number"))
    };
    let before = retries();
    mesh.status(&["http://web/again?status=503"], "503");
    assert_eq!(retries() - before, 3);
    mesh.status(&["http://web/again?status=500"], "500");
    assert_eq!(retries() - before, 3, "only what is named");
}

fn of_clients(mesh: &Mesh<'_>) {
    mesh.say(
        "other",
        "[{filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-of, value: clients}]}}], \
          backendRefs: [{name: web, namespace: default, port: 80}]}]",
    );
    let of = "%{http_code} %header{x-of}";
    mesh.expect(
        "other/consumer",
        of,
        &["http://web.default/"],
        "200 clients",
    );
    mesh.expect("caller", of, &["http://web/"], "200 ");
}

fn other_namespaces(mesh: &Mesh<'_>) {
    const GRANT: &str = "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\n\
        metadata: {name: it, namespace: other}\n\
        spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}], \
        to: [{group: '', kind: Service, name: far}]}\n";

    mesh.say(
        "default",
        "[{backendRefs: [{name: far, namespace: other, port: 80}]}]",
    );
    mesh.status(&["http://web/"], "500");
    apply(&mesh.run, "grant.yaml", GRANT);
    mesh.pod(&["http://web/"], "far");
    delete(&mesh.run, "grant.yaml");
    mesh.status(&["http://web/"], "500");
}

fn copies(mesh: &Mesh<'_>) {
    mesh.say(
        "default",
        "[{backendRefs: [{name: v1, port: 80}], filters: [\
            {type: RequestMirror, requestMirror: {backendRef: {name: v2, port: 80}}}, \
            {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-said, value: copied}]}}]}]",
    );
    mesh.expect("caller", "%header{x-said}", &["http://web/"], "copied");
    // Requests that the sidecar of v2 has passed on.
    let came = || -> u64 {
        let stats = admin(mesh.demos, "v2", "stats?filter=downstream_rq_completed");
        let lines = stats
            .lines()
            .filter(|line| line.starts_with("http.inbound"));
        let counts = lines.filter_map(|line| line.split_once(": "));
        counts
            .filter_map(|(_, count)| count.parse::<u64>().ok())
            .sum()
    };
    // Copies of what was asked until the route was known may be on their way.
    let mut before = came();
    let settled = eventually(PATIENCE, || {
        let now = came();
        (std::mem::replace(&mut before, now) == now).then_some(())
    });
    settled.expect("no more copies");
    for request in [
        &["http://web/a"][..],
        &["http://web/a", "-d", "hello"],
        &["http://web/a", "--http2-prior-knowledge", "-d", "hello"],
    ] {
        mesh.pod(request, "v1");
    }
    let mut last = 0;
    let all = eventually(PATIENCE, || {
        last = came();
        (last == before + 3).then_some(())
    });
    assert!(all.is_ok(), "{last} of {before} + 3");
}

fn calls(mesh: &Mesh<'_>) {
    let call = |path: &'static str| {
        [
            path,
            "--http2-prior-knowledge",
            "-XPOST",
            "-Hcontent-type: application/grpc",
        ]
    };
    let rules = "[{matches: [{method: {service: shop.Cart, method: Add}}], backendRefs: [{name: v2, port: 9000}]}, \
        {matches: [{method: {service: shop.Cart}}], backendRefs: [{name: v1, port: 9000}]}, \
        {matches: [{method: {service: shop.None}}], backendRefs: [{name: nobody, port: 9000}]}]";
    let route = route("GRPCRoute", "default", ", port: 9000", rules);
    apply(&mesh.run, FILE, &route);
    mesh.pod(&call("http://web:9000/shop.Cart/Add"), "v2");
    mesh.pod(&call("http://web:9000/shop.Cart/Get"), "v1");
    // UNAVAILABLE.
    let status = "%header{grpc-status}";
    mesh.expect(
        "caller",
        status,
        &call("http://web:9000/shop.None/Get"),
        "14",
    );
    mesh.pod(&["http://web/other-port"], "v1");
}
