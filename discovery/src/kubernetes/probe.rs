//! What the kubelet asks containers, read from a pod's specification.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize as _;
use serde_json::Value;
use weir_api::sidecar::PROXY_CONTAINER;

use super::wire;
use crate::model::{Interner, Probe, Question};

/// The requests of all probes of a pod that is about to be, each once; none of a pod that is none.
#[must_use]
pub fn probes(pod: &Value) -> Vec<Probe> {
    let spec = wire::PodSpec::deserialize(&pod["spec"]).unwrap_or_default();
    of(&spec, &Interner::default())
}

/// The requests of all probes of a pod, each once. A sidecar's own are not captured. A probe that cannot
/// be read is none, as is one that is not for the pod. Of one that is made over TLS the port is known: what it
/// asks for, nobody sees.
pub(super) fn of(spec: &wire::PodSpec, names: &Interner) -> Vec<Probe> {
    let containers = [&spec.containers, &spec.init_containers];
    let containers = containers.into_iter().flatten().flatten();
    let containers = containers.filter(|container| container.name != PROXY_CONTAINER);
    let mut probes: Vec<Probe> = containers.flat_map(|it| of_container(it, names)).collect();
    probes.sort_unstable();
    probes.dedup();
    probes
}

fn of_container(container: &wire::Container, names: &Interner) -> impl Iterator<Item = Probe> {
    let probes = [
        &container.liveness_probe,
        &container.readiness_probe,
        &container.startup_probe,
    ];
    let probes = probes.into_iter().flatten();
    probes.filter_map(|probe| match (&probe.http_get, &probe.grpc) {
        (Some(request), _) => http(request, container, names),
        (None, Some(call)) => Some(Probe {
            port: number(call.port)?,
            question: Question::Grpc,
        }),
        (None, None) => None,
    })
}

fn http(request: &wire::HttpGet, container: &wire::Container, names: &Interner) -> Option<Probe> {
    let is_elsewhere = request.host.as_deref().is_some_and(|host| !host.is_empty());
    if is_elsewhere {
        return None;
    }
    let port = port(request.port.as_ref()?, container)?;
    let scheme = request.scheme.as_deref().unwrap_or_default();
    if scheme.eq_ignore_ascii_case("https") {
        let question = Question::Tls;
        return Some(Probe { port, question });
    }
    if !scheme.is_empty() && !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    let path = request.path.as_deref().unwrap_or_default();
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = match path.strip_prefix('/') {
        Some(_) => names.text(path),
        None => names.text(&format!("/{path}")),
    };
    Some(Probe {
        port,
        question: Question::Http(path),
    })
}

fn port(port: &IntOrString, container: &wire::Container) -> Option<u16> {
    match port {
        IntOrString::Int(port) => number(*port),
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            let mut named = ports.filter(|port| port.name.as_ref() == Some(name));
            let named = named.next().and_then(|port| number(port.container_port));
            named.or_else(|| name.parse().ok())
        }
    }
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;

    use super::*;

    fn read(spec: &str) -> Vec<String> {
        let spec = yaml_serde::Deserializer::from_str(spec);
        let spec = wire::PodSpec::deserialize(spec).expect("a specification");
        let probes = of(&spec, &Interner::default());
        let text = |probe: Probe| match probe.question {
            Question::Http(path) => format!("{} {path}", probe.port),
            Question::Grpc => format!("{} gRPC", probe.port),
            Question::Tls => format!("{} TLS", probe.port),
        };
        probes.into_iter().map(text).collect()
    }

    #[test]
    fn every_probe_that_is_a_request_to_the_pod_is_read_once() {
        for (container, expected) in [
            ("{}", &[][..]),
            (
                "{readinessProbe: {httpGet: {port: 80, path: /ready}}}",
                &["80 /ready"],
            ),
            (
                "{livenessProbe: {httpGet: {port: 80}}, startupProbe: {httpGet: {port: 80, path: live}}, \
                 readinessProbe: {httpGet: {port: 80, path: '/', scheme: HTTP}}}",
                &["80 /", "80 /live"],
            ),
            (
                "{ports: [{name: web, containerPort: 8080}], \
                 readinessProbe: {httpGet: {port: web, path: '/a?b=c'}}}",
                &["8080 /a"],
            ),
            (
                "{readinessProbe: {grpc: {port: 9000, service: s}}}",
                &["9000 gRPC"],
            ),
            ("{readinessProbe: {httpGet: {port: '81'}}}", &["81 /"]),
            ("{readinessProbe: {httpGet: {port: unknown}}}", &[]),
            ("{readinessProbe: {httpGet: {port: 0}}}", &[]),
            ("{readinessProbe: {httpGet: {port: 70000}}}", &[]),
            (
                "{readinessProbe: {httpGet: {port: 443, scheme: HTTPS, path: /x}}, \
                 livenessProbe: {httpGet: {port: 443, scheme: https}}}",
                &["443 TLS"],
            ),
            ("{readinessProbe: {httpGet: {port: 443, scheme: FTP}}}", &[]),
            (
                "{readinessProbe: {httpGet: {port: 80, host: example.com}}}",
                &[],
            ),
            ("{readinessProbe: {tcpSocket: {port: 80}}}", &[]),
            ("{readinessProbe: {exec: {command: [x]}}}", &[]),
            (
                "{name: weir-proxy, readinessProbe: {httpGet: {port: 15021}}}",
                &[],
            ),
        ] {
            for list in ["containers", "initContainers"] {
                let spec = format!("{{{list}: [{container}]}}");
                assert_eq!(read(&spec), expected, "{spec}");
            }
        }
    }
}
