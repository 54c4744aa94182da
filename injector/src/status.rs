//! The annotation in which the injector writes what it did to a pod, so that it can be recognised
//! and taken out again.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_api::sidecar::{INIT_CONTAINER, PROXY_CONTAINER};

use crate::{Place, config::SidecarKind, pod::Pod};

/// Lists of a pod's spec that hold containers.
pub(crate) const CONTAINER_LISTS: [&str; 2] = ["initContainers", "containers"];

/// The value of `weir.dev/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    /// Init containers that the injector takes care of.
    pub(crate) init_containers: Vec<String>,
    /// Containers that it takes care of.
    pub(crate) containers: Vec<String>,
    /// Volumes that it added.
    pub(crate) volumes: Vec<String>,
    /// Annotations that it added beside this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) annotations: Vec<String>,
    /// Containers of the author's that it completed, as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) own: Vec<Own>,
    /// Revision of the control plane whose injector first injected the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<String>,
    /// Version of the injector that first injected the pod.
    pub(crate) version: String,
}

/// A container of the author's that is named like one of the injector's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Own {
    /// The list of the pod's spec it was in.
    pub(crate) list: String,
    /// Where in the list.
    pub(crate) index: usize,
    /// The container as it was.
    pub(crate) container: Value,
}

// === impl Status ===

impl Status {
    /// The status of a pod that has none, before anything is added to it. `value` is the pod that
    /// `pod` is the view of.
    pub(crate) fn first(value: &Value, place: Place<'_>) -> Self {
        let ours = |name: &Value| name == INIT_CONTAINER || name == PROXY_CONTAINER;
        let own = |list: &'static str| {
            let containers = value["spec"][list].as_array();
            let containers = containers.into_iter().flatten().enumerate();
            let containers = containers.filter(|(_, container)| ours(&container["name"]));
            containers.map(|(index, container)| Own {
                list: list.to_owned(),
                index,
                container: container.clone(),
            })
        };
        Self {
            own: CONTAINER_LISTS.into_iter().flat_map(own).collect(),
            revision: place.cluster.map(|cluster| cluster.revision.clone()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Self::default()
        }
    }

    /// What an earlier injection wrote.
    pub(crate) fn written(pod: &Pod<'_>) -> Option<Self> {
        Self::parse(pod.annotations.get(weir_api::annotations::STATUS)?)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Names the containers of this kind of sidecar.
    pub(crate) fn set_containers(&mut self, has_init: bool, kind: SidecarKind) {
        let init = has_init.then(|| INIT_CONTAINER.to_owned());
        let proxy = vec![PROXY_CONTAINER.to_owned()];
        let (more, containers) = match kind {
            SidecarKind::Native => (proxy, Vec::new()),
            SidecarKind::Classic => (Vec::new(), proxy),
        };
        self.init_containers = init.into_iter().chain(more).collect();
        self.containers = containers;
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and JSON values serialise")
    }
}
