//! Rules put in force, again, anew and out, beside the rules of others, in both backends.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    process::{Command, Stdio},
};

use weir_api::{CaptureSpec, ports};
use weir_iptables::{
    ApplyError, Backend, Family, Options, Report,
    apply::{Change, Outcome},
    verify::Proof,
};
use weir_tests::netns::{self, NetNs};

/// Rules a container runtime or a network plugin may have made, in tables and chains we use.
const FOREIGN: &str = "*nat
:DOCKER_OUTPUT - [0:0]
-A PREROUTING -i eth1 -j ACCEPT
-A OUTPUT -d LOCAL -j DOCKER_OUTPUT
-A OUTPUT -p tcp -m comment --comment \"not -j WEIR_OUTPUT\" -j RETURN
-A DOCKER_OUTPUT -p udp -m udp --dport 53 -j REDIRECT --to-ports 5353
COMMIT
*filter
-A INPUT -p tcp -m tcp --dport 1 -j DROP
COMMIT
";

/// What an earlier version, or somebody's hand, may have left.
const STALE: &str = "*nat
:WEIR_OUTPUT - [0:0]
:WEIR_REDIRECT - [0:0]
:WEIR_OLD - [0:0]
-A OUTPUT -j WEIR_OUTPUT
-A OUTPUT -p tcp -j WEIR_OUTPUT
-A OUTPUT -p tcp -j WEIR_OUTPUT
-A PREROUTING -p tcp -g WEIR_OLD
-A WEIR_OUTPUT -p tcp -m tcp --dport 99 -j WEIR_REDIRECT
-A WEIR_OLD -j WEIR_REDIRECT
COMMIT
*mangle
:WEIR_DIVERT - [0:0]
-A PREROUTING -p tcp -j WEIR_DIVERT
-A WEIR_DIVERT -j ACCEPT
COMMIT
";

/// A namespace in which both families are more than loopback.
struct Pod(NetNs, Backend);

// === impl Pod ===

impl Pod {
    fn new(backend: Backend) -> Self {
        let namespace = NetNs::new().expect("namespace");
        namespace
            .ip(&["link", "add", "eth0", "type", "veth"])
            .expect("veth");
        namespace
            .ip(&["addr", "add", "10.1.0.2/24", "dev", "eth0"])
            .expect("address");
        namespace
            .ip(&["addr", "add", "fd01::2/64", "dev", "eth0", "nodad"])
            .expect("address");
        namespace.ip(&["link", "set", "eth0", "up"]).expect("up");
        Self(namespace, backend)
    }

    fn apply(&self, spec: &CaptureSpec) -> Result<Report, ApplyError> {
        let options = Options {
            backends: vec![self.1],
            ..Options::default()
        };
        self.0.run(|| weir_iptables::apply(spec, &options))
    }

    /// What was done in each family.
    fn changes(&self, spec: &CaptureSpec) -> Vec<Change> {
        let report = self.apply(spec).expect("applied");
        let changes = report
            .families
            .into_iter()
            .map(|(family, outcome)| match outcome {
                Outcome::InForce {
                    change,
                    inbound: Proof::Redirected,
                    ..
                } => change,
                other => panic!("{family}: {other:?}"),
            });
        changes.collect()
    }

    fn command(&self, family: Family, backend: Backend, verb: &str) -> Command {
        let backend = match backend {
            Backend::NfTables => "nft",
            Backend::Legacy => "legacy",
        };
        self.0
            .command(&format!("{}-{backend}-{verb}", family.command()))
    }

    /// The rules in force without what changes by itself.
    fn save(&self, family: Family) -> String {
        self.save_from(family, self.1)
    }

