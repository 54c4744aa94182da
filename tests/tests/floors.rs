//! Within a crate, modules stand on floors: what is on one uses what is below it and nothing above.
//! The table of each crate lists its modules from the ground up; the test reads the `use` lines and
//! the `crate::` paths of the sources, tests aside, and names every arrow that points up.

#[path = "floors/sources.rs"]
mod sources;

use std::{fs, path::Path};

use sources::{Source, read};

/// Folders that are deeper all the same, and why.
const DEEP: &[(&str, &str)] = &[];

/// The floors of one crate.
struct Crate {
    /// Its directory in the repository.
    directory: &'static str,
    /// Its modules, each above those it may use. A module within a module has a floor of its own
    /// where it is listed, else that of the module around it.
    floors: &'static [&'static str],
    /// Arrows that point up all the same: the file or directory, the module it uses, and why.
    exceptions: &'static [(&'static str, &'static str, &'static str)],
}

const CRATES: &[Crate] = &[Crate {
    directory: "proxy",
    floors: &[
        // Plain values: configuration as it is used, counters, reasons, buffers.
        "random",
        "reason",
        "stats",
        "singletons",
        "buffer",
        "boundary",
        "runtime",
        "metadata",
        "config",
        // Protobuf to configuration.
        "convert",
        // What is done while memory is short.
        "overload",
        // Secrets, which are read with it.
        "secrets",
        // Sockets, addresses, what moves bytes; what is in force, asked for and remembered.
        "net",
        // Names.
        "dns",
        "dns_cache",
        "snapshot",
        "demand",
        "connection_log",
        // All that logs, formats, filters and stats may ask of a connection and of a request.
        "info",
        "format",
        "access_log",
        "mesh_metrics",
        "flows",
        // What the process is given besides its configuration.
        "options",
        // Heads, edits, routes, local replies; codecs, which hold no policy.
        "http/authority",
        "http/codec",
        "http",
        // Hosts, balancers, dialling, pools.
        "cluster",
        // Who may do what.
        "rbac",
        // What filters are built with, how they call a cluster, and filters.
        "factory_context",
        "filter/token_bucket",
        "filter/local_rate_limit",
        "filter/rbac_stats",
        "call",
        "filter/http",
        "exchange",
        "filter/network",
        "filter/listener",
        "filter",
        // Accept, inspect, match a chain, drain.
        "listener",
        // Threads, discovery, interface, the whole.
        "worker",
        "server_stats",
        "xds",
        "handle",
        "admin",
        "server",
    ],
    exceptions: &[],
}];

#[test]
fn no_module_uses_one_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut wrong = Vec::new();
    for member in CRATES {
        let sources = read(&root.join(member.directory).join("src"));
        assert!(!sources.is_empty(), "{}", member.directory);
        for source in &sources {
            member.check(source, &mut wrong);
        }
        member.check_exceptions(&sources, &mut wrong);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Deeper folders hide what is in them.
#[test]
fn no_folder_is_deeper_than_three() {
    const MOST: usize = 3;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("the workspace");
    let mut deep = Vec::new();
    for member in CRATES {
        assert!(manifest.contains(&format!("\"{}\"", member.directory)));
        let sources = read(&root.join(member.directory).join("src"));
        let too_deep = |source: &&Source| source.module.len() > MOST + 1;
        deep.extend(sources.iter().filter(too_deep).map(Source::name));
    }
    let excepted = |name: &String| DEEP.iter().any(|(folder, _)| name.starts_with(folder));
    let stale = DEEP
        .iter()
        .find(|(folder, _)| !deep.iter().any(|name| name.starts_with(folder)));
    assert!(
        stale.is_none(),
        "the exception is needed no longer: {stale:?}"
    );
    deep.retain(|name| !excepted(name));
    assert!(deep.is_empty(), "{deep:?}");
}

// === impl Crate ===

impl Crate {
    /// The floor of a module.
    fn floor(&self, module: &[String]) -> Option<usize> {
        let holds = |floor: &str| {
            let mut parts = module.iter();
            floor
                .split('/')
                .all(|part| parts.next().is_some_and(|m| m == part))
        };
        let around = self
            .floors
            .iter()
            .enumerate()
            .filter(|(_, floor)| holds(floor));
        around
            .max_by_key(|(_, floor)| floor.len())
            .map(|(index, _)| index)
    }

    fn check(&self, source: &Source, wrong: &mut Vec<String>) {
        // The crate itself only lists its modules.
        if source.module.is_empty() {
            return;
        }
        let Some(own) = self.floor(&source.module) else {
            wrong.push(format!("{} {}: on no floor", self.directory, source.name()));
            return;
        };
        for used in &source.uses {
            let Some(floor) = self.floor(used) else {
                continue;
            };
            if floor > own && self.exception(source, used).is_none() {
                wrong.push(format!(
                    "{} {} uses {}, which is above it",
                    self.directory,
                    source.name(),
                    used.join("::"),
                ));
            }
        }
    }

    fn exception(&self, source: &Source, used: &[String]) -> Option<usize> {
        let (name, used) = (source.name(), used.join("/"));
        let found = |(file, module, _): &(&str, &str, &str)| {
            name.starts_with(file) && used.starts_with(module)
        };
        self.exceptions.iter().position(found)
    }

    /// An exception that is needed no longer is taken off the list.
    fn check_exceptions(&self, sources: &[Source], wrong: &mut Vec<String>) {
        for (index, (file, module, _)) in self.exceptions.iter().enumerate() {
            let needs = |source: &Source| {
                let own = self.floor(&source.module);
                let mut used = source.uses.iter();
                used.any(|used| {
                    self.floor(used) > own && self.exception(source, used) == Some(index)
                })
            };
            if !sources.iter().any(needs) {
                wrong.push(format!(
                    "the exception {file} -> {module} is needed no longer"
                ));
            }
        }
    }
}
