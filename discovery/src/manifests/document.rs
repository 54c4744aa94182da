//! The text of a manifest file to the objects in it.

use std::{path::Path, sync::Arc};

use k8s_openapi::api::core::v1::Endpoints;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{ManifestError, legacy};
use crate::{
    kubernetes::wire::{EndpointSlice, Meta, Node, Pod, Service},
    rules::{KnownKind, Rule},
};

/// An object of a manifest.
#[derive(Debug, Clone)]
pub(super) enum Manifest {
    Service(Box<Service>),
    EndpointSlice(EndpointSlice),
    Pod(Box<Pod>),
    Node(Box<Node>),
    Rule(Arc<dyn Rule>),
    /// A kind that discovery knows and needs nothing of, by kind, namespace and name.
    Other {
        kind: String,
        meta: Meta,
    },
    /// A kind that discovery does not know and that may say something of traffic.
    Unknown {
        version: String,
        kind: String,
        meta: Meta,
    },
}

/// Groups of Kubernetes' own whose other kinds say nothing of traffic.
const SILENT: [&str; 13] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apps",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "events.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// Kinds that are read, by the version that is.
const READ: [&str; 5] = ["Service", "Pod", "Node", "EndpointSlice", "Endpoints"];

/// Kinds read for their names only: pods tell which of them they belong to.
const NAMED_ONLY: [(&str, &str); 7] = [
    ("v1", "Namespace"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ReplicaSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
];

/// An object and where in its file it stands.
#[derive(Debug, Clone)]
pub(super) struct Located {
    /// Which document of the file, from 1.
    pub(super) document: usize,
    pub(super) manifest: Manifest,
}

/// Reads all documents of a file.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Located>, ManifestError> {
    let mut objects = Vec::new();
    for (at, document) in yaml_serde::Deserializer::from_str(text).enumerate() {
        let reader = Reader {
            path,
            document: at + 1,
        };
        let value = reader.value(document)?;
        if !value.is_null() {
            reader.object(value, "", &mut objects)?;
        }
    }
    Ok(objects)
}

/// Why an object is none of its kind.
type PathError = serde_path_to_error::Error<serde_json::Error>;

struct Reader<'a> {
    path: &'a Path,
    document: usize,
}

// === impl Reader ===

