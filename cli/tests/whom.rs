//! Whom a command asks where a demo runs and a cluster is named as well.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use weir_playground::run::{Run, RunningPod};
use weir_process::command::{LIMIT, Output, output};

const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
current-context: far
clusters: [{name: far, cluster: {server: \"http://127.0.0.1:1\"}}]
contexts: [{name: far, context: {cluster: far, user: far}}, {name: farther, context: {cluster: far, user: far}}]
users: [{name: far, user: {}}]
";
/// What reads a pod, or the control plane.
const COMMANDS: [&[&str]; 3] = [
    &["stats", "web"],
    &["proxy-config", "clusters", "web"],
    &["proxy-status"],
];

/// A demo that runs, as far as other commands can see: this process owns it.
struct Demo {
    root: PathBuf,
    kubeconfig: PathBuf,
    run: Run,
}

impl Demo {
    fn start(test: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = fs::remove_dir_all(&root);
        let runs = root.join("runs");
        let mut run = Run::create(&runs).expect("a run");
        for (namespace, name) in [("shop", "web"), ("weir-system", "weir-control-0")] {
            run.add_pod(RunningPod {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                ip: [10, 0, 0, 1].into(),
                netns: "weir-of-no-run".to_owned(),
                containers: vec!["app".to_owned()],
            })
            .expect("written");
        }
        let kubeconfig = root.join("kubeconfig");
        fs::write(&kubeconfig, KUBECONFIG).expect("written");
        Self {
            root,
            kubeconfig,
            run,
        }
    }

    fn weir(&self, args: &[&str], variable: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command
            .args(args)
            .env("WEIR_RUN_ROOT", self.run.dir().parent().expect("a root"))
            .env("KUBECONFIG", variable)
            .env("HOME", &self.root);
        output(&mut command, "", LIMIT).expect("weir")
    }
}

fn first_line(output: &Output) -> String {
    output.stderr.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_running_demo_is_asked_where_no_cluster_is_named() {
    let demo = Demo::start("whom_demo");
    for command in COMMANDS {
        let output = demo.weir(command, "");
        let line = first_line(&output);
        assert!(
            line.starts_with("weir: asking the demo that runs"),
            "{command:?}: {line}"
        );
    }
}

#[test]
fn a_cluster_that_is_named_is_asked_whatever_runs_here() {
    let demo = Demo::start("whom_cluster");
    let file = demo.kubeconfig.to_string_lossy().into_owned();
    let flag = format!("--kubeconfig={file}");
    for command in COMMANDS {
        for (args, variable, expected) in [
            (
                &[][..],
                file.as_str(),
                format!("the cluster of KUBECONFIG {file}"),
            ),
            (
                &[flag.as_str()],
                "",
                format!("the cluster of --kubeconfig {file}"),
            ),
            (
                &[flag.as_str()],
                "/none",
                format!("the cluster of --kubeconfig {file}"),
            ),
            (
                &["--context=farther"],
                file.as_str(),
                "(context farther)".to_owned(),
            ),
            (&["--context=farther"], "", "(context farther)".to_owned()),
        ] {
            let output = demo.weir(&[command, args].concat(), variable);
            let line = first_line(&output);
            let asked = line.starts_with("weir: asking the cluster of") && line.contains(&expected);
            assert!(
                asked && line.contains("not the demo"),
                "{command:?} {args:?}: {line}"
            );
            assert!(
                !output.status.success(),
                "{command:?}: nothing answers there"
            );
        }
    }
}
