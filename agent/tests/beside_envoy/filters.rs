//! HTTP filters: the answers and the filters' counters must be the same. The cases are data, in
//! `filters.cases.yaml`.

use weir_tests::envoy;

use crate::{
    case::{self, Case},
    stats,
};

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
    let cases: Vec<Case> = yaml_serde::from_str(include_str!("filters.cases.yaml")).expect("cases");
    let (envoy, weir) = case::both(include_str!("filters.bootstrap.yaml"));
    let mut wrong = case::compare(&cases, &envoy, &weir);
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
