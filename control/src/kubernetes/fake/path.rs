//! Which object or objects a request is about.

use std::fmt;

/// A path of the API, as far as the fake server cares.
#[derive(Debug, Clone, Default)]
pub(super) struct Path {
    pub(super) resource: String,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) watches: bool,
    /// The resource version to watch from.
    pub(super) version: usize,
    /// `metadata.name` of the field selector.
    selected: Option<String>,
    /// Whether the body is server-side applied.
    pub(super) applied: bool,
}

// === impl Path ===

impl Path {
    /// Reads `/api/v1/namespaces/shop/pods/web` and its like, also without the first two segments.
    pub(super) fn from(path: &str) -> Self {
        let mut segments: Vec<_> = path.split('/').filter(|it| !it.is_empty()).collect();
        match segments.first() {
            Some(&"api") => drop(segments.drain(..2)),
            Some(&"apis") => drop(segments.drain(..3)),
            _ => {}
        }
        let (namespace, rest) = match segments.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
            rest => (None, rest),
        };
        let segment = |at: usize| rest.get(at).copied().unwrap_or_default().to_owned();
        Self {
            resource: segment(0),
            namespace: namespace.map(str::to_owned),
            name: segment(1),
            ..Self::default()
        }
    }

    pub(super) fn read_query(&mut self, query: &str) {
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "watch" => self.watches = value == "true",
                "resourceVersion" => self.version = value.parse().unwrap_or_default(),
                "fieldSelector" => {
                    let name = value.split_once("metadata.name%3D");
                    self.selected = name.map(|(_, name)| name.to_owned());
                }
                _ => {}
            }
        }
    }

    /// Whether an object is one of those that this path lists.
    pub(super) fn lists(&self, object: &Self) -> bool {
        self.resource == object.resource
            && (self.namespace.is_none() || self.namespace == object.namespace)
            && self
                .selected
                .as_ref()
                .is_none_or(|name| *name == object.name)
    }

    fn key(&self) -> (&str, Option<&str>, &str) {
        (&self.resource, self.namespace.as_deref(), &self.name)
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Path {}

impl Ord for Path {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.resource)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}
