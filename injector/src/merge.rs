//! Puts a container into a pod that may hold one of that name already: the pod's author may have
//! written it to change the sidecar, or an earlier injection may have put it there. What is there
//! wins, field by field, and only what is missing is added; so a second injection adds nothing.

use json_patch::{PatchError, jsonptr::PointerBuf};
use serde_json::Value;

use crate::editor::Editor;

/// The images by which a container asks for the one the injector would use. An empty one is none.
pub(crate) const AUTO_IMAGES: [&str; 2] = ["auto", ""];

/// How a field that is there already is completed.
enum Rule {
    /// What is there stays as it is. Fields of which Kubernetes allows one member only (probes, a
    /// hook) and lists that mean something as a whole (arguments) are like that.
    Keep,
    /// Missing members are added.
    Members,
    /// Elements are told apart by this member, and missing ones are added.
    Elements(&'static str),
}

/// Makes the container named `name` the element `index` of the list at `list`, completed from
/// `template`.
pub(crate) fn place(
    editor: &mut Editor,
    list: &PointerBuf,
    index: usize,
    name: &str,
    template: Value,
) -> Result<(), PatchError> {
    match editor.position(list, "name", &Value::from(name)) {
        None => return editor.insert(list, index, template),
        Some(position) if position != index => editor.relocate(
            list.with_trailing_token(position),
            list.with_trailing_token(index),
        )?,
        Some(_) => {}
    }
    complete(editor, &list.with_trailing_token(index), template)
}

/// Adds to the object at `object` what `template` has and it lacks.
fn complete(editor: &mut Editor, object: &PointerBuf, template: Value) -> Result<(), PatchError> {
    let Value::Object(members) = template else {
        return Ok(());
    };
    for (key, value) in members {
        let member = object.with_trailing_token(key.as_str());
        let Some(present) = editor.get(&member) else {
            editor.add(member, value)?;
            continue;
        };
        match (rule(&key), present) {
            (Rule::Members, Value::Object(_)) => complete(editor, &member, value)?,
            (Rule::Elements(name), Value::Array(_)) => add_elements(editor, &member, name, value)?,
            _ if key == "image" && AUTO_IMAGES.iter().any(|auto| present == auto) => {
                editor.replace(member, value)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn add_elements(
    editor: &mut Editor,
    list: &PointerBuf,
    name: &str,
    elements: Value,
) -> Result<(), PatchError> {
    let Value::Array(elements) = elements else {
        return Ok(());
    };
    for element in elements {
        let present = element
            .get(name)
            .and_then(|value| editor.position(list, name, value));
        if present.is_none() {
            editor.append(list, element)?;
        }
    }
    Ok(())
}

fn rule(key: &str) -> Rule {
    match key {
        "resources" | "requests" | "limits" | "securityContext" | "capabilities" | "lifecycle" => {
            Rule::Members
        }
        "env" => Rule::Elements("name"),
        "ports" => Rule::Elements("containerPort"),
        "volumeMounts" => Rule::Elements("mountPath"),
        _ => Rule::Keep,
    }
}
