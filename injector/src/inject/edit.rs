//! The changes to a pod, in the order in which the patch makes them.

use json_patch::{Patch, PatchError};
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
    status::Status,
    template::Template,
};

/// Annotation that tells `kubectl logs` and `kubectl exec` which container is meant.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Makes all changes to `value`, which `pod` is the view of.
pub(super) fn edit(
    value: Value,
    pod: &Pod<'_>,
    kind: SidecarKind,
    template: Template,
) -> Result<(Value, Patch), PatchError> {
    let written = Status::written(pod);
    let mut status = written.clone().unwrap_or_else(|| Status::first(&value));
    let mut editor = Editor::new(value);
    let (init_list, list) = (at(["spec", "initContainers"]), at(["spec", "containers"]));
    let has_init = template.init.is_some();
    status.set_containers(has_init, kind);
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
        let name = volume["name"].as_str().unwrap_or_default().to_owned();
        if editor
            .position(&volume_list, "name", &name.as_str().into())
            .is_none()
        {
            editor.append(&volume_list, volume)?;
            note(&mut status.volumes, &name);
        }
    }
    annotate(&mut editor, pod, status, written.as_ref())?;
    Ok(editor.finish())
}

/// Adds the annotations, the status last, unless it says the same already.
fn annotate(
    editor: &mut Editor,
    pod: &Pod<'_>,
    mut status: Status,
    written: Option<&Status>,
) -> Result<(), PatchError> {
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
        note(&mut status.annotations, DEFAULT_CONTAINER);
    }
    if written != Some(&status) {
        editor.add(annotation(annotations::STATUS), status.to_json().into())?;
    }
    Ok(())
}

/// Adds a name to a list that lacks it.
fn note(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|other| other == name) {
        names.push(name.to_owned());
    }
}