impl Reader<'_> {
    fn error(&self, field: &str, reason: impl Into<String>) -> ManifestError {
        ManifestError::Document {
            path: self.path.to_owned(),
            document: self.document,
            field: if field.is_empty() { "." } else { field }.to_owned(),
            reason: reason.into(),
        }
    }

    /// Through the YAML library's own value, which refuses duplicate keys.
    fn value(&self, document: yaml_serde::Deserializer<'_>) -> Result<Value, ManifestError> {
        let mut value = yaml_serde::Value::deserialize(document)
            .map_err(|error| self.error("", error.to_string()))?;
        value
            .apply_merge()
            .map_err(|error| self.error("", error.to_string()))?;
        serde_json::to_value(value).map_err(|error| self.error("", error.to_string()))
    }

    /// Reads one object, or each object of a list. `at` is the path to it within the document.
    fn object(&self, value: Value, at: &str, into: &mut Vec<Located>) -> Result<(), ManifestError> {
        if !value.is_object() {
            return Err(self.error(at, "is not an object"));
        }
        let text = |field: &str| match value.get(field) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(self.error(&join(at, field), "is not a string")),
            None => Err(self.error(&join(at, field), "is missing")),
        };
        let (version, kind) = (text("apiVersion")?, text("kind")?);
        if let Some(item_kind) = kind.strip_suffix("List") {
            return self.list(value, at, (&version, item_kind), into);
        }
        if let Some(kind) = KnownKind::find(&version, &kind) {
            let rule = kind.read(value).map_err(|error| self.at(at, error))?;
            into.push(self.located(Manifest::Rule(rule)));
            return Ok(());
        }
        let manifest = match (version.as_str(), kind.as_str()) {
            ("v1", "Service") => Manifest::Service(Box::new(self.typed(value, at)?)),
            ("v1", "Pod") => Manifest::Pod(Box::new(self.typed(value, at)?)),
            ("v1", "Node") => Manifest::Node(Box::new(self.typed(value, at)?)),
            ("discovery.k8s.io/v1", "EndpointSlice") => {
                Manifest::EndpointSlice(self.typed(value, at)?)
            }
            ("v1", "Endpoints") => {
                let slices = legacy::mirror(&self.typed::<Endpoints>(value, at)?).into_iter();
                into.extend(slices.map(|slice| self.located(Manifest::EndpointSlice(slice))));
                return Ok(());
            }
            named if NAMED_ONLY.contains(&named) => {
                let meta = value.get("metadata").cloned().unwrap_or_default();
                let meta = self.typed(meta, &join(at, "metadata"))?;
                Manifest::Other { kind, meta }
            }
            (version, name) if says_nothing(version, name) => return Ok(()),
            _ => {
                let meta = value.get("metadata").cloned().unwrap_or_default();
                let meta = serde_json::from_value(meta).unwrap_or_default();
                Manifest::Unknown {
                    version,
                    kind,
                    meta,
                }
            }
        };
        into.push(self.located(manifest));
        Ok(())
    }

    fn located(&self, manifest: Manifest) -> Located {
        Located {
            document: self.document,
            manifest,
        }
    }

    /// The items of a `List`, or of a typed list such as `ServiceList`, whose items may leave out
    /// their kind.
    fn list(
        &self,
        mut list: Value,
        at: &str,
        (version, kind): (&str, &str),
        into: &mut Vec<Located>,
    ) -> Result<(), ManifestError> {
        let items = match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            Some(Value::Null) | None => Vec::new(),
            Some(_) => return Err(self.error(&join(at, "items"), "is not a list")),
        };
        for (index, mut item) in items.into_iter().enumerate() {
            if let Value::Object(fields) = &mut item
                && !kind.is_empty()
            {
                fields.entry("apiVersion").or_insert_with(|| version.into());
                fields.entry("kind").or_insert_with(|| kind.into());
            }
            self.object(item, &join(at, &format!("items[{index}]")), into)?;
        }
        Ok(())
    }

    fn typed<T: DeserializeOwned>(&self, value: Value, at: &str) -> Result<T, ManifestError> {
        serde_path_to_error::deserialize(value).map_err(|error| self.at(at, error))
    }

    /// What is wrong with an object whose path within the document that is.
    fn at(&self, at: &str, error: PathError) -> ManifestError {
        let field = error.path().to_string();
        self.error(&join(at, &field), error.into_inner().to_string())
    }
}

/// Whether a kind that is not read says nothing of traffic either.
fn says_nothing(version: &str, kind: &str) -> bool {
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let elsewhere = READ.contains(&kind) || NAMED_ONLY.iter().any(|(_, known)| *known == kind);
    SILENT.contains(&group) && !elsewhere
}

fn join(at: &str, field: &str) -> String {
    match (at, field) {
        ("", field) => field.to_owned(),
        (at, "." | "") => at.to_owned(),
        (at, field) => format!("{at}.{field}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let error = parse(Path::new("shop.yaml"), text).expect_err(text);
        error.to_string()
    }

    #[test]
    fn errors_name_file_document_and_field() {
        for (text, expected) in [
            ("a: [", "shop.yaml: document 1: .: "),
            ("- 1", "shop.yaml: document 1: .: is not an object"),
            (
                "kind: Service",
                "shop.yaml: document 1: apiVersion: is missing",
            ),
            (
                "---\n---\napiVersion: v1\nkind: Service\nspec:\n  ports:\n  - port: http\n",
                "shop.yaml: document 2: spec.ports[0].port: ",
            ),
            (
                "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Pod, spec: 1}]}",
                "shop.yaml: document 1: items[0].spec: ",
            ),
            (
                "{apiVersion: v1, kind: Pod, kind: Pod}",
                "shop.yaml: document 1: .: ",
            ),
        ] {
            let error = error(text);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn lists_and_documents_are_read_and_other_kinds_are_skipped() {
        let text = "
apiVersion: v1
kind: ServiceList
items:
- metadata: {name: a}
- metadata: {name: b}
---
# nothing here
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
---
{\"apiVersion\": \"apps/v1\", \"kind\": \"Deployment\", \"metadata\": {\"name\": \"d\"}}
";
        let objects = parse(Path::new("a.yaml"), text).expect("objects");
        assert_eq!(objects.len(), 3);
        assert!(matches!(&objects[1].manifest, Manifest::Service(service)
            if service.metadata.name.as_deref() == Some("b")));
        assert!(
            matches!(&objects[2].manifest, Manifest::Other { kind, .. } if kind == "Deployment")
        );
    }
}
