//! Istio's rules on calls of services, all programs real and nothing restarted: a canary by header, subset
//! and weight, and what else becomes of requests and connections of pods.

use weir_tests::eventually::eventually;

use super::{
    pods::{PATIENCE, admin, apply, curl, delete},
    routes::{Mesh, in_mesh},
};

const FILE: &str = "rules.yaml";

fn manifests() -> String {
    let pod = |namespace: &str, name: &str, labels: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}\n\
             spec: {{containers: [{{name: echo, image: weir.dev/echo, args: [--auto, '8080'], \
             ports: [{{containerPort: 8080}}]}}]}}\n"
        )
    };
    let service = |name: &str, selector: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\n\
             spec: {{selector: {{{selector}}}, ports: [{{name: http, port: 80, targetPort: 8080}}, \
             {{name: tcp-raw, port: 81, targetPort: 8080}}]}}\n"
        )
    };
    [
        pod("default", "v1", "app: web, version: v1"),
        pod("default", "v2", "app: web, version: v2"),
        pod("default", "caller", "app: caller"),
        pod("other", "stranger", "app: stranger"),
        service("web", "app: web"),
        service("second", "version: v2"),
    ]
    .concat()
}

const SUBSETS: &str = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
    metadata: {name: web, namespace: default}\n\
    spec: {host: web, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}\n---\n";

/// A rule of `web` with these rules about requests.
fn virtual_service(more: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {{name: web, namespace: default}}\nspec: {{hosts: [web], {more}}}\n"
    )
}

#[test]
fn a_canary_moves_by_header_subset_and_weight_and_other_rules_are_as_istios() {
    in_mesh(&manifests(), |mesh| {
        mesh.status(&["http://web/"], "200");
        canary(mesh);
        actions(mesh);
        faults(mesh);
        of_callers(mesh);
        streams(mesh);
        bounds(mesh);
        delete(&mesh.run, FILE);
        mesh.status(&["http://web/answer"], "200");
    });
}

fn say(mesh: &Mesh<'_>, rules: &str) {
    apply(&mesh.run, FILE, &(SUBSETS.to_owned() + rules));
}

fn canary(mesh: &Mesh<'_>) {
    say(
        mesh,
        &virtual_service(
            "http: [{match: [{headers: {x-canary: {exact: 'yes'}}}], route: [{destination: {host: web, subset: v2}}]}, \
             {route: [{destination: {host: web, subset: v1}}]}]",
        ),
    );
    let canary = ["http://web/", "-Hx-canary: yes"];
    mesh.pod(&canary, "v2");
    for _ in 0..8 {
        mesh.pod(&["http://web/"], "v1");
        mesh.pod(&canary, "v2");
    }
    say(
        mesh,
        &virtual_service(
            "http: [{headers: {response: {set: {x-step: weights}}}, route: [\
             {destination: {host: web, subset: v1}, weight: 80}, {destination: {host: web, subset: v2}, weight: 20}]}]",
        ),
    );
    mesh.expect("caller", "%header{x-step}", &["http://web/"], "weights");
    mesh.splits();
}

fn actions(mesh: &Mesh<'_>) {
    say(
        mesh,
        &virtual_service(
            "http: [\
             {match: [{uri: {prefix: /OLD}, ignoreUriCase: true, scheme: {exact: http}, method: {exact: GET}}], \
              rewrite: {uri: /new, authority: new.example}, headers: {request: {set: {x-set: a}, remove: [x-gone]}}, \
              route: [{destination: {host: web, subset: v1}}]}, \
             {match: [{uri: {prefix: /pattern/}}], rewrite: {uriRegexRewrite: {match: '^/pattern/(.*)$', rewrite: '/\\1/it'}}, \
              route: [{destination: {host: web, subset: v1}}]}, \
             {match: [{uri: {exact: /moved}}], redirect: {uri: /here, authority: other.example}}, \
             {match: [{uri: {exact: /answer}}], directResponse: {status: 418, body: {string: short}}}, \
             {match: [{uri: {exact: /bounded}}], timeout: 300ms, retries: {attempts: 0}, route: [{destination: {host: web}}]}, \
             {match: [{uri: {exact: /plain}, withoutHeaders: {x-no: {}}}], route: [{destination: {host: web, subset: v2}}]}, \
             {match: [{uri: {exact: /lost}}], route: [{destination: {host: web, subset: v9}}]}, \
             {match: [{uri: {prefix: /all}}], route: [{destination: {host: web}}]}]",
        ),
    );
    mesh.status(&["http://web/answer"], "418");
    let seen = mesh.seen(&["http://web/old/a?b", "-Hx-gone: a", "-Hx-set: b"]);
    assert_eq!(seen["path"], "/new/a?b", "{seen:#}");
    assert_eq!(seen["host"], "new.example", "{seen:#}");
    assert_eq!(seen["headers"]["x-set"], "a", "{seen:#}");
    assert_eq!(seen["headers"].get("x-gone"), None, "{seen:#}");
    let seen = mesh.seen(&["http://web/pattern/a"]);
    assert_eq!(seen["path"], "/a/it", "{seen:#}");
    let redirect = "%{http_code} %{redirect_url}";
    mesh.expect(
        "caller",
        redirect,
        &["http://web/moved"],
        "301 http://other.example/here",
    );
    assert_eq!(curl(mesh.demos, "caller", &["http://web/answer"]), "short");
    mesh.status(&["http://web/bounded?delay=20s"], "504");
    mesh.pod(&["http://web/plain"], "v2");
    mesh.status(&["http://web/plain", "-Hx-no: a"], "404");
    mesh.status(&["http://web/lost"], "503");
    mesh.status(&["http://web/none"], "404");
}

