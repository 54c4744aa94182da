//! The commands of docs/install.md do what they are written for.

use std::fs;

use anyhow::Result;
use weir_process::command::execute;
use weir_tests::helm::{data, root};

use crate::release::{Cluster, PATIENCE};

/// Commands that need nodes, or an engine for images.
const NOT_HERE: [&str; 5] = [
    "make image",
    "weir check",
    "helm --namespace weir-system test",
    "kubectl --namespace weir-system rollout status",
    "kubectl --namespace weir-system delete secret",
];

#[test]
fn the_commands_of_the_document_work_from_top_to_bottom() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let kinds = fs::read_to_string(data().join("crds.yaml")).unwrap();
    cluster.server.apply(&kinds).unwrap();
    cluster
        .server
        .kubectl(&["create", "namespace", "shop"])
        .unwrap();
    let text = fs::read_to_string(root().join("docs/install.md")).unwrap();
    let blocks = text.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    let mut ran = 0;
    for line in lines.filter(|line| !NOT_HERE.iter().any(|other| line.starts_with(other))) {
        // Sections that begin with a release, after the one that ends it.
        let releases = cluster.helm(&["list", "--short"]).unwrap();
        let installed = releases.lines().any(|name| name == "weir");
        if !installed && line.starts_with("helm upgrade weir ") {
            cluster.upgrade("weir", "replicas=2", &[]).unwrap();
        }
        cluster.run(line).unwrap();
        ran += 1;
    }
    assert!(ran > 12, "the commands were not found");
}

// === impl Cluster ===

impl Cluster {
    /// Runs a line of the document, in the root of the repository.
    fn run(&self, line: &str) -> Result<()> {
        let mut shell = self.server.command("sh");
        execute(shell.current_dir(root()).args(["-ec", line]), "", PATIENCE)?;
        Ok(())
    }
}
