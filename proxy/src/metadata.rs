//! What filters tell each other, formats and rules about a connection or a request: dynamic metadata
//! and filter state. Both are bounded, since what is put in may come from a client.

use serde_json::{Map, Value};

/// Name of the object that says which cluster `tcp_proxy` is to use.
pub const TCP_PROXY_CLUSTER: &str = "envoy.tcp_proxy.cluster";
/// Name of the object that says at which port a dynamic forward proxy dials.
pub const UPSTREAM_DYNAMIC_PORT: &str = "envoy.upstream.dynamic_port";
/// Name of the object with the TLVs of a PROXY protocol header.
pub const PROXY_PROTOCOL_TLVS: &str = "envoy.network.proxy_protocol.tlv";

/// Name of the object with the TLVs of such a header that endpoints may be sent, as they came, in base64.
pub const PASSED_TLVS: &str = "weir.proxy_protocol.passed_tlvs";

/// Namespaces of one connection or request, and objects of its filter state. Filters have one or two
/// each; what is beyond comes from nobody who means well.
const MAX_NAMESPACES: usize = 64;

/// Dynamic metadata: by namespace, which is a filter's name, a JSON object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata(ByName<Map<String, Value>>);

/// Filter state: objects by name, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterState(ByName<Object>);

/// An object of the filter state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Object {
    text: Box<str>,
    is_hashable: bool,
}

/// What a connection or a request may have of each name. Most have nothing, which takes a word.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ByName<T>(Option<Box<Entries<T>>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entries<T>(Vec<(Box<str>, T)>);

/// How an object of the filter state is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterStateFormat {
    /// `TYPED`, the default: as JSON.
    Typed,
    /// `PLAIN`: as it says itself.
    Plain,
    /// `FIELD:name`: one of its fields.
    Field(String),
}

// === impl ByName ===

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Default> ByName<T> {
    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |entries| entries.0.len())
    }

    fn get(&self, name: &str) -> Option<&T> {
        let mut entries = self.0.iter().flat_map(|entries| &entries.0);
        let (_, found) = entries.find(|(known, _)| &**known == name)?;
        Some(found)
    }

    /// What there is of this name, made where there is none; none where there are too many.
    fn entry(&mut self, name: &str) -> Option<&mut T> {
        let entries = &mut self
            .0
            .get_or_insert_with(|| Box::new(Entries(Vec::new())))
            .0;
        let known = entries.iter().position(|(known, _)| &**known == name);
        let index = match known {
            Some(index) => index,
            None if entries.len() >= MAX_NAMESPACES => return None,
            None => {
                entries.push((name.into(), T::default()));
                entries.len() - 1
            }
        };
        entries.get_mut(index).map(|(_, found)| found)
    }
}

// === impl Metadata ===

impl Metadata {
    /// What a namespace holds.
    #[must_use]
    pub fn get(&self, namespace: &str) -> Option<&Map<String, Value>> {
        self.0.get(namespace)
    }

    /// The value at the end of a path through a namespace.
    #[must_use]
    pub fn value(&self, namespace: &str, path: &[impl AsRef<str>]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        let first = self.get(namespace)?.get(first.as_ref())?;
        rest.iter()
            .try_fold(first, |value, key| value.get(key.as_ref()))
    }

    /// Appends a namespace, or the value at the end of a path through it, as Envoy's formats print
    /// it: text as it is, all else as JSON. None if it is not there.
    pub fn print(&self, path: &[String], out: &mut String) -> Option<()> {
        let (namespace, path) = path.split_first()?;
        let value = match path {
            [] => return write(self.get(namespace)?, out),
            path => self.value(namespace, path)?,
        };
        match value {
            Value::Null => None,
            Value::String(text) => {
                out.push_str(text);
                Some(())
            }
            value => write(value, out),
        }
    }

    /// Adds values to a namespace: objects are merged, lists are joined, all else is replaced.
    pub fn merge(&mut self, namespace: &str, values: Map<String, Value>) {
        if let Some(into) = self.0.entry(namespace) {
            merge(into, values);
        }
    }
}

fn write(value: &impl serde::Serialize, out: &mut String) -> Option<()> {
    out.push_str(&serde_json::to_string(value).ok()?);
    Some(())
}

/// As Envoy merges structs.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (Some(Value::Array(into)), Value::Array(from)) => into.extend(from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

// === impl FilterState ===

impl FilterState {
    /// Without any object.
    pub const EMPTY: Self = Self(ByName(None));

    /// The object of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|object| &*object.text)
    }

    /// The object of this name, if it is of a type that can be hashed.
    #[must_use]
    pub fn hashable(&self, name: &str) -> Option<&str> {
        let object = self.0.get(name).filter(|object| object.is_hashable);
        object.map(|object| &*object.text)
    }

    /// Appends an object as Envoy's formats print it; one that has fields is JSON. None if it is not
    /// there.
    pub fn print(&self, name: &str, how: &FilterStateFormat, out: &mut String) -> Option<()> {
        let object = self.get(name)?;
        let fields = || serde_json::from_str::<Map<String, Value>>(object).ok();
        match how {
            FilterStateFormat::Plain => out.push_str(object),
            FilterStateFormat::Typed if fields().is_some() => out.push_str(object),
            FilterStateFormat::Typed => return write(&object, out),
            FilterStateFormat::Field(field) => out.push_str(fields()?.get(field)?.as_str()?),
        }
        Some(())
    }

    /// Sets an object.
    pub fn set(&mut self, name: &str, object: &str) {
        self.put(name, object, false);
    }

    /// Sets an object that can be hashed (`envoy.hashable_string`).
    pub fn set_hashable(&mut self, name: &str, object: &str) {
        self.put(name, object, true);
    }

    fn put(&mut self, name: &str, text: &str, is_hashable: bool) {
        if let Some(known) = self.0.entry(name) {
            *known = Object {
                text: text.into(),
                is_hashable,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(object) => object,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn metadata_is_merged_as_structs_are() {
        let mut metadata = Metadata::default();
        metadata.merge("a", object(json!({ "x": 1, "o": { "p": 1 }, "l": [1] })));
        metadata.merge("a", object(json!({ "x": "2", "o": { "q": 2 }, "l": [2] })));
        let expected = json!({ "x": "2", "o": { "p": 1, "q": 2 }, "l": [1, 2] });
        assert_eq!(metadata.get("a"), Some(&object(expected)));
        assert_eq!(metadata.value("a", &["o", "q"]), Some(&json!(2)));
        for namespace in 0..MAX_NAMESPACES * 2 {
            metadata.merge(&namespace.to_string(), Map::new());
        }
        assert_eq!(metadata.0.len(), MAX_NAMESPACES);
    }
}
