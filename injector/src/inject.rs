//! How a pod looks with a sidecar, as a JSON Patch.

use json_patch::{Patch, PatchError};
use serde_json::Value;
use weir_api::{
    annotations,
    capture::CaptureMode,
    sidecar::{INIT_CONTAINER, PROXY_CONTAINER},
};

use crate::{
    Config, Decision, Place, WrongType,
    config::SidecarKind,
    decision,
    pod::{Container, Owner, Pod},
    settings::{self, BadAnnotation, Settings},
    status::Status,
    template::{Template, VolumeNames},
};

mod conflicts;
mod edit;
mod own_program;

use conflicts::conflicts;
use edit::edit;

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
    /// The author's own container says that it ends, as no sidecar may.
    #[error(
        "spec.initContainers: {name}: restartPolicy is {policy:?}; a native sidecar needs Always"
    )]
    RestartPolicy {
        /// Name of the container.
        name: &'static str,
        /// What it says.
        policy: String,
    },
    /// A container of ours would run another's image.
    #[error(
        "container {name:?} has the image {image:?}, which is neither Weir's nor in the injector's \
         allowedImages"
    )]
    Image {
        /// Name of the container.
        name: &'static str,
        /// The image.
        image: String,
    },
    /// A container of ours would run another command.
    #[error(
        "container {name:?} has a command; that is for images in the injector's allowedImages only"
    )]
    Command {
        /// Name of the container.
        name: &'static str,
    },
    /// The patch does not apply to the pod it was made from: a bug.
    #[error("the patch does not apply to the pod it was made for: {0}")]
    Patch(String),
}

/// Injects a pod. `place` is where it goes; the name of a namespace will do.
///
/// # Errors
/// The pod cannot be injected as it asks to be.
pub fn inject<'a>(
    pod: &Value,
    place: impl Into<Place<'a>>,
    config: &Config,
) -> Result<Injection, InjectError> {
    let mut injection = inject_as(pod, place.into(), None, config)?;
    if injection.pod.is_none() {
        let (name, decision) = (display_name(pod), injection.decision);
        let warning = format!("pod {name} is not injected: {decision}");
        injection.warnings.push(warning);
    }
    Ok(injection)
}

/// [`inject`], without a warning where there is no sidecar, and for the template of a workload too,
/// which will be the owner of its pods.
pub(crate) fn inject_as(
    value: &Value,
    place: Place<'_>,
    owner: Option<Owner<'_>>,
    config: &Config,
) -> Result<Injection, InjectError> {
    let mut pod = Pod::read(value)?;
    if owner.is_some() {
        pod.owner = owner;
    }
    let decision = decision::decide_pod(&pod, place, config);
    let mut warnings = settings::unknown(&pod);
    warnings.extend(unclear_wish(&pod));
    if !decision.injects() {
        return Ok(Injection {
            decision,
            patch: Patch(Vec::new()),
            pod: None,
            warnings,
        });
    }
    let mut settings =
        Settings::read(&pod, place, config, &mut warnings).map_err(InjectError::Annotations)?;
    adopt_own_container(&pod, &mut settings)?;
    own_program::check(value, config)?;
    warnings.extend(conflicts(&pod, &settings));
    warnings.extend(refused_by_pod_security(place, &settings));
    let volumes = VolumeNames::of(&pod);
    warnings.extend(volumes.warnings());
    let template = Template::new(&pod, &settings, &volumes, config);
    let (injected, patch) = edit(value.clone(), &pod, place, settings.sidecar, template)?;
    Ok(Injection {
        decision,
        patch,
        pod: Some(injected),
        warnings,
    })
}

/// What people call this pod in a message.
pub(crate) fn display_name(pod: &Value) -> &str {
    let member = |key| pod["metadata"][key].as_str();
    let name = member("name").or_else(|| member("generateName"));
    name.unwrap_or("(unnamed)")
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
        let policy = own.restart_policy.filter(|policy| *policy != "Always");
        if let Some(policy) = policy.filter(|_| settings.sidecar == SidecarKind::Native) {
            return Err(InjectError::RestartPolicy {
                name: PROXY_CONTAINER,
                policy: policy.to_owned(),
            });
        }
        settings.own_user = own.run_as.user;
        // Of a pod that was injected before, the hook is ours.
        settings.own_hook = own.has_hook && Status::written(pod).is_none();
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

/// A warning if Kubernetes will refuse the pod for its init container.
fn refused_by_pod_security(place: Place<'_>, settings: &Settings) -> Option<String> {
    let level = place.refuses_net_admin()?;
    (settings.capture.mode != CaptureMode::None).then(|| {
        format!(
            "namespace {} enforces the Pod Security level {level:?}, which refuses {INIT_CONTAINER}'s \
             NET_ADMIN: label it pod-security.kubernetes.io/enforce: privileged, or annotate the \
             pod {}: none",
            place.namespace,
            annotations::CAPTURE_MODE
        )
    })
}

/// A warning if the pod says neither yes nor no.
pub(crate) fn unclear_wish(pod: &Pod<'_>) -> Option<String> {
    let name = annotations::INJECT;
    let label = pod.labels.get(name).map(|value| ("label", value));
    let (what, value) = label.or(pod.annotations.get(name).map(|value| ("annotation", value)))?;
    let clear = ["true", "false"].contains(value);
    (!clear).then(|| {
        format!("{what} {name}: {value:?} is neither \"true\" nor \"false\"; it is ignored")
    })
}

// === impl InjectError ===

impl From<PatchError> for InjectError {
    fn from(error: PatchError) -> Self {
        Self::Patch(error.to_string())
    }
}
