//! Skipping a test where a machine lacks what it needs: always visibly, and never where it is
//! required.

use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    thread,
};

/// What a test may need beyond this repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Network namespaces. Required where `REQUIRE_NETNS=1`.
    Namespaces,
    /// Programs nobody here wrote, such as Envoy and curl. Required where `REQUIRE_PEERS=1`.
    Peers,
    /// Autobahn's test suite, which needs Python 2. Required where `REQUIRE_AUTOBAHN=1`.
    Autobahn,
    /// A real Kubernetes API server. Required where `REQUIRE_API_SERVER=1`.
    ApiServer,
}

/// Whether this machine has the program of somebody else, on the `PATH`. Says `SKIP` where it has not.
///
/// # Panics
/// Where peers are required.
#[must_use]
pub fn has(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let there = env::split_paths(&path).any(|directory| directory.join(program).is_file());
    if !there {
        skip(
            Need::Peers,
            &format!("there is no {program} on the PATH (make setup)"),
        );
    }
    there
}

/// A program of this repository, which `cargo test --workspace` builds beside the tests. Says `SKIP`
/// where it is not built, which is not something that a machine lacks.
#[must_use]
pub fn built(program: &str) -> Option<PathBuf> {
    let test = env::current_exe().ok()?;
    let path = test.parent()?.parent()?.join(program);
    if path.is_file() {
        return Some(path);
    }
    let _ = writeln!(
        io::stderr(),
        "SKIP: {program} is not built beside the tests"
    );
    None
}

/// Says that the running test is skipped, and why.
///
/// # Panics
/// Where what it needs is required.
pub fn skip(need: Need, reason: &str) {
    let variable = match need {
        Need::Namespaces => "REQUIRE_NETNS",
        Need::Peers => "REQUIRE_PEERS",
        Need::Autobahn => "REQUIRE_AUTOBAHN",
        Need::ApiServer => "REQUIRE_API_SERVER",
    };
    let required = env::var_os(variable).is_some_and(|value| value == "1");
    assert!(!required, "{variable}=1, but {reason}");
    // Written past the test harness, which would show it only if the test failed.
    let test = thread::current();
    let line = format!("SKIP {}: {reason}\n", test.name().unwrap_or("a test"));
    let _ = io::stderr().write_all(line.as_bytes());
}
