//! What becomes of messages: every example is taken, and what is wrong is said with its place.

use std::{fs, path::Path};

use weir_api::xds::json;

use super::*;

pub(super) fn converted(yaml: &str) -> Result<Bootstrap, ConfigError> {
    bootstrap(json::read_bootstrap(yaml).expect("well-formed"))
}

pub(super) fn example(name: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bootstraps");
    fs::read_to_string(directory.join(name)).expect(name)
}

#[test]
fn every_example_is_taken() {
    for name in [
        "virtual-hosts.yaml",
        "direct-response.yaml",
        "redirect.yaml",
        "sni-passthrough.yaml",
        "tcp-weighted.yaml",
        "transparent.yaml",
        "ads.yaml",
        "grpc.yaml",
    ] {
        if let Err(error) = converted(&example(name)) {
            panic!("{name}:\n{error}");
        }
    }
}