    fn save_from(&self, family: Family, backend: Backend) -> String {
        let output = self
            .command(family, backend, "save")
            .output()
            .expect("save");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let lines = lines.map(|line| line.split_once(" [").map_or(line, |(chain, _)| chain));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn restore(&self, family: Family, text: &str) {
        self.restore_with(family, &["--noflush"], text);
    }

    fn restore_with(&self, family: Family, arguments: &[&str], text: &str) {
        let local = match family {
            Family::V4 => "127.0.0.11/32",
            Family::V6 => "fd00::11/128",
        };
        let mut command = self.command(family, self.1, "restore");
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .expect("restore");
        let mut stdin = child.stdin.take().expect("stdin");
        stdin
            .write_all(text.replace("LOCAL", local).as_bytes())
            .expect("write");
        drop(stdin);
        assert!(child.wait().expect("wait").success());
    }
}

/// Runs the body with each backend, where namespaces can be made.
fn with_each_backend(body: impl Fn(&Pod)) {
    if netns::available() {
        let _alone = netns::exclusively();
        for backend in Backend::ALL {
            body(&Pod::new(backend));
        }
    }
}

#[test]
fn applied_again_nothing_changes() {
    with_each_backend(|pod| {
        let spec = CaptureSpec::default();
        assert_eq!(pod.changes(&spec), [Change::Made, Change::Made]);
        let before = Family::ALL.map(|family| pod.save(family));
        assert_eq!(pod.changes(&spec), [Change::None, Change::None]);
        assert_eq!(Family::ALL.map(|family| pod.save(family)), before);
    });
}

#[test]
fn every_golden_text_is_taken_and_printed_as_it_is_written() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../iptables/tests/golden");
    with_each_backend(|pod| {
        for entry in fs::read_dir(golden).expect("golden files") {
            let path = entry.expect("entry").path();
            let family = match path.to_string_lossy().ends_with(".v4.txt") {
                true => Family::V4,
                false => Family::V6,
            };
            let text = fs::read_to_string(&path).expect("text");
            // Without --noflush what was there before goes.
            pod.restore_with(family, &[], &text);
            assert_eq!(
                ours(&pod.save(family)),
                ours(&text.replace(" [0:0]", "")),
                "{path:?}"
            );
        }
    });
}

#[test]
fn another_specification_replaces_the_rules() {
    with_each_backend(|pod| {
        pod.changes(&CaptureSpec::default());
        let spec = CaptureSpec {
            outbound_port: 16001,
            ..CaptureSpec::default()
        };
        assert_eq!(pod.changes(&spec), [Change::Replaced, Change::Replaced]);
        for family in Family::ALL {
            let saved = pod.save(family);
            assert!(saved.contains("--to-ports 16001"), "{saved}");
            assert!(!saved.contains("--to-ports 15001"), "{saved}");
            assert_eq!(saved.matches("-j WEIR_OUTPUT").count(), 1, "{saved}");
        }
        assert_eq!(pod.changes(&spec), [Change::None, Change::None]);
    });
}

#[test]
fn where_rules_of_others_hide_ours_all_is_undone() {
    with_each_backend(|pod| {
        for family in Family::ALL {
            pod.restore(family, FOREIGN);
        }
        let before = Family::ALL.map(|family| pod.save(family));
        // The foreign RETURN ends OUTPUT before our jump, so nothing acts and the proof says so.
        let error = pod
            .apply(&CaptureSpec::default())
            .expect_err("no jump is reached");
        assert!(matches!(error, ApplyError::Proof { .. }), "{error}");
        assert_eq!(Family::ALL.map(|family| pod.save(family)), before, "undone");
        assert!(
            !pod.0
                .ip(&["addr", "show", "lo"])
                .expect("lo")
                .contains("::6/128"),
            "undone"
        );
    });
}

#[test]
fn rules_of_others_stay_where_they_are_and_cleanup_restores_what_was() {
    with_each_backend(|pod| {
        let foreign = FOREIGN.replace("-j RETURN", "-j DOCKER_OUTPUT");
        for family in Family::ALL {
            pod.restore(family, &foreign);
        }
        let before = Family::ALL.map(|family| pod.save(family));
        pod.changes(&CaptureSpec::default());
        for (family, before) in Family::ALL.into_iter().zip(&before) {
            let saved = pod.save(family);
            let ours = |line: &&str| line.starts_with(":WEIR_") || line.starts_with("-A WEIR_");
            let jumps = |line: &&str| {
                line.ends_with("-p tcp -j WEIR_OUTPUT") || line.ends_with("-p tcp -j WEIR_INBOUND")
            };
            let others = saved.lines().filter(|line| !ours(line) && !jumps(line));
            assert_eq!(others.collect::<Vec<_>>().join("\n"), *before);
        }
        let cleaned = pod.0.run(weir_iptables::cleanup).expect("cleanup");
        assert_eq!(cleaned.removed, [(Family::V4, pod.1), (Family::V6, pod.1)]);
        assert_eq!(Family::ALL.map(|family| pod.save(family)), before);
        assert!(
            !pod.0
                .ip(&["addr", "show", "lo"])
                .expect("lo")
                .contains("::6/128")
        );
        let again = pod.0.run(weir_iptables::cleanup).expect("cleanup");
        assert_eq!(again.removed, []);
    });
}

