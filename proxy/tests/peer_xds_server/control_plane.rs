//! The control plane: another program, which is told what to serve.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::json;
use weir_api::xds::json::message_from_yaml;

/// `tests/peers/xds-server`, running until it is dropped.
pub(crate) struct ControlPlane {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    pub(crate) address: SocketAddr,
    version: u32,
}

/// Where `scripts/setup test` leaves it.
pub(crate) fn program() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join(".make/xds-server/debug/xds-server");
    path.exists().then_some(path)
}

impl ControlPlane {
    pub(crate) fn start(program: &Path) -> Self {
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It panics where a stream ends.
            .stderr(Stdio::null())
            .spawn()
            .expect("xds-server");
        let stdin = child.stdin.take().expect("piped");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
        let address = stdout.next().expect("a line").expect("text");
        Self {
            child,
            stdin,
            stdout,
            address: address.parse().expect("an address"),
            version: 0,
        }
    }

    /// Serves these messages, YAML by type, to the proxies of the tests and nothing else.
    pub(crate) fn serve(&mut self, resources: &[(&str, String)]) {
        self.version += 1;
        let resources: Vec<_> = resources
            .iter()
            .map(|(type_url, yaml)| {
                let message = message_from_yaml(type_url, yaml).expect(yaml);
                let bytes = message.value.iter().map(|byte| format!("{byte:02x}"));
                json!({ "type_url": type_url, "value": bytes.collect::<String>() })
            })
            .collect();
        let version = self.version.to_string();
        let line = json!({ "node": "test", "version": version, "resources": resources });
        writeln!(self.stdin, "{line}").expect("it reads");
        let said = self.stdout.next().expect("a line").expect("text");
        assert_eq!(said, version);
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
