//! HTTP filters: the answers and the filters' counters must be the same. The cases are data, in
//! `filters.cases.yaml`.

use serde::Deserialize;
use weir_tests::envoy;

use crate::{
    answer::{self, Answer},
    proxies::{self, Ports, Proxy},
    stats, upstream,
};

/// One exchange.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    send: String,
    /// Why our answer is not Envoy's, where it is not.
    #[serde(default)]
    differs: Option<String>,
    /// Our answer then, but for what Envoy answers too.
    #[serde(default)]
    ours: Vec<String>,
}

/// Counters of these filters must be equal.
const COUNTED: [&str; 4] = [
    "http.web.rbac.",
    "http.web.fault.",
    "http.web.cors.",
    "http.web.downstream_rq_too_large",
];

#[test]
fn filters_do_and_count_what_envoys_do() {
    if !envoy::available() {
        return;
    }
    let bootstrap = include_str!("filters.bootstrap.yaml");
    let cases: Vec<Case> = yaml_serde::from_str(include_str!("filters.cases.yaml")).expect("cases");
    let (echo, refused) = (upstream::start(), proxies::free_port());
    let ports = || Ports {
        echo,
        refused,
        ..Ports::free()
    };
    let envoy = Proxy::envoy(bootstrap, ports());
    let weir = Proxy::weir(bootstrap, ports());
    let mut wrong = Vec::new();
    for case in &cases {
        let bytes = answer::expand(&case.send);
        let theirs = Answer::get(envoy.port(false, false), &bytes);
        let ours = Answer::get(weir.port(false, false), &bytes);
        let only_ours = ours.beyond(&theirs);
        match &case.differs {
            None if only_ours.is_empty() && theirs.beyond(&ours).is_empty() => {}
            Some(_) if only_ours == case.ours => {}
            _ => wrong.push(format!(
                "{}:\n  Envoy alone: {:#?}\n  ours alone: {only_ours:#?}",
                case.name,
                theirs.beyond(&ours)
            )),
        }
    }
    let (theirs, ours) = (stats::read(envoy.admin()), stats::read(weir.admin()));
    let is_counted = |name: &String| COUNTED.iter().any(|known| name.starts_with(known));
    let names = theirs
        .keys()
        .chain(ours.keys())
        .filter(|name| is_counted(name));
    for name in names {
        let (theirs, ours) = (theirs.get(name).unwrap_or(&0), ours.get(name).unwrap_or(&0));
        if theirs != ours {
            wrong.push(format!("{name}: Envoy {theirs}, ours {ours}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}
