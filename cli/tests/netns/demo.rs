//! A `weir demo` as a test runs it: in a run directory of its own, removed with the test.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use weir_process::command::{Output, output};
pub(crate) use weir_tests::running::Signal;
use weir_tests::{netns, running};

/// Far longer than a demo takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(300);

/// Whether this process may make network namespaces; says so where it may not.
pub(crate) fn namespaces_work() -> bool {
    netns::available()
}

/// Where the demos of one test are written down.
pub(crate) struct Demos {
    dir: TempDir,
}

/// A demo that stays up until it is ended, at the latest with the test.
pub(crate) struct Running(running::Running);

impl Demos {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("directory"),
        }
    }

    /// A directory with `files`, each a name and a text.
    pub(crate) fn manifests(&self, files: &[(&str, &str)]) -> PathBuf {
        let dir = self.dir.path().join("manifests");
        fs::create_dir_all(&dir).expect("directory");
        for (name, text) in files {
            fs::write(dir.join(name), text).expect("write");
        }
        dir
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("runs")
    }

    pub(crate) fn weir(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command
            .args(args)
            .env("WEIR_RUN_ROOT", self.root())
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn output(&self, args: &[&str]) -> Output {
        output(&mut self.weir(args), "", PATIENCE).expect("weir runs")
    }

    /// Starts a demo and waits until it stays up.
    pub(crate) fn start(&self, manifests: &Path) -> Running {
        self.start_by(&["demo", "--without-mesh", "--manifests"], manifests)
    }

    /// The same with the mesh.
    pub(crate) fn start_with_mesh(&self, manifests: &Path) -> Running {
        self.start_by(&["demo", "--manifests"], manifests)
    }

    /// Where the one demo that runs is written down.
    pub(crate) fn run(&self) -> PathBuf {
        let runs = fs::read_dir(self.root()).expect("a run");
        let mut runs = runs.map(|run| run.expect("entry").path());
        runs.find(|run| run.is_dir()).expect("a run")
    }

    fn start_by(&self, args: &[&str], manifests: &Path) -> Running {
        let manifests = manifests.to_str().expect("path");
        let mut command = self.weir(&[args, &[manifests]].concat());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut demo = Running(running::Running::start(&mut command).expect("weir runs"));
        let stderr = BufReader::new(demo.0.stderr.take().expect("stderr"));
        let mut said = String::new();
        for line in stderr.lines() {
            let line = line.expect("line");
            said.push_str(&line);
            said.push('\n');
            if line.contains("The demo stays up") {
                return demo;
            }
        }
        panic!("the demo did not come up:\n{said}");
    }

    /// Network namespaces of the runs that are written down.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        let runs = weir_playground::run::read_all(&self.root());
        runs.into_iter()
            .flat_map(|(_, state)| state.namespaces)
            .collect()
    }

    /// Asserts that no run is written down and that `namespaces` are gone.
    pub(crate) fn assert_gone(&self, namespaces: &[String]) {
        assert!(!self.root().exists(), "a run directory is left");
        for name in namespaces {
            let path = weir_playground::netns::path(name);
            assert!(!path.exists(), "{name} is left");
        }
    }
}

impl Running {
    /// Sends a signal and waits for the end.
    pub(crate) fn end(&mut self, signal: Signal) -> ExitStatus {
        self.0.signal(signal);
        self.0.ended(PATIENCE).expect("an end")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has namespaces to remove.
        if self.0.is_alive() {
            self.end(Signal::SIGTERM);
        }
    }
}

/// What a program printed, both ways.
pub(crate) fn text(output: &Output) -> String {
    format!("{}\n{}", output.stdout, output.stderr)
}

/// Two pods and a Service, as a tutorial has them.
pub(crate) const TWO_PODS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  replicas: 2
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      containers:
        - name: hello
          image: gcr.io/google-samples/hello-app:1.0
          ports: [{containerPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: hello}
spec:
  selector: {app: hello}
  ports: [{port: 80, targetPort: 8080}]
"#;
