//! What `weir policy test` decides about a flow is what the sidecar's filters decide: random policies,
//! random flows, the rules asked without a proxy and the RBAC filters that are built of them.

use std::{net::IpAddr, sync::Arc};

use serde_json::{Value, json};
use weir_api::{sidecar::PodPort, spiffe::TrustDomain, xds::codec};
use weir_discovery::{
    model::{Event, Index, NamespacedName, Object, Snapshot},
    rules::{self, KINDS},
    verdict::{Flow, FlowKind, Path, Request, Verdict, decide},
    xds::{Client, Generator, Kind, Settings},
};
use weir_proxy::{
    config::{Listener, http_filter::HttpFilterConfig, network_filter::NetworkFilter, rbac::Rules},
    convert,
    rbac::Asked,
};

#[path = "authorization_equality/random.rs"]
mod random;

use random::{Call, Random};

const POLICIES: usize = 500;
const CALLS: usize = 200;
const PORT: u16 = 8080;

#[test]
fn rules_decide_without_a_proxy_as_the_filters_made_of_them_do() {
    let trust_domain: TrustDomain = "mesh.example".parse().expect("a trust domain");
    let generator = Generator::new(Settings {
        mutual_tls: true,
        trust_domain: trust_domain.clone(),
        ..Settings::default()
    });
    let (mut random, mut counted) = (Random::new(7), [0_usize; 2]);
    for _ in 0..POLICIES {
        let policies = random.policies();
        let snapshot = snapshot(&policies);
        let listener = listener(&generator, &snapshot);
        let rules = snapshot.attachments();
        let rules = rules.authorization("shop", &labels(&[("app", "web")]));
        for _ in 0..CALLS {
            let call = random.call();
            let expected = is_let_through(&listener, &call);
            let headers = |name: &str| Some(call.header(name));
            let verdict = decide(&rules, &flow(&call, &headers), &trust_domain);
            let decided = match &verdict {
                Verdict::Allowed(_) => Some(true),
                Verdict::Denied(_) => Some(false),
                Verdict::Undecided(_) => None,
            };
            assert_eq!(
                decided,
                Some(expected),
                "{verdict:?}: {call:?}: {policies:#?}"
            );
            counted[usize::from(expected)] += 1;
        }
    }
    assert_eq!(counted.iter().sum::<usize>(), 100_000);
    // Neither is rare, so that the test says something.
    assert!(counted.iter().all(|count| *count > 10_000), "{counted:?}");
}

fn labels(pairs: &[(&str, &str)]) -> weir_discovery::model::Labels {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| (Arc::from(*key), Arc::from(*value)))
        .collect()
}

/// One pod, and the policies.
fn snapshot(policies: &[Value]) -> Arc<Snapshot> {
    let mut index = Index::default();
    let kind = KINDS
        .iter()
        .find(|it| it.kind == "AuthorizationPolicy")
        .expect("known");
    let settings = rules::Settings::default();
    for policy in policies {
        let attachment = kind.attachment(policy, &settings).expect("an attachment");
        index.apply(Event::Applied(Object::Attachment(attachment)));
    }
    index.commit();
    index.snapshot()
}

/// What the pod's sidecar is told.
fn listener(generator: &Generator, snapshot: &Snapshot) -> Listener {
    let client = Arc::new(Client {
        // It is not known yet, and no policy selects by labels.
        pod: Some(NamespacedName::new("shop", "web-1")),
        addresses: vec![IpAddr::from([10, 5, 0, 1])],
        ports: vec![PodPort {
            name: None,
            container_port: PORT,
            protocol: None,
        }],
        mutual_tls: true,
        ..Client::default()
    });
    let view = generator.view(snapshot, Kind::Listener, "virtualInbound", &client);
    let resource = generator.resource_for(snapshot, Kind::Listener, "virtualInbound", &view);
    let message = codec::unpack_listener(&resource.expect("known").body).expect("a listener");
    convert::listener(message).expect("supported")
}

/// Whether the filters of the port let a call through.
fn is_let_through(listener: &Listener, call: &Call) -> bool {
    let kind = if call.is_request { "http" } else { "tcp" };
    let name = format!("inbound|{PORT}|{kind}");
    let chain = listener.filter_chains.iter().find(|it| it.name == name);
    let filters = &chain.unwrap_or_else(|| panic!("no {name}")).filters;
    let asked = asked(call);
    let lets = |rules: &Option<Rules>| {
        let rules = rules.iter();
        rules
            .into_iter()
            .all(|rules| asked.verdict(rules).is_allowed)
    };
    filters.iter().all(|filter| match filter {
        NetworkFilter::Rbac(filter) => lets(&filter.filter.rules),
        NetworkFilter::HttpConnectionManager(manager) => {
            manager.filters.iter().all(|filter| match &filter.config {
                HttpFilterConfig::Rbac(filter) => lets(&filter.rules),
                _ => true,
            })
        }
        _ => true,
    })
}

fn asked(call: &Call) -> Asked {
    let (source, destination) = ((call.source, 40_000), (call.destination, PORT));
    let identity = call.principal.as_deref();
    let asked = Asked::connection(
        source.into(),
        destination.into(),
        identity,
        call.server_name,
    );
    match call.is_request {
        true => asked.with_request(call.head().as_bytes()).expect("a head"),
        false => asked,
    }
}

fn flow<'a>(call: &'a Call, headers: &'a dyn Fn(&str) -> Option<Vec<String>>) -> Flow<'a> {
    Flow {
        speech: match call.is_request {
            true => FlowKind::Request(Request {
                method: Some(call.method),
                host: Some(call.host),
                path: Path::Raw(call.path.split('?').next().expect("a path")),
                headers,
                has_token: Some(false),
            }),
            false => FlowKind::Connection,
        },
        principal: call.principal.as_deref(),
        source_ip: Some(call.source),
        remote_ip: Some(call.source),
        destination_ip: Some(call.destination),
        destination_port: PORT,
        server_name: Some(call.server_name),
    }
}

/// That names what was not equal, should it ever be.
#[test]
fn the_same_seed_gives_the_same_policies() {
    let made = |seed| json!(Random::new(seed).policies());
    assert_eq!(made(3), made(3));
    assert_ne!(made(3), made(4));
}
