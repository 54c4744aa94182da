//! Takes out of a pod what an injection put in.

use serde_json::{Map, Value};
use weir_api::annotations;

use crate::{
    WrongType,
    pod::Pod,
    status::{CONTAINER_LISTS, Own, Status},
};

/// The pod as it was before it was injected; `None` if `weir.dev/status` does not say that it was.
/// What others changed in the pod since stays.
///
/// # Errors
/// A field is not of the type Kubernetes gives it.
pub fn uninject(pod: &Value) -> Result<Option<Value>, WrongType> {
    let Some(status) = Status::written(&Pod::read(pod)?) else {
        return Ok(None);
    };
    let mut pod = pod.clone();
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        let lists = [&status.init_containers, &status.containers];
        for (list, names) in CONTAINER_LISTS.into_iter().zip(lists) {
            remove_named(spec, list, names);
        }
        remove_named(spec, "volumes", &status.volumes);
        for own in status.own {
            restore(spec, own);
        }
    }
    if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(present) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            present.remove(annotations::STATUS);
            for name in &status.annotations {
                present.remove(name);
            }
        }
        remove_empty(metadata, "annotations");
    }
    if let Some(pod) = pod.as_object_mut() {
        remove_empty(pod, "metadata");
    }
    Ok(Some(pod))
}

/// Removes the elements of these names from a list, and the list if none are left.
fn remove_named(spec: &mut Map<String, Value>, list: &str, names: &[String]) {
    let Some(elements) = spec.get_mut(list).and_then(Value::as_array_mut) else {
        return;
    };
    let named = |element: &Value| names.iter().any(|name| element["name"] == name.as_str());
    elements.retain(|element| !named(element));
    remove_empty(spec, list);
}

/// Puts a container of the author's back where it was.
fn restore(spec: &mut Map<String, Value>, own: Own) {
    if !CONTAINER_LISTS.contains(&own.list.as_str()) {
        return;
    }
    let list = spec.entry(own.list).or_insert_with(|| Value::Array(vec![]));
    if let Some(list) = list.as_array_mut() {
        list.insert(own.index.min(list.len()), own.container);
    }
}

fn remove_empty(object: &mut Map<String, Value>, key: &str) {
    let empty = match object.get(key) {
        Some(Value::Object(members)) => members.is_empty(),
        Some(Value::Array(elements)) => elements.is_empty(),
        _ => false,
    };
    if empty {
        object.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Config, inject};

    #[test]
    fn a_pod_that_was_not_injected_is_left_alone() {
        let pod = json!({"spec": {"containers": [{"name": "weir-proxy"}]}});
        assert_eq!(uninject(&pod).expect("readable"), None);
    }

    #[test]
    fn what_others_added_since_stays() {
        let pod = json!({"spec": {"containers": [{"name": "app"}]}});
        let mut injected = inject(&pod, "shop", &Config::default())
            .expect("injectable")
            .pod
            .expect("injected");
        let vault = json!({"name": "vault"});
        let init = injected["spec"]["initContainers"].as_array_mut();
        init.expect("a list").insert(0, vault.clone());
        let expected =
            json!({"spec": {"containers": [{"name": "app"}], "initContainers": [vault]}});
        assert_eq!(uninject(&injected).expect("readable"), Some(expected));
    }
}
