//! Runtime layers.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;
use weir_api::xds::envoy::config::bootstrap::v3::{self as pb, runtime_layer::LayerSpecifier};

use super::{
    at::{At, take},
    value::{json_object, non_empty},
};
use crate::runtime::{Entry, Layer, Runtime};

/// Without layers there is one that the admin interface changes, as in Envoy.
pub(super) fn default_runtime() -> Runtime {
    Runtime::new(vec![Layer {
        name: String::new(),
        is_admin: true,
        entries: BTreeMap::new(),
    }])
}

pub(super) fn runtime(at: &At<'_>, message: pb::LayeredRuntime) -> Runtime {
    take!(at, message => pb::LayeredRuntime { supported: layers; });
    if layers.is_empty() {
        return default_runtime();
    }
    let at_layers = at.field("layers");
    let mut names = HashSet::new();
    let mut converted: Vec<Layer> = Vec::with_capacity(layers.len());
    for (index, message) in layers.into_iter().enumerate() {
        let at = at_layers.index(index);
        let Some(layer) = layer(&at, message) else {
            continue;
        };
        if !names.insert(layer.name.clone()) {
            at.field("name")
                .error(format!("{:?} appears more than once", layer.name));
        }
        if layer.is_admin && converted.iter().any(|known| known.is_admin) {
            at.field("admin_layer")
                .error("only one layer may be the admin interface's");
        }
        converted.push(layer);
    }
    Runtime::new(converted)
}

fn layer(at: &At<'_>, message: pb::RuntimeLayer) -> Option<Layer> {
    take!(at, message => pb::RuntimeLayer { supported: name, layer_specifier; });
    let name = non_empty(&at.field("name"), name);
    let mut entries = BTreeMap::new();
    let is_admin = match at.field("static_layer").required(layer_specifier)? {
        LayerSpecifier::StaticLayer(message) => {
            let at = at.field("static_layer");
            for (key, value) in json_object(message) {
                add(&at, key, &value, &mut entries);
            }
            false
        }
        LayerSpecifier::AdminLayer(pb::runtime_layer::AdminLayer {}) => true,
        LayerSpecifier::DiskLayer(layer) => {
            at.field("disk_layer")
                .unsupported(format!("{:?}", layer.symlink_root));
            return None;
        }
        LayerSpecifier::RtdsLayer(layer) => {
            at.field("rtds_layer")
                .unsupported(format!("{:?}", layer.name));
            return None;
        }
    };
    Some(Layer {
        name,
        is_admin,
        entries,
    })
}

/// Objects within objects are keys with dots, unless they are shares.
fn add(at: &At<'_>, key: String, value: &Value, entries: &mut BTreeMap<String, Entry>) {
    match value {
        Value::Null | Value::Array(_) => {
            at.key(&key)
                .error("must be a number, a text, a truth or a share");
        }
        Value::Object(object)
            if !object.is_empty()
                && !object.contains_key("numerator")
                && !object.contains_key("denominator") =>
        {
            for (name, value) in object {
                add(at, format!("{key}.{name}"), value, entries);
            }
        }
        value => {
            entries.insert(key, Entry::from_json(value));
        }
    }
}
