//! Hosts that rules declare, and what a sidecar may reach: connections to addresses that nobody has are
//! recognised by the name they ask for, those to declared addresses by these, and others are refused where
//! a rule says so.

use super::{
    pods::{address, admin, apply, delete},
    routes::{Mesh, in_mesh},
};

const FILE: &str = "external.yaml";

/// A caller in the mesh and two pods that stand for machines outside of it.
fn manifests() -> String {
    let pod = |name: &str, labels: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default, labels: {{{labels}}}}}\n\
             spec: {{containers: [{{name: echo, image: weir.dev/echo, args: [--auto, '8080', --tls, '8443'], \
             ports: [{{containerPort: 8080}}]}}]}}\n"
        )
    };
    [
        pod("caller", "app: caller, weir.dev/inject: 'true'"),
        pod("near", "app: near"),
        pod("far", "app: far"),
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: far, namespace: default}\n\
         spec: {selector: {app: far}, ports: [{name: http, port: 8080}]}\n"
            .to_owned(),
    ]
    .concat()
}

/// A host that leads to `far`, whatever address is asked for.
fn entry(more: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
         metadata: {{name: api, namespace: default}}\nspec: {{hosts: [api.example.com], \
         ports: [{{number: 8080, name: http, protocol: HTTP}}, {{number: 8443, name: tls, protocol: TLS}}], \
         resolution: STATIC, {more}}}\n"
    )
}

const FAR: &str = "workloadSelector: {labels: {app: far}}";

fn rule(kind: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: {kind}\n\
         metadata: {{name: it, namespace: default}}\nspec: {{{spec}}}\n"
    )
}

#[test]
fn hosts_outside_are_reached_by_name_and_by_address_and_what_is_not_declared_is_refused_if_so_ruled()
 {
    in_mesh(&manifests(), |mesh| {
        let near = address(&mesh.run, "near");
        let to = |port: u16| format!("api.example.com:{port}:{near}");
        let (http, tls) = (to(8080), to(8443));
        let by_host = ["http://api.example.com:8080/", "--resolve", http.as_str()];
        let by_sni = [
            "-k",
            "https://api.example.com:8443/",
            "--resolve",
            tls.as_str(),
        ];
        let plain = format!("http://{near}:8080/");
        // Nobody knows the host: the address counts.
        mesh.pod(&by_host, "near");
        mesh.pod(&by_sni, "near");
        apply(&mesh.run, FILE, &entry(FAR));
        mesh.pod(&by_host, "far");
        mesh.pod(&by_sni, "far");
        mesh.pod(&[&plain], "near");
        by_rules(mesh, &by_host);
        by_address(mesh);
        by_lookup(mesh);
        by_permission(mesh, &by_host, &plain);
        delete(&mesh.run, FILE);
        mesh.pod(&by_host, "near");
        ingress(mesh);
    });
}

/// What rules say of calls is said of hosts, too.
fn by_rules(mesh: &Mesh<'_>, by_host: &[&str]) {
    let answered = rule(
        "VirtualService",
        "hosts: [api.example.com], http: [{match: [{uri: {exact: /}}], directResponse: {status: 418}}]",
    );
    apply(&mesh.run, FILE, &(entry(FAR) + &answered));
    mesh.status(by_host, "418");
    apply(&mesh.run, FILE, &entry(FAR));
    mesh.pod(by_host, "far");
}

fn by_address(mesh: &Mesh<'_>) {
    apply(
        &mesh.run,
        FILE,
        &entry(&format!("{FAR}, addresses: [192.0.2.1, 192.0.2.128/25]")),
    );
    mesh.pod(&["http://192.0.2.1:8080/"], "far");
    mesh.pod(&["http://192.0.2.200:8080/"], "far");
    mesh.pod(&["-k", "https://192.0.2.200:8443/"], "far");
}

/// The sidecar looks a name up, here that of a Service, and goes where it leads.
fn by_lookup(mesh: &Mesh<'_>) {
    let ports = "ports: [{number: 80, name: http, protocol: HTTP}]";
    let endpoints = "endpoints: [{address: far.default.svc.cluster.local, ports: {http: 8080}}]";
    for (resolution, address) in [("DNS", "192.0.2.3"), ("DNS_ROUND_ROBIN", "192.0.2.4")] {
        let host = resolution.to_ascii_lowercase().replace('_', "-");
        let spec = format!(
            "hosts: [{host}.example.com], addresses: [{address}], {ports}, resolution: {resolution}, {endpoints}"
        );
        apply(&mesh.run, FILE, &rule("ServiceEntry", &spec));
        mesh.pod(&[&format!("http://{address}/")], "far");
        let cluster = format!("outbound|80||{host}.example.com");
        assert!(admin(mesh.demos, "caller", "clusters").contains(&cluster));
    }
}

fn by_permission(mesh: &Mesh<'_>, by_host: &[&str], plain: &str) {
    let refusing = rule("Sidecar", "outboundTrafficPolicy: {mode: REGISTRY_ONLY}");
    apply(&mesh.run, FILE, &(entry(FAR) + &refusing));
    mesh.status(&[plain], "502");
    mesh.pod(by_host, "far");
    // What is no HTTP gets no answer.
    let tls = plain.replace("http:", "https:").replace(":8080", ":8443");
    mesh.status(&["-k", &tls], "000");
    apply(&mesh.run, FILE, &entry(FAR));
    mesh.pod(&[plain], "near");
}

/// A port on which nothing listens leads to where the application does.
fn ingress(mesh: &Mesh<'_>) {
    let own = address(&mesh.run, "caller");
    let ports = "workloadSelector: {labels: {app: caller}}, \
        ingress: [{port: {number: 9090, protocol: HTTP, name: http}, defaultEndpoint: '127.0.0.1:8080'}]";
    apply(&mesh.run, FILE, &rule("Sidecar", ports));
    let asked = format!("http://{own}:9090/");
    mesh.expect("near", "%header{x-echo-pod}", &[&asked], "caller");
}
