//! However a demo ends, nothing of it is left.

use super::demo::{Demos, Signal, TWO_PODS, namespaces_work, text};

#[test]
fn pods_call_each_other_by_service_name_and_leave_nothing() {
    if !namespaces_work() {
        return;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("hello.yaml", TWO_PODS)]);
    let mut demo = demos.start(&manifests);
    let namespaces = demos.namespaces();
    assert_eq!(
        namespaces.len(),
        4,
        "a node, two pods and the outsider: {namespaces:?}"
    );

    let call = [
        "exec",
        "outsider",
        "--",
        "/.weir/weir",
        "call",
        "http://hello.default/",
    ];
    let output = demos.output(&call);
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains(r#""namespace":"default""#),
        "{}",
        text(&output)
    );

    let own = [
        "exec",
        "default/hello",
        "--",
        "/.weir/weir",
        "call",
        "http://hello",
    ];
    // Either of the two pods may be chosen, this one itself among them.
    for _ in 0..8 {
        let output = demos.output(&own);
        assert!(output.status.success(), "{}", text(&output));
    }

    let user = demos.output(&["exec", "outsider", "--", "id", "-u"]);
    assert_eq!(user.stdout.trim(), "65532");

    let status = demo.end(Signal::SIGINT);
    assert_eq!(status.code(), Some(0));
    demos.assert_gone(&namespaces);
}

#[test]
fn sigterm_ends_a_demo_like_ctrl_c() {
    if !namespaces_work() {
        return;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("hello.yaml", TWO_PODS)]);
    let mut demo = demos.start(&manifests);
    let namespaces = demos.namespaces();
    assert!(demo.end(Signal::SIGTERM).success());
    demos.assert_gone(&namespaces);
}

#[test]
fn what_a_killed_demo_leaves_is_removed_by_the_next() {
    if !namespaces_work() {
        return;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("hello.yaml", TWO_PODS)]);
    let mut demo = demos.start(&manifests);
    let left = demos.namespaces();
    demo.end(Signal::SIGKILL);
    assert_eq!(demos.namespaces(), left, "nobody was there to clean up");

    let manifests = manifests.to_str().expect("path");
    let output = demos.output(&["demo", "--without-mesh", "--once", "--manifests", manifests]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(
        text(&output).contains("removed what run"),
        "{}",
        text(&output)
    );
    demos.assert_gone(&left);
}
