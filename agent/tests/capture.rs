//! The command line of `weir-agent capture`: what it prints, how it exits, what it says is wrong.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;
use weir_tests::netns::{self, NetNs};

const AGENT: &str = env!("CARGO_BIN_EXE_weir-agent");

fn capture(arguments: &[&str]) -> Output {
    Command::new(AGENT)
        .arg("capture")
        .args(arguments)
        .output()
        .expect("run")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The exit status and all words that standard error must have.
#[track_caller]
fn assert_refused(output: &Output, status: i32, words: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
    assert_eq!(stdout(output), "");
}

/// A folder of commands that stand for a machine's iptables. They are files of the project: one
/// written here could not be run while another test starts a process (text file busy).
fn machine(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/machines")
        .join(name)
}

/// A folder with only these of the machine's own commands.
fn commands(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("folder");
    let path = env::var("PATH").expect("PATH");
    for name in names {
        let mut places = env::split_paths(&path).map(|place| place.join(name));
        let command = places.find(|command| command.exists()).expect(name);
        symlink(command, folder.path().join(name)).expect("link");
    }
    folder
}

/// Runs it in the namespace with only these commands in PATH.
fn capture_with(namespace: &NetNs, path: &Path) -> Output {
    namespace.run(|| {
        Command::new(AGENT)
            .arg("capture")
            .env("PATH", path)
            .output()
            .expect("run")
    })
}

#[test]
fn dry_run_prints_the_text_of_both_families_and_needs_nothing() {
    let nothing = tempfile::tempdir().expect("folder");
    let output = Command::new(AGENT)
        .args(["capture", "--dry-run"])
        .env("PATH", nothing.path())
        .output()
        .expect("run");
    let golden = |family| {
        let golden = "../iptables/tests/golden/default";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{golden}.{family}.txt"));
        fs::read_to_string(path).expect("golden file")
    };
    let expected = format!(
        "# iptables-restore --noflush\n{}# ip6tables-restore --noflush\n{}",
        golden("v4"),
        golden("v6")
    );
    assert_eq!(stdout(&output), expected);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn an_environment_variable_stands_for_a_flag_and_a_flag_wins() {
    let run = |arguments: &[&str]| {
        let output = Command::new(AGENT)
            .args(["capture", "--dry-run"])
            .args(arguments)
            .env("WEIR_OUTBOUND_PORT", "16001")
            .output()
            .expect("run");
        stdout(&output)
    };
    assert!(run(&[]).contains("--to-ports 16001"));
    assert!(run(&["--outbound-port=16002"]).contains("--to-ports 16002"));
}

#[test]
fn every_flag_that_cannot_be_read_is_named_at_once() {
    let output = capture(&[
        "--outbound-port=http",
        "--exclude-outbound-cidrs=10.0.0.0/8,nowhere",
    ]);
    let words = [
        "--outbound-port",
        "\"http\"",
        "--exclude-outbound-cidrs",
        "\"nowhere\"",
    ];
    assert_refused(&output, 64, &words);
}

#[test]
fn what_is_not_supported_or_makes_no_sense_is_refused_by_name() {
    assert_refused(
        &capture(&["--mode=tproxy"]),
        64,
        &["tproxy", "not supported"],
    );
    assert_refused(&capture(&["--mode=magic"]), 64, &["--mode", "magic"]);
    assert_refused(&capture(&["--no-such-flag"]), 64, &["--no-such-flag"]);
    assert_refused(
        &capture(&["--dry-run", "--inbound-port=15001"]),
        64,
        &["inbound", "15001"],
    );
    assert_refused(
        &capture(&["--dry-run", "--proxy-uids=", "--proxy-gids="]),
        64,
        &["no proxy user"],
    );
}

#[test]
fn an_id_nobody_can_have_is_refused() {
    let output = capture(&["--dry-run", "--proxy-uids=4294967295"]);
    assert_refused(&output, 64, &["4294967295", "not a user or group id"]);
}

#[test]
fn mode_none_does_nothing_and_says_so() {
    let output = capture(&["--mode=none"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("nothing was changed"));
}

#[test]
fn a_second_run_says_that_nothing_changed() {
    if !netns::available() {
        return;
    }
    let namespace = NetNs::new().expect("namespace");
    let run = |arguments: &[&str]| {
        let output = namespace
            .command(AGENT)
            .arg("capture")
            .args(arguments)
            .output()
            .expect("run");
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    assert!(run(&[]).contains("IPv4: made"));
    assert!(run(&[]).contains("in force already; no change"));
    assert!(run(&["--cleanup"]).contains("IPv4: rules removed"));
    assert!(run(&["--cleanup"]).contains("no change"));
}

#[test]
fn net_admin_alone_is_enough() {
    if !netns::available() {
        return;
    }
    let namespace = NetNs::new().expect("namespace");
    let only = [
        "--bounding-set=-all,+net_admin",
        "--inh-caps=-all,+net_admin",
        AGENT,
        "capture",
    ];
    let output = namespace
        .command("setpriv")
        .args(only)
        .output()
        .expect("run");
    assert!(
        stdout(&output).contains("inbound redirect proven"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn without_permission_it_says_which() {
    if !netns::available() {
        return;
    }
    let namespace = NetNs::new().expect("namespace");
    let nobody = ["--reuid=65534", "--clear-groups", AGENT, "capture"];
    let output = namespace
        .command("setpriv")
        .args(nobody)
        .output()
        .expect("run");
    assert_refused(&output, 1, &["nf_tables", "NET_ADMIN", "legacy", "NET_RAW"]);
}

#[test]
fn without_iptables_it_says_what_to_install() {
    if !netns::available() {
        return;
    }
    let namespace = NetNs::new().expect("namespace");
    let output = capture_with(&namespace, commands(&[]).path());
    assert_refused(
        &output,
        1,
        &["iptables-nft-restore", "not found", "install the package"],
    );
}

#[test]
fn a_missing_piece_of_the_kernel_is_named_with_the_fix() {
    if !netns::available() {
        return;
    }
    let namespace = NetNs::new().expect("namespace");
    let output = capture_with(&namespace, &machine("without-owner"));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("kernel");
    let words = [
        kernel.trim(),
        "backend nf_tables",
        "RULE_APPEND failed",
        "the match owner",
        "xt_owner",
    ];
    assert_refused(&output, 1, &words);
}

#[test]
fn rules_that_do_not_act_are_reported() {
    if !netns::available() {
        return;
    }
    let namespace = NetNs::new().expect("namespace");
    let output = capture_with(&namespace, &machine("without-effect"));
    let words = ["do not act", "127.0.0.6:15002", "127.0.0.1:15006"];
    assert_refused(&output, 1, &words);
}

#[test]
fn the_legacy_commands_alone_are_enough_even_where_run_is_read_only() {
    if !netns::available() {
        return;
    }
    let namespace = NetNs::new().expect("namespace");
    let folder = commands(&["iptables-legacy-restore", "iptables-legacy-save"]);
    let script = "mount -t tmpfs -o ro none /run && PATH=$1 exec $2 capture";
    let path = folder.path().to_str().expect("path");
    let output = namespace
        .command("unshare")
        .args(["--mount", "sh", "-c", script, "sh", path, AGENT])
        .output()
        .expect("run");
    let words = "in force by legacy; inbound redirect proven";
    assert!(stdout(&output).contains(words), "{}", stderr(&output));
}

#[test]
fn a_family_by_which_nobody_is_reached_may_lack_its_commands() {
    if !netns::available() {
        return;
    }
    let (namespace, peer) = (NetNs::new().expect("new"), NetNs::new().expect("new"));
    namespace
        .link("eth0", &["10.1.0.2/24", "fe80::2/64"], &peer, &[])
        .expect("link");
    let folder = commands(&["iptables-nft-restore", "iptables-nft-save"]);
    let output = capture_with(&namespace, folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("IPv4: made"), "{text}");
    assert!(text.contains("ip6tables-nft-restore"), "{text}");
}

#[test]
fn where_one_family_fails_the_other_is_undone() {
    if !netns::available() {
        return;
    }
    let (namespace, peer) = (NetNs::new().expect("new"), NetNs::new().expect("new"));
    namespace
        .link("eth0", &["10.1.0.2/24", "fd01::2/64"], &peer, &[])
        .expect("link");
    let folder = commands(&["iptables-nft-restore", "iptables-nft-save"]);
    let output = capture_with(&namespace, folder.path());
    assert_refused(
        &output,
        1,
        &["IPv6", "ip6tables-nft-restore", "install the package"],
    );
    let saved = namespace
        .command("iptables-nft-save")
        .output()
        .expect("save");
    assert!(!stdout(&saved).contains("WEIR_"), "{}", stdout(&saved));
    assert!(
        !namespace
            .ip(&["addr", "show", "lo"])
            .expect("lo")
            .contains("::6/128")
    );
}
