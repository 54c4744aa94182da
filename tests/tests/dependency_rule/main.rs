//! Dependencies point one way: binaries, then libraries, then `weir-api`. Held over what
//! `cargo metadata` says of the workspace and over the paths that source files name.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

mod source;

/// Each crate with those of ours it may use, and does.
const ALLOWED: [(&str, &[&str]); 15] = [
    ("weir-api", &[]),
    ("weir-process", &[]),
    ("weir-iptables", &["weir-api", "weir-process"]),
    ("weir-proxy", &["weir-api", "weir-guard"]),
    ("weir-injector", &["weir-api"]),
    ("weir-discovery", &["weir-api"]),
    ("weir-playground", &["weir-api", "weir-process"]),
    ("weir-sys", &[]),
    ("weir-guard", &[]),
    (
        "weir-agent",
        &[
            "weir-api",
            "weir-guard",
            "weir-iptables",
            "weir-process",
            "weir-proxy",
            "weir-sys",
        ],
    ),
    (
        "weir-control",
        &[
            "weir-api",
            "weir-discovery",
            "weir-guard",
            "weir-injector",
            "weir-process",
        ],
    ),
    (
        "weir-cli",
        &[
            "weir-api",
            "weir-discovery",
            "weir-injector",
            "weir-playground",
            "weir-process",
        ],
    ),
    ("weir-tests", &["weir-process"]),
    ("weir-bench", &["weir-process", "weir-tests"]),
    (
        "weir-bench-scale",
        &["weir-api", "weir-process", "weir-tests"],
    ),
];

/// One TLS provider, aws-lc-rs, is in every binary: two would each want to be the process's default.
const OTHER_TLS: [&str; 5] = ["boring", "native-tls", "openssl", "openssl-sys", "ring"];

/// Crates whose types meet across the interfaces of others, so that two versions do not fit.
const ONE_VERSION: [&str; 12] = [
    "bytes",
    "h2",
    "http",
    "http-body",
    "hyper",
    "hyper-util",
    "prost",
    "prost-types",
    "rustls",
    "tokio",
    "tokio-rustls",
    "tonic",
];

/// Paths of one part of a crate that it must not name.
struct SourceRule {
    /// Files and directories, from the root of the repository.
    of: &'static [&'static str],
    /// Files among those that are exempt.
    except: &'static [&'static str],
    forbidden: &'static [&'static str],
    because: &'static str,
}

