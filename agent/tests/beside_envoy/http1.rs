//! The same bytes to both, and the answers must be the same. The cases are data, in `http1.cases.yaml`.

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
    /// Bytes for the proxy; `@TEXT*N@` stands for TEXT N times.
    send: String,
    /// To the listener that is particular about requests.
    #[serde(default)]
    strict: bool,
    /// To the listener at the edge of the trusted network.
    #[serde(default)]
    edge: bool,
    /// Why our answer is not Envoy's, where it is not.
    #[serde(default)]
    differs: Option<String>,
    /// Our answer then, but for what Envoy answers too.
    #[serde(default)]
    ours: Vec<String>,
}

#[test]
fn the_same_bytes_get_the_same_answers_from_both() {
    if !envoy::available() {
        return;
    }
    let bootstrap = include_str!("http1.bootstrap.yaml");
    let cases: Vec<Case> = yaml_serde::from_str(include_str!("http1.cases.yaml")).expect("cases");
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
        let (theirs, ours) = (
            Answer::get(envoy.port(case.strict, case.edge), &bytes),
            Answer::get(weir.port(case.strict, case.edge), &bytes),
        );
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
