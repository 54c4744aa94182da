//! Settings of the whole mesh as a file that the control plane follows, in place of its `ConfigMap`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::control::NAMESPACE;
use crate::{
    cluster::Cluster,
    error::{Error, Result},
};

/// Directory of the file in that of the run.
pub(super) const DIR: &str = "settings";
/// Name of the `ConfigMap`, and the key of the settings in it, as the chart has them.
const CONFIG_MAP: (&str, &str) = ("weir-config", "mesh.yaml");

/// The file. Where there is no such `ConfigMap` it is empty, which means defaults.
pub(super) struct SettingsFile {
    path: PathBuf,
    written: Option<Vec<u8>>,
}

// === impl SettingsFile ===

impl SettingsFile {
    /// A file in the directory of a run.
    pub(super) fn new(run: &Path) -> Self {
        Self {
            path: run.join(DIR).join(CONFIG_MAP.1),
            written: None,
        }
    }

    /// Writes what has changed.
    pub(super) fn write(&mut self, cluster: &Cluster) -> Result<()> {
        let (name, key) = CONFIG_MAP;
        let data = cluster.config_map(NAMESPACE, name);
        let text = data.and_then(|mut data| data.remove(key));
        let text = text.unwrap_or_default();
        if self.written.as_ref() != Some(&text) {
            fs::write(&self.path, &text).map_err(Error::file("write", &self.path))?;
            self.written = Some(text);
        }
        Ok(())
    }
}
