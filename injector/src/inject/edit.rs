//! The changes to a pod, in the order in which the patch makes them.

use json_patch::{Patch, PatchError, jsonptr::PointerBuf};
use serde_json::{Value, json};
use weir_api::{
    annotations,
    sidecar::{INIT_CONTAINER, PROXY_CONTAINER, env},
};

use crate::{
    Place,
    config::SidecarKind,
    editor::{Editor, at},
    merge,
    pod::Pod,
    status::{Own, Status},
    template::Template,
};

/// Annotation that tells `kubectl logs` and `kubectl exec` which container is meant.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Makes all changes to `value`, which `pod` is the view of.
pub(super) fn edit(
    value: Value,
    pod: &Pod<'_>,
    place: Place<'_>,
    kind: SidecarKind,
    template: Template,
) -> Result<(Value, Patch), PatchError> {
    let written = Status::written(pod);
    let mut status = written
        .clone()
        .unwrap_or_else(|| Status::first(&value, place));
    let mut editor = Editor::new(value);
    let (init_list, list) = (at(["spec", "initContainers"]), at(["spec", "containers"]));
    let has_init = template.init.is_some();
    let ports = ports_of(&template.proxy).cloned();
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
    if let Some(ports) = ports.filter(|_| written.is_some() && !sets_ports(&status)) {
        let list = [&init_list, &list][usize::from(kind == SidecarKind::Classic)];
        refresh_ports(&mut editor, list, ports)?;
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
    let annotations = &template.annotations;
    annotate(&mut editor, pod, status, written.as_ref(), annotations)?;
    Ok(editor.finish())
}

/// The variable with the ports of the application's containers.
fn ports_of(container: &Value) -> Option<&Value> {
    let variables = container["env"].as_array()?;
    variables
        .iter()
        .find(|variable| variable["name"] == env::POD_PORTS)
}

/// Whether the author's own container sets it.
fn sets_ports(status: &Status) -> bool {
    status
        .own
        .iter()
        .any(|own| ports_of(&own.container).is_some())
}

/// Brings the variable of a sidecar that was injected before up to date: another webhook may have
/// added containers since.
fn refresh_ports(editor: &mut Editor, list: &PointerBuf, ports: Value) -> Result<(), PatchError> {
    let sidecar = editor.position(list, "name", &PROXY_CONTAINER.into());
    let Some(sidecar) = sidecar else {
        return Ok(());
    };
    let variables = list.with_trailing_token(sidecar).with_trailing_token("env");
    let Some(position) = editor.position(&variables, "name", &env::POD_PORTS.into()) else {
        return Ok(());
    };
    let variable = variables.with_trailing_token(position);
    match editor.get(&variable) {
        Some(present) if *present != ports => editor.replace(variable, ports),
        _ => Ok(()),
    }
}

/// Adds the annotations, the status last, unless it says the same already.
fn annotate(
    editor: &mut Editor,
    pod: &Pod<'_>,
    mut status: Status,
    written: Option<&Status>,
    more: &[(&'static str, &'static str)],
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
    // The sidecar of a pod that was injected before, or one whose author chose the image, may know
    // nothing of what these say.
    let own_image = |own: &Own| own.container.get("image").is_some();
    if written.is_none() && !status.own.iter().any(own_image) {
        for (name, value) in more {
            if editor.get(&annotation(name)).is_none() {
                editor.add(annotation(name), (*value).into())?;
                note(&mut status.annotations, name);
            }
        }
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
