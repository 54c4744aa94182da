//! What tests ask of pods of a running mesh, and how they change what it is made of.

use std::{fs, path::Path, time::Duration};

use super::demo::{Demos, text};

/// Far longer than anything takes; it only ends a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What curl prints in a pod.
pub(crate) fn curl(demos: &Demos, pod: &str, args: &[&str]) -> String {
    let output = demos.output(&[&["exec", pod, "--", "curl", "-s"], args].concat());
    assert!(
        output.status.success(),
        "{pod}: {args:?}: {}",
        text(&output)
    );
    output.stdout
}

/// What curl says of an answer in this format, of whatever came; a connection that ends is none.
pub(crate) fn answer(demos: &Demos, pod: &str, format: &str, args: &[&str]) -> String {
    let call = [
        "exec",
        pod,
        "--",
        "curl",
        "-s",
        "-m",
        "5",
        "-o",
        "/dev/null",
    ];
    let output = demos.output(&[&call[..], &["-w", format], args].concat());
    output.stdout
}

/// The status that a pod gets; `000` is none.
pub(crate) fn status(demos: &Demos, pod: &str, args: &[&str]) -> String {
    answer(demos, pod, "%{http_code}", args)
}

/// What a page of the admin interface of a pod's sidecar says.
pub(crate) fn admin(demos: &Demos, pod: &str, page: &str) -> String {
    curl(demos, pod, &[&format!("127.0.0.1:15000/{page}")])
}

/// The address of a pod of the namespace `default`.
pub(crate) fn address(run: &Path, pod: &str) -> String {
    let pod = fs::read_to_string(run.join(format!("objects/pod.default.{pod}.yaml")));
    let pod: serde_json::Value = serde_json::from_str(&pod.expect("the pod")).expect("JSON");
    pod["status"]["podIP"]
        .as_str()
        .expect("an address")
        .to_owned()
}

/// Puts a file of objects there, whole: the control plane reads what is moved.
pub(crate) fn apply(run: &Path, name: &str, objects: &str) {
    let new = run.join("new.yaml");
    fs::write(&new, objects).expect("write");
    fs::rename(&new, run.join("objects").join(name)).expect("rename");
}

/// Takes it away again.
pub(crate) fn delete(run: &Path, name: &str) {
    fs::remove_file(run.join("objects").join(name)).expect("remove");
}
