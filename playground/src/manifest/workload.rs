//! What makes pods: Deployments and their like, and how many pods of which names each makes.

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        batch::v1::Job,
        core::v1::{Pod, PodSpec},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::{Value, json};

use super::DEFAULT_NAMESPACE;

/// Kinds that make pods.
const KINDS: [&str; 6] = [
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "Job",
    "Pod",
];

/// A workload read with its own type, which is how its fields are checked.
pub(super) enum Typed {
    Deployment(Deployment),
    StatefulSet(StatefulSet),
    DaemonSet(DaemonSet),
    ReplicaSet(ReplicaSet),
    Job(Job),
    Pod(Pod),
}

/// Something that makes pods.
#[derive(Debug, Clone)]
pub struct Workload {
    /// `Deployment`, `StatefulSet` and so on.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// How many pods.
    pub replicas: u32,
    /// Service that gives the pods of a `StatefulSet` their names.
    pub service_name: Option<String>,
    /// The pods' metadata and spec as written, with every field.
    pub template: Value,
    /// The object as written.
    pub object: Value,
}

/// A pod as a controller sends it to the API server, before admission.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPod {
    /// Name the API server gives it.
    pub name: String,
    /// The object; like a controller's, it has a `generateName` instead of a name unless the name
    /// is fixed.
    pub object: Value,
}

/// Whether `kind` makes pods.
pub(super) fn is_workload(kind: &str) -> bool {
    KINDS.contains(&kind)
}

// === impl Typed ===

impl Typed {
    fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Deployment(object) => &object.metadata,
            Self::StatefulSet(object) => &object.metadata,
            Self::DaemonSet(object) => &object.metadata,
            Self::ReplicaSet(object) => &object.metadata,
            Self::Job(object) => &object.metadata,
            Self::Pod(object) => &object.metadata,
        }
    }

    fn replicas(&self) -> Option<i32> {
        match self {
            Self::Deployment(object) => object.spec.as_ref()?.replicas,
            Self::StatefulSet(object) => object.spec.as_ref()?.replicas,
            Self::ReplicaSet(object) => object.spec.as_ref()?.replicas,
            Self::Job(object) => object.spec.as_ref()?.parallelism,
            Self::DaemonSet(_) | Self::Pod(_) => None,
        }
    }

    fn pod_spec(&self) -> Option<&PodSpec> {
        match self {
            Self::Deployment(object) => object.spec.as_ref()?.template.spec.as_ref(),
            Self::StatefulSet(object) => object.spec.as_ref()?.template.spec.as_ref(),
            Self::DaemonSet(object) => object.spec.as_ref()?.template.spec.as_ref(),
            Self::ReplicaSet(object) => object.spec.as_ref()?.template.as_ref()?.spec.as_ref(),
            Self::Job(object) => object.spec.as_ref()?.template.spec.as_ref(),
            Self::Pod(object) => object.spec.as_ref(),
        }
    }
}

// === impl Workload ===

impl Workload {
    pub(super) fn new(typed: &Typed, object: &Value) -> Result<Self, String> {
        let metadata = typed.metadata();
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let (template, at) = match typed {
            Typed::Pod(_) => (object.clone(), "spec"),
            _ => (object["spec"]["template"].clone(), "spec.template.spec"),
        };
        let containers = typed.pod_spec().map_or(0, |spec| spec.containers.len());
        if containers == 0 {
            return Err(format!("{at}.containers: at least one is needed"));
        }
        let replicas = u32::try_from(typed.replicas().unwrap_or(1))
            .map_err(|_| "spec.replicas: must not be negative".to_owned())?;
        let service_name = match typed {
            Typed::StatefulSet(set) => set.spec.as_ref().and_then(|spec| spec.service_name.clone()),
            _ => None,
        };
        let name = metadata
            .name
            .clone()
            .or_else(|| metadata.generate_name.clone());
        Ok(Self {
            kind,
            namespace: metadata
                .namespace
                .clone()
                .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
            name: name.ok_or("metadata.name: missing")?,
            replicas,
            service_name,
            template,
            object: object.clone(),
        })
    }

    /// The pods to create.
    #[must_use]
    pub fn pods(&self) -> Vec<NewPod> {
        (0..self.replicas).map(|index| self.pod(index)).collect()
    }

    fn pod(&self, index: u32) -> NewPod {
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": self.template.get("metadata").cloned().unwrap_or_else(|| json!({})),
            "spec": self.template["spec"],
        });
        let suffix = word(&format!("{}/{}/{index}", self.namespace, self.name));
        let hash = word(&self.template.to_string());
        let owner = |kind: &str, name: &str| {
            let api = if kind == "Job" { "batch/v1" } else { "apps/v1" };
            json!([{
                "apiVersion": api, "kind": kind, "name": name, "controller": true,
                "blockOwnerDeletion": true,
                "uid": uid(&format!("{kind}/{}/{name}", self.namespace)),
            }])
        };
        let metadata = &mut object["metadata"];
        metadata["namespace"] = json!(self.namespace);
        let name = match self.kind.as_str() {
            "Pod" => {
                let name = self
                    .template
                    .pointer("/metadata/name")
                    .and_then(Value::as_str);
                name.map_or_else(|| format!("{}{suffix}", self.name), ToOwned::to_owned)
            }
            "StatefulSet" => {
                let name = format!("{}-{index}", self.name);
                metadata["name"] = json!(name);
                metadata["ownerReferences"] = owner("StatefulSet", &self.name);
                metadata["labels"]["apps.kubernetes.io/pod-index"] = json!(index.to_string());
                metadata["labels"]["statefulset.kubernetes.io/pod-name"] = json!(name);
                object["spec"]["hostname"] = json!(name);
                if let Some(service) = &self.service_name {
                    object["spec"]["subdomain"] = json!(service);
                }
                name
            }
            kind => {
                let set = if kind == "Deployment" {
                    metadata["labels"]["pod-template-hash"] = json!(hash);
                    format!("{}-{hash}", self.name)
                } else {
                    self.name.clone()
                };
                let kind = if kind == "Deployment" {
                    "ReplicaSet"
                } else {
                    kind
                };
                metadata["generateName"] = json!(format!("{set}-"));
                metadata["ownerReferences"] = owner(kind, &set);
                format!("{set}-{suffix}")
            }
        };
        NewPod { name, object }
    }
}

/// Five characters as Kubernetes' own generated names have them, always the same for the same text.
fn word(text: &str) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hash = fnv(text);
    let mut word = String::new();
    for _ in 0..5 {
        let index = usize::try_from(hash % ALPHABET.len() as u64).unwrap_or(0);
        word.push(char::from(ALPHABET[index]));
        hash /= ALPHABET.len() as u64;
    }
    word
}

/// An identifier in the form of a UUID, always the same for the same text.
#[must_use]
pub fn uid(text: &str) -> String {
    let (high, low) = (fnv(text), fnv(&format!("{text}#")));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

/// FNV-1a: short, stable between builds, and nothing here needs more.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
