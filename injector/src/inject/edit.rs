//! The changes to a pod, in the order in which the patch makes them.

use json_patch::{Patch, PatchError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weir_api::{
    annotations,
    sidecar::{INIT_CONTAINER, PROXY_CONTAINER},
};

use crate::{
    config::SidecarKind,
    editor::{Editor, at},
    merge,
    pod::Pod,
    template::Template,
};

/// Annotation that tells `kubectl logs` and `kubectl exec` which container is meant.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The value of [`annotations::STATUS`]: names of what the injector takes care of in the pod.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    init_containers: Vec<String>,
    containers: Vec<String>,
    volumes: Vec<String>,
    version: String,
}

/// Makes all changes to `value`, which `pod` is the view of.
pub(super) fn edit(
    value: Value,
    pod: &Pod<'_>,
    kind: SidecarKind,
    template: Template,
) -> Result<(Value, Patch), PatchError> {
    let mut editor = Editor::new(value);
    let (init_list, list) = (at(["spec", "initContainers"]), at(["spec", "containers"]));
    let has_init = template.init.is_some();
    let volumes: Vec<String> = template.volumes.iter().filter_map(name_of).collect();
    match kind {
        SidecarKind::Native => {
            if let Some(own) = editor.position(&list, "name", &PROXY_CONTAINER.into()) {
                // Written there to change the sidecar; it runs where sidecars run.
                let own = list.with_trailing_token(own);
                let container = editor.get(&own).cloned().unwrap_or_default();
                editor.remove(own)?;
                editor.insert(&init_list, 0, container)?;
            }
            if let Some(init) = template.init {
                merge::place(&mut editor, &init_list, 0, INIT_CONTAINER, init)?;
            }
            let index = usize::from(has_init);
            merge::place(
                &mut editor,
                &init_list,
                index,
                PROXY_CONTAINER,
                template.proxy,
            )?;
        }
        SidecarKind::Classic => {
            // Capture comes last: the application's init containers run before the sidecar does,
            // and captured they would have no network.
            if let Some(init) = template.init {
                let present = editor
                    .position(&init_list, "name", &INIT_CONTAINER.into())
                    .is_some();
                let last = editor.length(&init_list) - usize::from(present);
                merge::place(&mut editor, &init_list, last, INIT_CONTAINER, init)?;
            }
            merge::place(&mut editor, &list, 0, PROXY_CONTAINER, template.proxy)?;
        }
    }
    let volume_list = at(["spec", "volumes"]);
    for volume in template.volumes {
        let name = volume.get("name").cloned().unwrap_or_default();
        if editor.position(&volume_list, "name", &name).is_none() {
            editor.append(&volume_list, volume)?;
        }
    }
    annotate(&mut editor, pod, &Status::new(has_init, kind, volumes))?;
    Ok(editor.finish())
}

fn annotate(editor: &mut Editor, pod: &Pod<'_>, status: &Status) -> Result<(), PatchError> {
    for parent in [at(["metadata"]), at(["metadata", "annotations"])] {
        if editor.get(&parent).is_none() {
            editor.add(parent, json!({}))?;
        }
    }
    let annotation = |name| at(["metadata", "annotations", name]);
    let default = annotation(DEFAULT_CONTAINER);
    let application = pod.containers.iter().find(|container| !container.is_ours());
    if let Some(application) = application.filter(|_| editor.get(&default).is_none()) {
        editor.add(default, application.name.into())?;
    }
    let written = pod.annotations.get(annotations::STATUS);
    let written = written.and_then(|text| serde_json::from_str::<Status>(text).ok());
    if !written.is_some_and(|written| written.names_the_same(status)) {
        editor.add(annotation(annotations::STATUS), status.to_json().into())?;
    }
    Ok(())
}

fn name_of(value: &Value) -> Option<String> {
    Some(value.get("name")?.as_str()?.to_owned())
}

// === impl Status ===

impl Status {
    fn new(has_init: bool, kind: SidecarKind, volumes: Vec<String>) -> Self {
        let init = has_init.then(|| INIT_CONTAINER.to_owned());
        let proxy = vec![PROXY_CONTAINER.to_owned()];
        let (more, containers) = match kind {
            SidecarKind::Native => (proxy, Vec::new()),
            SidecarKind::Classic => (Vec::new(), proxy),
        };
        Self {
            init_containers: init.into_iter().chain(more).collect(),
            containers,
            volumes,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and lists of strings serialise")
    }

    /// Whether both name the same things. The version is the one that first injected the pod.
    fn names_the_same(&self, other: &Self) -> bool {
        self.init_containers == other.init_containers
            && self.containers == other.containers
            && self.volumes == other.volumes
    }
}