const SOURCE_RULES: [SourceRule; 3] = [
    SourceRule {
        of: &["discovery/src/model.rs", "discovery/src/model"],
        except: &[],
        forbidden: &[
            "k8s_openapi",
            "envoy_types",
            "prost",
            "tonic",
            "weir_api::xds",
            "crate::kubernetes",
            "crate::manifests",
            "crate::publish",
            "crate::xds",
        ],
        because: "the model knows neither Kubernetes nor protobuf: convert in discovery/src/kubernetes \
                  (what fills the model) or discovery/src/xds (what reads it)",
    },
    SourceRule {
        of: &["discovery/src/xds.rs", "discovery/src/xds"],
        except: &[],
        forbidden: &["k8s_openapi", "crate::kubernetes", "crate::manifests"],
        because: "the xDS server reads the model and does not know where it came from: put what it \
                  needs into the model",
    },
    SourceRule {
        of: &["injector/src"],
        except: &["injector/src/webhook.rs", "injector/src/webhook"],
        forbidden: &[
            "std::env",
            "std::fs",
            "std::net::TcpListener",
            "std::net::TcpStream",
            "std::net::UdpSocket",
            "std::process",
            "std::thread",
            "std::time::Instant",
            "std::time::SystemTime",
            "axum",
            "hyper",
            "tokio",
        ],
        because: "injection is a plain function of the pod and the configuration: hand the value in as \
                  an argument, or do it in injector/src/webhook.rs or in the control plane",
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn metadata() -> Metadata {
    let target = std::process::Command::new("rustc")
        .args(["--print", "host-tuple"])
        .output()
        .expect("rustc");
    let target = String::from_utf8(target.stdout).expect("a target's name");
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        // All of it was downloaded to build this test.
        .other_options(["--offline", "--filter-platform", target.trim()].map(str::to_owned))
        .exec()
        .expect("cargo metadata")
}

/// Of each of our crates, those of ours it names as a dependency of one of these kinds.
fn edges(metadata: &Metadata, kinds: &[DependencyKind]) -> BTreeMap<String, BTreeSet<String>> {
    let members = metadata.workspace_packages();
    let ours: BTreeSet<&str> = members
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let named = |package: &cargo_metadata::Package| {
        let dependencies = package.dependencies.iter();
        dependencies
            .filter(|dependency| kinds.contains(&dependency.kind))
            .filter(|dependency| ours.contains(dependency.name.as_str()))
            .map(|dependency| dependency.name.clone())
            .collect()
    };
    let edge = |package: &&cargo_metadata::Package| (package.name.to_string(), named(package));
    members.iter().map(edge).collect()
}

#[test]
fn crates_use_exactly_the_crates_they_may() {
    let kinds = [DependencyKind::Normal, DependencyKind::Build];
    let mut wrong = Vec::new();
    for (name, used) in edges(&metadata(), &kinds) {
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
            wrong.push(format!(
                "{name} is new: name it and what it may use in ALLOWED and in ARCHITECTURE.md"
            ));
            continue;
        };
        for extra in used.iter().filter(|used| !allowed.contains(&used.as_str())) {
            wrong.push(format!(
                "{name} must not use {extra}: move what both need into weir-api, or compose the two \
                 in a binary"
            ));
        }
        for unused in allowed.iter().filter(|allowed| !used.contains(**allowed)) {
            wrong.push(format!(
                "{name} no longer uses {unused}: take it out of ALLOWED and of ARCHITECTURE.md"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tests_of_a_crate_need_no_crate_but_the_fixtures() {
    for (name, used) in edges(&metadata(), &[DependencyKind::Development]) {
        // The crate for tests that cross crates, which is what the others' belong in.
        if name == "weir-tests" {
            continue;
        }
        let extra: Vec<_> = used.iter().filter(|used| *used != "weir-tests").collect();
        assert!(
            extra.is_empty(),
            "tests of {name} use {extra:?}: a test that crosses crates belongs in tests/tests"
        );
    }
}

#[test]
fn one_tls_provider_is_in_the_graph() {
    // Not `cargo metadata`, which also has what no feature asks for (`ring?/std`).
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--offline", "--prefix=none"])
        .current_dir(root())
        .output()
        .expect("cargo tree");
    let tree = String::from_utf8(tree.stdout).expect("names of crates");
    let names: BTreeSet<_> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(names.contains("aws-lc-rs"), "{tree}");
    let others: Vec<_> = OTHER_TLS
        .iter()
        .filter(|name| names.contains(**name))
        .collect();
    assert!(
        others.is_empty(),
        "{others:?} came in beside aws-lc-rs: `cargo tree --workspace -i {}` says by whom; turn that \
         crate's default features off and choose its feature for aws-lc-rs",
        others[0]
    );
}

#[test]
fn crates_that_meet_across_interfaces_have_one_version() {
    let metadata = metadata();
    let mut versions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for package in &metadata.packages {
        let of_name = versions.entry(package.name.as_str()).or_default();
        of_name.push(package.version.to_string());
    }
    for name in ONE_VERSION {
        let of_name = versions.get(name).map_or(&[][..], Vec::as_slice);
        assert_eq!(
            of_name.len(),
            1,
            "{name} is there as {of_name:?}: `cargo tree --workspace -d` says by whom; choose versions \
             of the two that agree, in the root Cargo.toml (or take {name} out of ONE_VERSION if \
             nothing uses it any more)"
        );
    }
}

#[test]
fn parts_of_a_crate_name_only_what_they_may() {
    let mut wrong = BTreeSet::new();
    for rule in &SOURCE_RULES {
        let files = source::files(&root(), rule.of, rule.except);
        assert!(
            !files.is_empty(),
            "{:?} is gone: mend SOURCE_RULES",
            rule.of
        );
        for file in files {
            let text = std::fs::read_to_string(root().join(&file)).expect("a source file");
            for path in source::paths(&text) {
                let is_or_below = |forbidden: &&&str| {
                    path.strip_prefix(**forbidden)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
                };
                if let Some(forbidden) = rule.forbidden.iter().find(is_or_below) {
                    wrong.insert(format!("{file} names {forbidden}: {}", rule.because));
                }
            }
        }
    }
    let wrong: Vec<_> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