fn faults(mesh: &Mesh<'_>) {
    say(
        mesh,
        &virtual_service(
            "http: [{match: [{uri: {exact: /abort}}], fault: {abort: {httpStatus: 555}}, route: [{destination: {host: web}}]}, \
             {match: [{uri: {exact: /never}}], fault: {abort: {httpStatus: 555, percentage: {value: 0}}}, \
              route: [{destination: {host: web}}]}, \
             {match: [{uri: {exact: /open}}], route: [{destination: {host: web}}], \
              corsPolicy: {allowOrigins: [{prefix: 'https://shop.'}], allowMethods: [PUT], maxAge: 60s}}]",
        ),
    );
    mesh.status(&["http://web/abort"], "555");
    mesh.status(&["http://web/never"], "200");
    let preflight = [
        "http://web/open",
        "-XOPTIONS",
        "-Horigin: https://shop.example",
        "-Haccess-control-request-method: PUT",
    ];
    let allowed =
        "%{http_code} %header{access-control-allow-origin} %header{access-control-max-age}";
    mesh.expect("caller", allowed, &preflight, "200 https://shop.example 60");
}

fn of_callers(mesh: &Mesh<'_>) {
    say(
        mesh,
        &virtual_service(
            "http: [{match: [{sourceLabels: {app: caller}}], directResponse: {status: 201}}, \
             {match: [{sourceNamespace: other}], directResponse: {status: 202}}]",
        ),
    );
    mesh.status(&["http://web/"], "201");
    let stranger = ["http://web.default/"];
    mesh.expect("other/stranger", "%{http_code}", &stranger, "202");
    // A delegate says what becomes of a part.
    let delegate = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
        metadata: {name: part, namespace: other}\nspec: {http: [{directResponse: {status: 203}}]}\n";
    let root = virtual_service(
        "http: [{match: [{uri: {prefix: /part}}], delegate: {name: part, namespace: other}}]",
    );
    say(mesh, &(root + delegate));
    mesh.status(&["http://web/part/a"], "203");
    mesh.status(&["http://web/else"], "404");
}

fn streams(mesh: &Mesh<'_>) {
    // What is declared as TCP is not looked into, and speaks HTTP all the same.
    let rule = "tcp: [{match: [{port: 81, sourceLabels: {app: caller}}], \
        route: [{destination: {host: second, port: {number: 81}}}]}]";
    say(mesh, &virtual_service(rule));
    mesh.pod(&["http://web:81/"], "v2");
    for _ in 0..8 {
        mesh.pod(&["http://web:81/"], "v2");
    }
}

fn bounds(mesh: &Mesh<'_>) {
    let cluster = "outbound|80|v1|web.default.svc.cluster.local";
    let subsets = SUBSETS.replace(
        "labels: {version: v1}}",
        "labels: {version: v1}, trafficPolicy: {connectionPool: {http: {http2MaxRequests: 7, \
         maxRequestsPerConnection: 1}}, outlierDetection: {consecutive5xxErrors: 2, interval: 1s, \
         baseEjectionTime: 1h, maxEjectionPercent: 100}}}",
    );
    let route = virtual_service(
        "http: [{retries: {attempts: 0}, route: [{destination: {host: web, subset: v1}}]}]",
    );
    apply(&mesh.run, FILE, &(subsets + &route));
    let line = format!("{cluster}::default_priority::max_requests::7");
    let found = eventually(PATIENCE, || {
        mesh.status(&["http://web/"], "200");
        admin(mesh.demos, "caller", "clusters")
            .contains(&line)
            .then_some(())
    });
    assert!(found.is_ok(), "{}", admin(mesh.demos, "caller", "clusters"));
    // An endpoint that fails twice is left alone, and there is no other.
    for _ in 0..2 {
        curl(mesh.demos, "caller", &["http://web/?status=500"]);
    }
    mesh.status(&["http://web/"], "503");
}
