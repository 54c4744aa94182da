//! Which calls a demo makes, and what each should do.

use std::net::SocketAddrV4;

use anyhow::Context as _;
use weir_api::names;
use weir_playground::{address::CLUSTER_DOMAIN, cluster::PodKey};

use super::world::{DemoPod, DemoService, OUTSIDE, World};

/// A call to make.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// What it is to show.
    pub(super) title: String,
    pub(super) from: PodKey,
    pub(super) url: String,
    pub(super) expected: Expected,
}

/// What a call should do.
#[derive(Debug, Clone, Default)]
pub(super) struct Expected {
    /// Who may answer; `None` where nobody knows what the application says.
    pub(super) answer_from: Option<Vec<String>>,
    /// HTTP or gRPC status; `None` where any will do.
    pub(super) status: Option<u16>,
    /// Nobody may answer but the caller's sidecar: with the status above, or, without a sidecar,
    /// by a refused connection.
    pub(super) refused: bool,
    /// The server name the application should have seen.
    pub(super) sni: Option<String>,
    /// Cluster of the caller's sidecar that should count it; `None` where no sidecar is in the way.
    pub(super) outbound: Option<String>,
    /// Pods whose sidecar may count it as inbound, each with the cluster.
    pub(super) inbound: Vec<(PodKey, String)>,
    /// Where the caller's sidecar should have sent it; empty where any will do.
    pub(super) endpoints: Vec<SocketAddrV4>,
    /// What the caller's sidecar should have taken it for; empty where any will do.
    pub(super) filter_chain: &'static str,
}

/// The calls of the built-in shop: one for each thing a mesh must get right.
pub(super) fn shop(world: &World) -> anyhow::Result<Vec<Call>> {
    let frontend = only(world, "shop", "frontend")?;
    let payments = only(world, "shop", "payments")?;
    let reports = only(world, "legacy", "reports")?;
    let inventory = world.app("shop", "inventory");
    let second = inventory
        .get(1)
        .context("the shop has no second inventory pod")?;
    let service = |name: &str, port: u16| {
        let found = world
            .services
            .iter()
            .find(|service| service.name == name && service.port == port);
        found.with_context(|| format!("the shop has no Service {name}:{port}"))
    };
    let shop =
        |title: &str, url: &str, to: &DemoService| through_service(world, title, frontend, url, to);
    let named = |mut call: Call, chain: &'static str| {
        call.expected.filter_chain = chain;
        call
    };
    Ok(vec![
        named(
            through_service(
                world,
                "HTTP/1.1, by port name",
                payments,
                "http://frontend/",
                service("frontend", 80)?,
            ),
            "http",
        ),
        shop(
            "itself through its Service",
            "http://frontend.shop/self",
            service("frontend", 80)?,
        ),
        named(
            shop(
                "HTTP/1.1, protocol found out",
                "http://search:3000/find?q=weir",
                service("search", 3000)?,
            ),
            "http",
        ),
        shop(
            "an error passes through",
            "http://search:3000/?status=418",
            service("search", 3000)?,
        )
        .status(418),
        named(
            shop(
                "HTTP/2 without TLS",
                "h2c://catalog/items",
                service("catalog", 80)?,
            ),
            "http",
        ),
        named(
            shop(
                "gRPC health check",
                "grpc://catalog:7070",
                service("catalog", 7070)?,
            ),
            "http",
        )
        .status(0),
        named(
            shop(
                "TCP, by port name",
                "tcp://payments:9000",
                service("payments", 9000)?,
            ),
            "tcp",
        ),
        named(
            shop(
                "TLS passed on by its SNI",
                "https://payments.shop.svc.cluster.local/pay",
                service("payments", 443)?,
            ),
            "tls",
        )
        .sni("payments.shop.svc.cluster.local"),
        named(
            shop(
                "server speaks first, no hint",
                "first://mailroom:4000",
                service("mailroom", 4000)?,
            ),
            "tcp",
        ),
        to_pod(
            world,
            "headless: one pod by its name",
            frontend,
            "http://inventory-1.inventory:8080/",
            second,
            service("inventory", 8080)?,
        ),
        to_pod(
            world,
            "headless: TCP to that pod",
            frontend,
            "tcp://inventory-1.inventory:6000",
            second,
            service("inventory", 6000)?,
        ),
        through_service(
            world,
            "from outside the mesh",
            reports,
            "http://frontend.shop/report",
            service("frontend", 80)?,
        ),
        through_service(
            world,
            "from outside, server first",
            reports,
            "first://mailroom.shop:4000",
            service("mailroom", 4000)?,
        ),
        through_service(
            world,
            "to outside the mesh",
            frontend,
            "http://archive.legacy/",
            service("archive", 80)?,
        ),
        through_service(
            world,
            "neither end in the mesh",
            reports,
            "http://archive/",
            service("archive", 80)?,
        ),
        outside(
            frontend,
            "an address nobody knows",
            &format!("http://{}:8080/", OUTSIDE.1),
        ),
        outside(
            frontend,
            "a name nobody knows",
            &format!("http://{}:8080/", OUTSIDE.0),
        ),
        nobody(frontend, "a Service without endpoints", "http://returns/"),
        local(frontend, "localhost stays local", "http://localhost:8080/"),
    ])
}

