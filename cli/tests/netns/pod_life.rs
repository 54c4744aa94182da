//! A pod's containers run in the order, as the users and with the files its spec asks for.

use std::path::Path;

use super::demo::{Demos, Running, namespaces_work, text};

const POD: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
---
apiVersion: v1
kind: Pod
metadata:
  name: life
  labels: {app: life}
  annotations: {note: "hello"}
spec:
  volumes:
    - {name: shared, emptyDir: {}}
    - {name: settings, configMap: {name: settings}}
    - name: token
      projected:
        sources:
          - serviceAccountToken: {path: token, audience: somebody, expirationSeconds: 600}
          - downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
  initContainers:
    - name: first
      image: busybox
      command: [sh, -c, "umask 0; echo first >> /shared/order; grep CapBnd /proc/self/status > /shared/caps; id -u > /shared/uid; touch /usr/weir-was-here || echo read-only > /shared/machine"]
      securityContext: {runAsUser: 0, runAsGroup: 0, capabilities: {drop: [ALL], add: [NET_ADMIN]}}
      volumeMounts: [{name: shared, mountPath: /shared}]
    - name: sidecar
      image: busybox
      restartPolicy: Always
      command: [sh, -c, "echo sidecar >> /shared/order; sleep 0.2; touch /shared/up; sleep 1000"]
      startupProbe: {exec: {command: [test, -e, /shared/up]}}
      securityContext: {runAsUser: 1337, runAsGroup: 1337}
      volumeMounts: [{name: shared, mountPath: /shared}]
    - name: second
      image: busybox
      command: [sh, -c, "test -e /shared/up && echo second >> /shared/order"]
      volumeMounts: [{name: shared, mountPath: /shared}]
  containers:
    - name: app
      image: busybox
      command: [sh, -c, "echo app >> /shared/order; env > /shared/env; sleep 1000"]
      args: ["$(GREETING)"]
      env:
        - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: NOTE, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['note']"}}}
        - {name: CPU, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}}
        - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
        - {name: GREETING, value: "I am $(NAME)"}
      resources: {requests: {cpu: 100m}}
      lifecycle: {postStart: {exec: {command: [sh, -c, "until grep -q app /shared/order; do sleep 0.01; done; echo hook >> /shared/order"]}}}
      volumeMounts:
        - {name: shared, mountPath: /shared}
        - {name: settings, mountPath: /opt/settings/here}
        - {name: token, mountPath: /var/run/secrets/weir.dev/tokens}
    - name: after
      image: busybox
      command: [sh, -c, "echo after >> /shared/order; sleep 1000"]
      volumeMounts: [{name: shared, mountPath: /shared}]
"#;

fn started() -> Option<(Demos, Running)> {
    if !namespaces_work() {
        return None;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("pod.yaml", POD)]);
    let demo = demos.start(&manifests);
    Some((demos, demo))
}

fn shell(demos: &Demos, script: &str) -> String {
    let output = demos.output(&["exec", "default/life", "--", "sh", "-c", script]);
    assert!(output.status.success(), "{script}: {}", text(&output));
    output.stdout.trim().to_owned()
}

#[test]
fn containers_start_in_order_with_what_their_spec_asks_for() {
    let Some((demos, _demo)) = started() else {
        return;
    };
    let order = shell(&demos, "cat /shared/order");
    assert_eq!(
        order.split('\n').collect::<Vec<_>>(),
        ["first", "sidecar", "second", "app", "hook", "after"]
    );
    assert_eq!(shell(&demos, "cat /shared/uid"), "0");
    assert_eq!(shell(&demos, "cat /shared/machine"), "read-only");
    // Bit 12 is CAP_NET_ADMIN.
    assert_eq!(
        shell(&demos, "cat /shared/caps"),
        "CapBnd:\t0000000000001000"
    );
    let env = shell(&demos, "cat /shared/env");
    for expected in [
        "NAME=life",
        "NOTE=hello",
        "CPU=100",
        "COLOUR=blue",
        "GREETING=I am life",
    ] {
        assert!(
            env.lines().any(|line| line == expected),
            "{expected}: {env}"
        );
    }
    assert_eq!(shell(&demos, "cat /opt/settings/here/colour"), "blue");
    assert_eq!(
        shell(&demos, "cat /var/run/secrets/weir.dev/tokens/labels"),
        r#"app="life""#
    );
    let token = shell(&demos, "cat /var/run/secrets/weir.dev/tokens/token");
    assert_eq!(token.split('.').count(), 3, "{token}");
    assert_eq!(shell(&demos, "hostname; id -u; pwd"), "life\n65532\n/");
    assert!(
        !Path::new("/opt/settings").exists(),
        "a mount point was made on the machine"
    );
}

#[test]
fn a_sidecar_that_crashes_is_started_again() {
    let Some((demos, _demo)) = started() else {
        return;
    };
    let killed = demos.output(&[
        "exec",
        "default/life",
        "-c",
        "sidecar",
        "--",
        "sh",
        "-c",
        KILL_SIDECAR,
    ]);
    assert!(killed.status.success(), "{}", text(&killed));
    // Waits for the second line rather than for a time.
    let count = shell(
        &demos,
        "for i in $(seq 100); do [ $(grep -c sidecar /shared/order) = 2 ] && break; sleep 0.1; done; grep -c sidecar /shared/order",
    );
    assert_eq!(count, "2");
}

/// Ends the sidecar's shell, found by its command line.
const KILL_SIDECAR: &str = "for p in /proc/[0-9]*; do \
  if tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -q '^sh -c echo sidecar' && \
     [ \"$(readlink $p/ns/net)\" = \"$(readlink /proc/self/ns/net)\" ]; then kill -9 ${p#/proc/}; fi; done";
