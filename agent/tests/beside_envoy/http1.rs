//! The same bytes to both, and the answers must be the same. The cases are data, in `http1.cases.yaml`.

use weir_tests::envoy;

use crate::{
    case::{self, Case},
    stats,
};

#[test]
fn the_same_bytes_get_the_same_answers_from_both() {
    if !envoy::available() {
        return;
    }
    let cases: Vec<Case> = yaml_serde::from_str(include_str!("http1.cases.yaml")).expect("cases");
    let (envoy, weir) = case::both(include_str!("http1.bootstrap.yaml"));
    let wrong = case::compare(&cases, &envoy, &weir);
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    let counted = stats::compare(&envoy, &weir);
    assert!(counted.is_empty(), "Envoy, ours:\n{}", counted.join("\n"));
}
