//! Injection of the objects people keep in files: pods, and the workloads that make them.

use serde_json::Value;

use crate::{
    Config, InjectError, Injection,
    inject::inject_as,
    pod::{Owner, WrongType},
    uninject,
};

mod kind;

pub(crate) use kind::template as template_of;
use kind::{Holder, holder};

/// What came of looking at an object.
#[derive(Debug, Clone)]
pub struct Document {
    /// The object, with every pod and pod template in it changed that is to be.
    pub object: Value,
    /// What was found in it, in order; nothing if it holds no pods.
    pub found: Vec<Found>,
}

/// A pod, or an object with a pod template.
#[derive(Debug, Clone)]
pub struct Found {
    /// Such as `Deployment shop/web`.
    pub name: String,
    /// Whether it is another object than it was.
    pub changed: bool,
    /// Why it is as it was; `None` if it was changed.
    pub skipped: Option<String>,
    /// What its author should know besides.
    pub warnings: Vec<String>,
}

/// An object that cannot be injected.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {error}")]
pub struct DocumentError {
    /// Such as `Deployment shop/web`.
    pub name: String,
    /// Why not.
    pub error: InjectError,
}

/// Injects a Pod, or the pod template of a Deployment, ReplicaSet, DaemonSet, StatefulSet, Job,
/// CronJob, ReplicationController or PodTemplate, or each item of a List. Objects of other kinds
/// come back as they are. `namespace` is where objects go that name none.
///
/// # Errors
/// The first pod that cannot be injected as it asks to be.
pub fn inject_document(
    object: Value,
    namespace: &str,
    config: &Config,
) -> Result<Document, DocumentError> {
    look(object, namespace, &mut |pod, owner, namespace| {
        let Injection {
            decision,
            patch,
            pod: injected,
            warnings,
        } = inject_as(pod, namespace.into(), owner, config)?;
        let skipped = match injected {
            Some(_) if patch.is_empty() => Some("not injected: it was before".to_owned()),
            Some(injected) => {
                *pod = injected;
                None
            }
            None => Some(format!("not injected: {decision}")),
        };
        Ok((skipped, warnings))
    })
}

/// Takes out what an injection put in, wherever [`inject_document`] would put it.
///
/// # Errors
/// The first pod whose fields are not of the type Kubernetes gives them.
pub fn uninject_document(object: Value, namespace: &str) -> Result<Document, DocumentError> {
    look(object, namespace, &mut |pod, _, _| {
        let skipped = match uninject(pod)? {
            Some(before) => {
                *pod = before;
                None
            }
            None => Some("not changed: its annotations do not say that it is injected".to_owned()),
        };
        Ok((skipped, Vec::new()))
    })
}

/// What is done with a pod or pod template, given its owner and namespace: why it is left alone,
/// and warnings.
type Change<'a> = dyn FnMut(&mut Value, Option<Owner<'_>>, &str) -> Result<(Option<String>, Vec<String>), InjectError>
    + 'a;

fn look(
    mut object: Value,
    namespace: &str,
    change: &mut Change<'_>,
) -> Result<Document, DocumentError> {
    let mut found = Vec::new();
    look_at(&mut object, "", namespace, change, &mut found)?;
    Ok(Document { object, found })
}

/// `listed` is the kind of an object in a list that names it for all.
fn look_at(
    object: &mut Value,
    listed: &str,
    namespace: &str,
    change: &mut Change<'_>,
    found: &mut Vec<Found>,
) -> Result<(), DocumentError> {
    let text = |pointer: &str| {
        let text = object.pointer(pointer).and_then(Value::as_str);
        text.map(str::to_owned)
    };
    let kind = text("/kind").unwrap_or_else(|| listed.to_owned());
    let own_name = text("/metadata/name").or_else(|| text("/metadata/generateName"));
    let own_name = own_name.unwrap_or_default();
    let namespace = text("/metadata/namespace").unwrap_or_else(|| namespace.to_owned());
    let name = format!("{kind} {namespace}/{own_name}");
    let failed = |error| DocumentError {
        name: name.clone(),
        error,
    };
    let pointer = match holder(&kind, text("/apiVersion").as_deref(), object) {
        Holder::List(items) => {
            let elements = object.get_mut("items").and_then(Value::as_array_mut);
            return elements
                .into_iter()
                .flatten()
                .try_for_each(|item| look_at(item, &items, &namespace, change, found));
        }
        Holder::Template(pointer) => pointer,
        Holder::Unknown => {
            found.push(Found {
                name,
                changed: false,
                skipped: Some(
                    "not changed: its pods are made by something that is not known here; the \
                     webhook sees them"
                        .to_owned(),
                ),
                warnings: Vec::new(),
            });
            return Ok(());
        }
        Holder::None => return Ok(()),
    };
    let owner = (!pointer.is_empty()).then(|| Owner::of(&kind, &own_name, object));
    let pod = object.pointer_mut(pointer).ok_or_else(|| {
        failed(InjectError::WrongType(WrongType {
            path: pointer.trim_start_matches('/').replace('/', "."),
            expected: "an object",
            found: "nothing",
        }))
    })?;
    let (skipped, warnings) = change(pod, owner, &namespace).map_err(failed)?;
    found.push(Found {
        changed: skipped.is_none(),
        name,
        skipped,
        warnings,
    });
    Ok(())
}

#[cfg(test)]
mod tests;
