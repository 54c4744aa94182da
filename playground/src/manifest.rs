//! Reads a directory of Kubernetes manifests. Everything is parsed before anything is made, so that
//! a bad manifest leaves nothing half done.

use std::{
    fs,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::error::{Error, Result};

pub mod workload;

pub use workload::Workload;

/// Namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// What a set of manifests asks for.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// Namespaces.
    pub namespaces: Vec<Namespace>,
    /// Services.
    pub services: Vec<Service>,
    /// What makes pods, bare pods included.
    pub workloads: Vec<Workload>,
    /// `ConfigMaps`.
    pub config_maps: Vec<ConfigMap>,
    /// Secrets.
    pub secrets: Vec<Secret>,
    /// Objects nothing here acts on, but the control plane may want to read.
    pub others: Vec<Value>,
    /// Objects that were left out, as `kind name (reason)`.
    pub skipped: Vec<String>,
}

/// One object of a file, with what is needed to speak about it.
struct Document<'a> {
    file: &'a str,
    /// Counted from 1; 0 for the only document of a file.
    number: usize,
    kind: String,
    name: String,
    value: Value,
}

/// Kinds kept for the control plane to read.
const PASSED_ON: [&str; 12] = [
    "ServiceAccount",
    "PeerAuthentication",
    "AuthorizationPolicy",
    "RequestAuthentication",
    "HTTPRoute",
    "GRPCRoute",
    "ReferenceGrant",
    "DestinationRule",
    "VirtualService",
    "ServiceEntry",
    "WorkloadEntry",
    "Sidecar",
];

/// Reads every `.yaml`, `.yml` and `.json` file of `path`, or the one file it names.
///
/// # Errors
/// Names the file, the document and the field that is wrong; also if there are no manifests at all.
pub fn read(path: &Path) -> Result<Manifests> {
    let mut files = Vec::new();
    if path.is_dir() {
        for entry in fs::read_dir(path).map_err(Error::file("read", path))? {
            let file = entry.map_err(Error::file("read", path))?.path();
            let extension = file.extension().and_then(|extension| extension.to_str());
            if matches!(extension, Some("yaml" | "yml" | "json")) && file.is_file() {
                files.push(file);
            }
        }
        files.sort();
        if files.is_empty() {
            return Err(Error::Manifest {
                file: path.display().to_string(),
                reason: "no .yaml, .yml or .json file in this directory".to_owned(),
            });
        }
    } else {
        files.push(path.to_owned());
    }
    let mut texts = Vec::new();
    for file in &files {
        texts.push((
            name_of(file, path),
            fs::read_to_string(file).map_err(unreadable(file))?,
        ));
    }
    parse(
        texts
            .iter()
            .map(|(file, text)| (file.as_str(), text.as_str())),
    )
}

/// Parses files given as name and text.
///
/// # Errors
/// As [`read`].
pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Manifests> {
    let mut manifests = Manifests::default();
    for (file, text) in files {
        let documents = split(file, text)?;
        let several = documents.len() > 1;
        for (index, value) in documents.into_iter().enumerate() {
            let number = if several { index + 1 } else { 0 };
            manifests.add_value(file, number, value)?;
        }
    }
    Ok(manifests)
}

fn name_of(file: &Path, root: &Path) -> String {
    let shown = if root.is_dir() {
        root.join(file.file_name().unwrap_or_default())
    } else {
        root.into()
    };
    shown.display().to_string()
}

fn unreadable(file: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let file = PathBuf::from(file);
    move |source| Error::Manifest {
        file: file.display().to_string(),
        reason: format!("cannot be read: {source}"),
    }
}

/// The documents of a file; empty ones are left out.
fn split(file: &str, text: &str) -> Result<Vec<Value>> {
    let mut values = Vec::new();
    for (index, document) in yaml_serde::Deserializer::from_str(text).enumerate() {
        let wrong = |reason: String| Error::Manifest {
            file: file.to_owned(),
            reason: if index == 0 {
                reason
            } else {
                format!("document {}: {reason}", index + 1)
            },
        };
        // Through YAML's own value, so that a key given twice is an error.
        let tree =
            yaml_serde::Value::deserialize(document).map_err(|error| wrong(error.to_string()))?;
        if !tree.is_null() {
            values.push(serde_json::to_value(tree).map_err(|error| wrong(error.to_string()))?);
        }
    }
    Ok(values)
}

// === impl Manifests ===

impl Manifests {
    fn add_value(&mut self, file: &str, number: usize, value: Value) -> Result<()> {
        let text = |pointer: &str| {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let kind = text("/kind");
        let name = text("/metadata/name");
        if kind == "List"
            && let Some(items) = value.get("items").and_then(Value::as_array)
        {
            return items
                .iter()
                .try_for_each(|item| self.add_value(file, number, item.clone()));
        }
        let document = Document {
            file,
            number,
            kind,
            name,
            value,
        };
        if document.kind.is_empty() {
            return Err(document.wrong("kind: missing; this is not a Kubernetes object"));
        }
        self.add(document)
    }

    fn add(&mut self, document: Document<'_>) -> Result<()> {
        if document.name.is_empty() && document.kind != "Pod" {
            return Err(document.wrong("metadata.name: missing"));
        }
        match document.kind.as_str() {
            "Namespace" => self.namespaces.push(document.typed()?),
            "Service" => self.services.push(document.typed()?),
            "ConfigMap" => self.config_maps.push(document.typed()?),
            "Secret" => self.secrets.push(document.typed()?),
            "CronJob" => self.skip(&document, "no schedule runs here"),
            kind if workload::is_workload(kind) => self.workloads.push(document.workload()?),
            kind if PASSED_ON.contains(&kind) => self.others.push(document.value),
            _ => self.skip(&document, "nothing here acts on this kind"),
        }
        Ok(())
    }

    fn skip(&mut self, document: &Document<'_>, reason: &str) {
        self.skipped
            .push(format!("{} {} ({reason})", document.kind, document.name));
    }
}

// === impl Document ===

impl Document<'_> {
    fn typed<T: DeserializeOwned>(&self) -> Result<T> {
        serde_path_to_error::deserialize(&self.value).map_err(|error| {
            let path = error.path().to_string();
            self.wrong(&format!("{path}: {}", error.inner()))
        })
    }

    fn workload(&self) -> Result<Workload> {
        let typed: workload::Typed = match self.kind.as_str() {
            "Deployment" => workload::Typed::Deployment(self.typed()?),
            "StatefulSet" => workload::Typed::StatefulSet(self.typed()?),
            "DaemonSet" => workload::Typed::DaemonSet(self.typed()?),
            "ReplicaSet" => workload::Typed::ReplicaSet(self.typed()?),
            "Job" => workload::Typed::Job(self.typed()?),
            _ => workload::Typed::Pod(self.typed()?),
        };
        Workload::new(&typed, &self.value).map_err(|reason| self.wrong(&reason))
    }

    fn wrong(&self, reason: &str) -> Error {
        let file = match self.number {
            0 => self.file.to_owned(),
            number => format!("{} (document {number})", self.file),
        };
        let object = format!("{} {}", self.kind, self.name);
        let object = object.trim();
        let reason = if object.is_empty() {
            reason.to_owned()
        } else {
            format!("{object}: {reason}")
        };
        Error::Manifest { file, reason }
    }
}

#[cfg(test)]
mod tests;
