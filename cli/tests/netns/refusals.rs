//! What cannot be done is refused with one clear error before anything is made.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
};

use weir_process::command::{LIMIT, output};

use super::demo::{Demos, TWO_PODS, namespaces_work, text};

#[test]
fn a_bad_manifest_names_file_and_field_and_makes_nothing() {
    let demos = Demos::new();
    let bad = TWO_PODS.replace("replicas: 2", "replicas: many");
    let manifests = demos.manifests(&[("a-good.yaml", TWO_PODS), ("bad.yaml", &bad)]);
    let manifests = manifests.to_str().expect("path");
    let output = demos.output(&["demo", "--without-mesh", "--once", "--manifests", manifests]);
    assert_eq!(output.status.code(), Some(64), "{}", text(&output));
    let said = text(&output);
    assert!(
        said.contains("bad.yaml") && said.contains("Deployment hello: spec.replicas"),
        "{said}"
    );
    demos.assert_gone(&[]);
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    if !namespaces_work() {
        return;
    }
    let demos = Demos::new();
    let empty = tempfile::tempdir().expect("directory");
    let mut weir = demos.weir(&["demo", "--without-mesh", "--once"]);
    let output = output(weir.env("PATH", empty.path()), "", LIMIT).expect("weir runs");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains("apt-get install iproute2"),
        "{}",
        text(&output)
    );
    demos.assert_gone(&[]);
}

#[test]
fn without_root_the_error_says_what_is_missing() {
    if !namespaces_work() {
        return;
    }
    let demos = Demos::new();
    // Copied to where any user may execute it, whoever owns the directories of the build.
    let dir = tempfile::tempdir().expect("directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    let weir = dir.path().join("weir");
    fs::copy(env!("CARGO_BIN_EXE_weir"), &weir).expect("copy");
    let mut weir = std::process::Command::new(&weir);
    weir.args(["demo", "--without-mesh", "--once"]);
    let output = output(weir.uid(65534).current_dir("/"), "", LIMIT).expect("weir runs");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains("needs root") && text(&output).contains("sudo"),
        "{}",
        text(&output)
    );
    demos.assert_gone(&[]);
}