#[test]
fn stale_chains_are_repaired_in_place() {
    with_each_backend(|pod| {
        let spec = CaptureSpec::default();
        let fresh = Pod::new(pod.1);
        fresh.changes(&spec);
        for family in Family::ALL {
            pod.restore(family, STALE);
        }
        assert_eq!(pod.changes(&spec), [Change::Replaced, Change::Replaced]);
        for family in Family::ALL {
            assert_eq!(ours(&pod.save(family)), ours(&fresh.save(family)));
        }
        assert_eq!(pod.changes(&spec), [Change::None, Change::None]);
    });
}

/// Our chains and the rules that concern them, by chain; within a chain the order stays. Chains
/// may be listed in the order in which they were made.
fn ours(saved: &str) -> Vec<&str> {
    let mut lines: Vec<_> = saved
        .lines()
        .filter(|line| line.contains("WEIR_"))
        .collect();
    lines.sort_by_key(|line| line.split([' ', ':']).nth(1));
    lines
}

#[test]
fn a_foreign_rule_within_our_chains_is_swept_out() {
    with_each_backend(|pod| {
        let spec = CaptureSpec::default();
        pod.changes(&spec);
        let before = pod.save(Family::V4);
        pod.restore(
            Family::V4,
            "*nat\n-I WEIR_OUTPUT -p tcp -j ACCEPT\nCOMMIT\n",
        );
        assert_eq!(pod.changes(&spec), [Change::Replaced, Change::None]);
        assert_eq!(pod.save(Family::V4), before);
    });
}

#[test]
fn rules_left_in_the_other_backend_are_moved() {
    with_each_backend(|pod| {
        let spec = CaptureSpec::default();
        pod.changes(&spec);
        let other = Backend::ALL
            .into_iter()
            .find(|backend| *backend != pod.1)
            .expect("other");
        let options = Options {
            backends: vec![other],
            ..Options::default()
        };
        let report = pod
            .0
            .run(|| weir_iptables::apply(&spec, &options))
            .expect("applied");
        assert_eq!(
            report.to_string().matches(": replaced, ").count(),
            2,
            "{report}"
        );
        for family in Family::ALL {
            assert!(!pod.save(family).contains("WEIR_"));
            assert!(pod.save_from(family, other).contains("WEIR_"));
        }
    });
}

#[test]
fn with_a_sidecar_running_the_proof_is_that_it_accepts() {
    with_each_backend(|pod| {
        let spec = CaptureSpec::default();
        let inbound = pod
            .0
            .run(|| TcpListener::bind(("::", ports::INBOUND)))
            .expect("bind");
        let report = pod.apply(&spec).expect("applied");
        drop(inbound);
        for (family, outcome) in report.families {
            let accepted = matches!(
                outcome,
                Outcome::InForce {
                    inbound: Proof::Accepted,
                    ..
                }
            );
            assert!(accepted, "{family}: {outcome:?}");
        }
    });
}

#[test]
fn rules_that_were_there_before_stay_when_the_proof_fails() {
    with_each_backend(|pod| {
        let spec = CaptureSpec::default();
        pod.changes(&spec);
        pod.restore(Family::V4, "*nat\n-I OUTPUT -p tcp -j ACCEPT\nCOMMIT\n");
        let error = pod.apply(&spec).expect_err("no jump is reached");
        assert!(error.to_string().contains("the rules stay"), "{error}");
        assert!(pod.save(Family::V4).contains("-j WEIR_OUTPUT"));
    });
}

#[test]
fn ipv6_on_loopback_only_is_left_alone() {
    if !netns::available() {
        return;
    }
    let _alone = netns::exclusively();
    let namespace = NetNs::new().expect("namespace");
    let spec = CaptureSpec::default();
    let report = namespace
        .run(|| weir_iptables::apply(&spec, &Options::default()))
        .expect("v4");
    let outcomes: Vec<_> = report.families.iter().map(|(_, outcome)| outcome).collect();
    assert!(
        matches!(outcomes[..], [Outcome::InForce { .. }, Outcome::Absent]),
        "{report}"
    );
    assert!(
        !namespace
            .ip(&["addr", "show", "lo"])
            .expect("lo")
            .contains("::6/128")
    );
}

#[test]
fn the_machines_own_namespace_is_refused() {
    if !netns::available() {
        return;
    }
    let _alone = netns::exclusively();
    assert!(
        !NetNs::new()
            .expect("new")
            .run(weir_iptables::host_network::is_initial_namespace)
    );
    if !weir_iptables::host_network::is_initial_namespace() {
        // The tests themselves run in a namespace of their own, as in a container.
        return;
    }
    // Should the guard fail, there is no backend to do harm with.
    let options = Options {
        backends: vec![],
        ..Options::default()
    };
    let error = weir_iptables::apply(&CaptureSpec::default(), &options);
    assert!(matches!(error, Err(ApplyError::HostNetwork)), "{error:?}");
}
