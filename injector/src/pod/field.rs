//! A place in a JSON document that knows its path, so that an error can name it.

use serde_json::{Map, Value};

/// A field that is not of the type Kubernetes gives it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: expected {expected}, found {found}")]
pub struct WrongType {
    /// Where, such as `spec.containers[0].name`.
    pub path: String,
    /// What Kubernetes has there.
    pub expected: &'static str,
    /// What is there.
    pub found: &'static str,
}

/// A value and its path. `null` counts as absent, as it does for Kubernetes.
pub(super) struct Field<'a> {
    value: Option<&'a Value>,
    path: String,
}

// === impl Field ===

impl<'a> Field<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self {
            value: Some(value),
            path: String::new(),
        }
    }

    /// The member `key`, absent if this is.
    pub(super) fn get(&self, key: &str) -> Result<Self, WrongType> {
        let value = self.object()?.and_then(|map| map.get(key));
        let dot = if self.path.is_empty() { "" } else { "." };
        Ok(Self {
            value: value.filter(|value| !value.is_null()),
            path: format!("{}{dot}{key}", self.path),
        })
    }

    /// The member `key` of a map whose keys are not field names.
    pub(super) fn entry(&self, key: &str) -> Result<Self, WrongType> {
        let path = format!("{}[{key}]", self.path);
        self.get(key).map(|field| Self { path, ..field })
    }

    /// The member `key`, which must be there and an array.
    pub(super) fn required(&self, key: &str) -> Result<Self, WrongType> {
        let field = self.get(key)?;
        match field.value {
            Some(_) => Ok(field),
            None => Err(field.wrong("an array")),
        }
    }

    pub(super) fn object(&self) -> Result<Option<&'a Map<String, Value>>, WrongType> {
        self.read("an object", Value::as_object)
    }

    pub(super) fn string(&self) -> Result<Option<&'a str>, WrongType> {
        self.read("a string", Value::as_str)
    }

    pub(super) fn required_string(&self) -> Result<&'a str, WrongType> {
        self.string()?.ok_or_else(|| self.wrong("a string"))
    }

    pub(super) fn boolean(&self) -> Result<Option<bool>, WrongType> {
        self.read("a boolean", Value::as_bool)
    }

    /// The elements of an array, none if it is absent.
    pub(super) fn elements(&self) -> Result<Vec<Self>, WrongType> {
        let elements = self.read("an array", Value::as_array)?;
        let element = |(index, value)| Self {
            value: Some(value),
            path: format!("{}[{index}]", self.path),
        };
        Ok(elements
            .into_iter()
            .flatten()
            .enumerate()
            .map(element)
            .collect())
    }

    /// A user or group id.
    pub(super) fn id(&self) -> Result<Option<u32>, WrongType> {
        self.read("a user or group id", |value| {
            value.as_u64()?.try_into().ok()
        })
    }

    pub(super) fn port(&self) -> Result<u16, WrongType> {
        let expected = "a port from 1 to 65535";
        let port = |value: &Value| {
            u16::try_from(value.as_u64()?)
                .ok()
                .filter(|port| *port != 0)
        };
        self.read(expected, port)?
            .ok_or_else(|| self.wrong(expected))
    }

    /// A quantity as text; Kubernetes takes a number as well.
    pub(super) fn quantity(&self) -> Result<Option<String>, WrongType> {
        self.read("a quantity", |value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    }

    fn read<T>(
        &self,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, WrongType> {
        match self.value {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.wrong(expected)),
        }
    }

    fn wrong(&self, expected: &'static str) -> WrongType {
        WrongType {
            path: if self.path.is_empty() {
                "pod".to_owned()
            } else {
                self.path.clone()
            },
            expected,
            found: match self.value {
                None => "nothing",
                Some(Value::Null) => "null",
                Some(Value::Bool(_)) => "a boolean",
                Some(Value::Number(_)) => "a number",
                Some(Value::String(_)) => "a string",
                Some(Value::Array(_)) => "an array",
                Some(Value::Object(_)) => "an object",
            },
        }
    }
}