fn only<'a>(world: &'a World, namespace: &str, app: &str) -> anyhow::Result<&'a DemoPod> {
    let pods = world.app(namespace, app);
    pods.first()
        .copied()
        .with_context(|| format!("the shop has no pod of {namespace}/{app}"))
}

/// A call through a Service's address.
pub(super) fn through_service(
    world: &World,
    title: &str,
    from: &DemoPod,
    url: &str,
    to: &DemoService,
) -> Call {
    let targets: Vec<(&DemoPod, u16)> = to
        .targets
        .iter()
        .filter_map(|(key, port)| Some((world.pod(key)?, *port)))
        .collect();
    let host = names::service_host(&to.name, &to.namespace, CLUSTER_DOMAIN);
    let meshed = targets.iter().filter(|(pod, _)| pod.meshed);
    let all_echo = targets.iter().all(|(pod, _)| pod.echo);
    let is_http = url.starts_with("http") || url.starts_with("h2c");
    Call {
        title: title.to_owned(),
        from: from.key.clone(),
        url: url.to_owned(),
        expected: Expected {
            answer_from: all_echo.then(|| {
                targets
                    .iter()
                    .map(|(pod, _)| pod.key.name.clone())
                    .collect()
            }),
            status: (is_http && all_echo).then_some(200),
            outbound: from.meshed.then(|| names::outbound_cluster(to.port, &host)),
            inbound: meshed
                .flat_map(|(pod, port)| {
                    let clusters = pod.inbound_clusters(*port).into_iter();
                    clusters.map(|cluster| (pod.key.clone(), cluster))
                })
                .collect(),
            endpoints: targets
                .iter()
                .map(|(pod, port)| SocketAddrV4::new(pod.ip, *port))
                .collect(),
            ..Expected::default()
        },
    }
}

/// A call to one pod of a headless Service.
fn to_pod(
    world: &World,
    title: &str,
    from: &DemoPod,
    url: &str,
    to: &DemoPod,
    service: &DemoService,
) -> Call {
    let mut call = through_service(world, title, from, url, service);
    let port = service
        .targets
        .iter()
        .find(|(key, _)| *key == to.key)
        .map_or(service.port, |(_, port)| *port);
    let host = names::service_host(&service.name, &service.namespace, CLUSTER_DOMAIN);
    let endpoint = format!("{}.{host}", to.ip.to_string().replace('.', "-"));
    call.expected.answer_from = to.echo.then(|| vec![to.key.name.clone()]);
    call.expected.outbound = from
        .meshed
        .then(|| names::outbound_cluster(port, &endpoint));
    call.expected.endpoints = vec![SocketAddrV4::new(to.ip, port)];
    call.expected.inbound.retain(|(key, _)| *key == to.key);
    call
}

