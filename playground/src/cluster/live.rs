//! The live objects as files: what the control plane watches in place of the Kubernetes API.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Cluster, LivePod, endpoints};
use crate::{
    address,
    error::{Error, Result},
};

/// Name of the only node.
pub const NODE_NAME: &str = "playground";

/// A directory that holds the live objects, one a file, and follows them.
#[derive(Debug)]
pub struct LiveObjects {
    dir: PathBuf,
    written: BTreeMap<String, String>,
}

// === impl LiveObjects ===

impl LiveObjects {
    /// Objects will be written to `dir`, which exists.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            written: BTreeMap::new(),
        }
    }

    /// Writes what has changed. Each file is replaced at once, so that a reader never sees half.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&mut self, cluster: &Cluster) -> Result<()> {
        let objects = render(cluster);
        for (name, text) in &objects {
            if self.written.get(name) == Some(text) {
                continue;
            }
            let (file, new) = (self.dir.join(name), self.dir.join(format!(".{name}.new")));
            fs::write(&new, text).map_err(Error::file("write", &new))?;
            fs::rename(&new, &file).map_err(Error::file("write", &file))?;
        }
        for name in self
            .written
            .keys()
            .filter(|name| !objects.contains_key(*name))
        {
            let file = self.dir.join(name);
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::file("remove", file)(error));
                }
                _ => {}
            }
        }
        self.written = objects;
        Ok(())
    }
}

/// Every live object: file name and text.
fn render(cluster: &Cluster) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut add = |object: Value| {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_lowercase()
        };
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        let name = match text("/metadata/namespace").as_str() {
            "" => format!("{kind}.{name}.yaml"),
            namespace => format!("{kind}.{namespace}.{name}.yaml"),
        };
        // JSON is YAML.
        files.insert(name, format!("{object:#}\n"));
    };
    for namespace in cluster.namespaces.values() {
        add(object(namespace));
    }
    for service in &cluster.services {
        add(object(service));
        endpoints::slices(cluster, service)
            .into_iter()
            .for_each(&mut add);
    }
    cluster.pods.values().map(pod).for_each(&mut add);
    cluster.others.iter().cloned().for_each(&mut add);
    files
}

/// A typed object as JSON. k8s-openapi writes `apiVersion` and `kind` itself.
fn object<T: Serialize>(typed: &T) -> Value {
    // Objects of k8s-openapi have string keys only, which is all that could fail.
    serde_json::to_value(typed).unwrap_or(Value::Null)
}

fn pod(live: &LivePod) -> Value {
    let mut value = live.object.clone();
    let status = live.status;
    let condition = |kind: &str, holds: bool| json!({ "type": kind, "status": if holds { "True" } else { "False" } });
    value["spec"]["nodeName"] = json!(NODE_NAME);
    value["status"] = json!({
        "phase": match (status.finished, status.initialized) {
            (true, _) => "Succeeded",
            (_, true) => "Running",
            _ => "Pending",
        },
        "podIP": live.ip,
        "podIPs": [{ "ip": live.ip }],
        "hostIP": address::NODE,
        "conditions": [
            condition("PodScheduled", true),
            condition("Initialized", status.initialized),
            condition("ContainersReady", status.ready),
            condition("Ready", status.ready),
        ],
    });
    if status.terminating {
        // When does not matter to a reader; that it is set does.
        value["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
    }
    value
}
