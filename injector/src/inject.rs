//! How a pod looks with a sidecar, as a JSON Patch.

use json_patch::{Patch, PatchError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weir_api::{
    annotations, identity, ports,
    sidecar::{INIT_CONTAINER, PROXY_CONTAINER},
};

use crate::{
    Config, Decision, WrongType,
    config::SidecarKind,
    decision,
    editor::{Editor, at},
    merge,
    pod::{Container, Owner, Pod},
    settings::{self, BadAnnotation, Settings},
    template::Template,
};

/// Annotation that tells `kubectl logs` and `kubectl exec` which container is meant.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// What came of looking at a pod.
#[derive(Debug, Clone)]
pub struct Injection {
    /// Whether the pod gets a sidecar, and why.
    pub decision: Decision,
    /// Leads from the pod to the injected one. Empty if it is not injected, or was before.
    pub patch: Patch,
    /// The injected pod; `None` if it is not injected.
    pub pod: Option<Value>,
    /// What the pod's author should know, each a sentence without a full stop.
    pub warnings: Vec<String>,
}

/// A pod that cannot be injected as it asks to be.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// A field is not of the type Kubernetes gives it.
    #[error(transparent)]
    WrongType(#[from] WrongType),
    /// Annotations whose values cannot be used.
    #[error("{}", settings::join(.0))]
    Annotations(Vec<BadAnnotation>),
    /// A container of ours is where it cannot do its work.
    #[error("{path}: a container named {name:?} cannot be there")]
    Misplaced {
        /// Where, such as `spec.containers`.
        path: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// The patch does not apply to the pod it was made from: a bug.
    #[error("the patch does not apply to the pod it was made for: {0}")]
    Patch(String),
}

/// The value of [`annotations::STATUS`]: names of what the injector takes care of in the pod.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    init_containers: Vec<String>,
    containers: Vec<String>,
    volumes: Vec<String>,
    version: String,
}

/// Injects a pod. `namespace` is the one of the request: a pod made by a controller often does not
/// name its own.
pub fn inject(pod: &Value, namespace: &str, config: &Config) -> Result<Injection, InjectError> {
    inject_as(pod, namespace, None, config)
}

/// [`inject`], for the template of a workload, which will be the owner of its pods.
pub(crate) fn inject_as(
    value: &Value,
    namespace: &str,
    owner: Option<Owner<'_>>,
    config: &Config,
) -> Result<Injection, InjectError> {
    let mut pod = Pod::read(value)?;
    if owner.is_some() {
        pod.owner = owner;
    }
    let decision = decision::decide_pod(&pod, namespace, config);
    let mut warnings = settings::unknown(&pod);
    warnings.extend(unclear_wish(&pod));
    if !decision.injects() {
        warnings.push(format!(
            "pod {} is not injected: {decision}",
            pod.display_name()
        ));
        return Ok(Injection {
            decision,
            patch: Patch(Vec::new()),
            pod: None,
            warnings,
        });
    }
    let mut settings =
        Settings::read(&pod, config, &mut warnings).map_err(InjectError::Annotations)?;
    adopt_own_container(&pod, &mut settings)?;
    warnings.extend(conflicts(&pod, &settings));
    let template = Template::new(&pod, &settings, config);
    let (injected, patch) = edit(value.clone(), &pod, settings.sidecar, template)?;
    Ok(Injection {
        decision,
        patch,
        pod: Some(injected),
        warnings,
    })
}

/// Makes all changes to `value`, which `pod` is the view of.
fn edit(
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
    let application = pod.containers.iter().find(|container| !is_ours(container));
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

/// Lets a container of the pod that is named like the sidecar decide what only it can: where the
/// sidecar is, and as whom it runs.
fn adopt_own_container(pod: &Pod<'_>, settings: &mut Settings) -> Result<(), InjectError> {
    let named = |list: &[Container<'_>], name| list.iter().any(|container| container.name == name);
    let misplaced = |name| InjectError::Misplaced {
        path: "spec.containers",
        name,
    };
    if named(&pod.containers, INIT_CONTAINER) {
        return Err(misplaced(INIT_CONTAINER));
    }
    let (is_native, is_classic) = (
        named(&pod.init_containers, PROXY_CONTAINER),
        named(&pod.containers, PROXY_CONTAINER),
    );
    match (is_native, is_classic) {
        (true, true) => return Err(misplaced(PROXY_CONTAINER)),
        (true, false) => settings.sidecar = SidecarKind::Native,
        // Kubernetes wants one container at least, so the only one cannot be moved.
        (false, true) if pod.containers.len() == 1 => settings.sidecar = SidecarKind::Classic,
        _ => {}
    }
    let mut all = pod.containers.iter().chain(&pod.init_containers);
    if let Some(own) = all.find(|container| container.name == PROXY_CONTAINER) {
        settings.own_user = own.run_as.user;
        // Root is what most of a pod runs as; leaving its packets alone would capture nothing.
        if let Some(user) = own.run_as.user.filter(|user| *user != 0) {
            settings.capture.proxy_uids = vec![user];
        }
        if let Some(group) = own.run_as.group.filter(|group| *group != 0) {
            settings.capture.proxy_gids = vec![group];
        }
    }
    Ok(())
}

/// A warning if the pod says neither yes nor no.
fn unclear_wish(pod: &Pod<'_>) -> Option<String> {
    let name = annotations::INJECT;
    let label = pod.labels.get(name).map(|value| ("label", value));
    let (what, value) = label.or(pod.annotations.get(name).map(|value| ("annotation", value)))?;
    let clear = ["true", "false"].contains(value);
    (!clear).then(|| {
        format!("{what} {name}: {value:?} is neither \"true\" nor \"false\"; it is ignored")
    })
}

/// Warnings about containers that get in the sidecar's way.
fn conflicts(pod: &Pod<'_>, settings: &Settings) -> Vec<String> {
    let sidecars = pod
        .init_containers
        .iter()
        .filter(|container| container.is_sidecar);
    let mut warnings = Vec::new();
    for container in pod
        .containers
        .iter()
        .chain(sidecars)
        .filter(|container| !is_ours(container))
    {
        let name = container.name;
        let run_as = container.run_as.or(pod.run_as);
        let user = run_as
            .user
            .filter(|user| settings.capture.proxy_uids.contains(user));
        let group = run_as
            .group
            .filter(|group| settings.capture.proxy_gids.contains(group));
        if user.is_some() || group.is_some() {
            let id = user.or(group).unwrap_or(identity::PROXY_UID);
            warnings.push(format!(
                "container {name:?} runs as {id}, the sidecar's own user or group, so its outbound \
                 connections are not captured"
            ));
        }
        for port in container.ports.iter().map(|port| port.container_port) {
            if SIDECAR_PORTS.contains(&port) {
                warnings.push(format!(
                    "container {name:?} declares port {port}, which the sidecar uses"
                ));
            }
        }
    }
    warnings
}

/// Ports the sidecar listens on in the pod.
const SIDECAR_PORTS: [u16; 6] = [
    ports::ADMIN,
    ports::OUTBOUND,
    ports::INBOUND,
    ports::STATUS,
    ports::READINESS,
    ports::PROMETHEUS,
];

fn is_ours(container: &Container<'_>) -> bool {
    [INIT_CONTAINER, PROXY_CONTAINER].contains(&container.name)
}

fn name_of(value: &Value) -> Option<String> {
    Some(value.get("name")?.as_str()?.to_owned())
}

// === impl InjectError ===

impl From<PatchError> for InjectError {
    fn from(error: PatchError) -> Self {
        Self::Patch(error.to_string())
    }
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