/// A call to the host the cluster knows nothing of.
fn outside(from: &DemoPod, title: &str, url: &str) -> Call {
    Call {
        title: title.to_owned(),
        from: from.key.clone(),
        url: url.to_owned(),
        expected: Expected {
            answer_from: Some(vec![OUTSIDE.0.to_owned()]),
            status: Some(200),
            outbound: from.meshed.then(|| names::PASSTHROUGH_CLUSTER.to_owned()),
            ..Expected::default()
        },
    }
}

/// A call to a Service that has no endpoints: refused at once, and by the sidecar with a reason.
fn nobody(from: &DemoPod, title: &str, url: &str) -> Call {
    Call {
        title: title.to_owned(),
        from: from.key.clone(),
        url: url.to_owned(),
        expected: Expected {
            status: from.meshed.then_some(503),
            refused: true,
            ..Expected::default()
        },
    }
}

/// A call of a pod to itself over loopback.
fn local(from: &DemoPod, title: &str, url: &str) -> Call {
    Call {
        title: title.to_owned(),
        from: from.key.clone(),
        url: url.to_owned(),
        expected: Expected {
            answer_from: Some(vec![from.key.name.clone()]),
            status: Some(200),
            ..Expected::default()
        },
    }
}

/// The calls of manifests nobody here knows: each port of each Service, from a pod in the mesh and
/// from one that is not, in the protocol the port's hints name.
pub(super) fn derived(world: &World) -> Vec<Call> {
    let mut calls = Vec::new();
    for service in &world.services {
        let scheme = scheme_of(service, world);
        let url = format!(
            "{scheme}://{}.{}:{}",
            service.name, service.namespace, service.port
        );
        let callers = || world.pods.iter().filter(|pod| pod.stays);
        let is_target = |pod: &DemoPod| service.targets.iter().any(|(key, _)| *key == pod.key);
        // Another pod of the mesh, or, where there is none, one of the Service's own.
        let from = callers()
            .filter(|pod| pod.meshed)
            .min_by_key(|pod| (is_target(pod), pod.key.namespace != service.namespace));
        let outsider = callers().find(|pod| !pod.meshed && pod.echo);
        for (title, from) in [("from the mesh", from), ("from outside the mesh", outsider)] {
            let Some(from) = from else { continue };
            calls.push(
                match service.targets.first().and_then(|(key, _)| world.pod(key)) {
                    Some(pod) if service.headless => {
                        let url = format!("{scheme}://{}:{}", pod.ip, service.targets[0].1);
                        to_pod(
                            world,
                            &format!("headless, {title}"),
                            from,
                            &url,
                            pod,
                            service,
                        )
                    }
                    _ => through_service(world, title, from, &url, service),
                },
            );
        }
    }
    calls
}

/// The protocol to call a Service with: its hints; without any, HTTP, which every stand-in answers.
fn scheme_of(service: &DemoService, world: &World) -> &'static str {
    let hint = if service.app_protocol.is_empty() {
        service.port_name.split('-').next().unwrap_or_default()
    } else {
        service.app_protocol.rsplit('/').next().unwrap_or_default()
    };
    let echo = service
        .targets
        .iter()
        .any(|(key, _)| world.pod(key).is_some_and(|pod| pod.echo));
    match (hint.to_ascii_lowercase().as_str(), service.port) {
        ("http2" | "h2c", _) => "h2c",
        ("grpc", _) => "grpc",
        ("https" | "tls", _) | (_, 443 | 8443) => "https",
        ("mysql" | "smtp" | "ftp" | "ssh" | "nats", _) | (_, 3306 | 25 | 587 | 21 | 22 | 4222) => {
            "first"
        }
        ("tcp" | "redis" | "mongo" | "postgres" | "postgresql" | "amqp" | "kafka", _)
        | (_, 6379 | 5432 | 27017 | 5672 | 9092 | 11211)
            if echo =>
        {
            "tcp"
        }
        _ => "http",
    }
}

// === impl Call ===

impl Call {
    fn status(mut self, status: u16) -> Self {
        self.expected.status = Some(status);
        self
    }

    fn sni(mut self, name: &str) -> Self {
        self.expected.sni = Some(name.to_owned());
        self
    }
}
