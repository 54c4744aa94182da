//! Takes a configuration dump apart. Real Envoy's and Weir's have the same form.

use serde_json::Value;

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Listeners,
    Clusters,
    Routes,
    Endpoints,
}

/// One resource of a dump.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) name: String,
    /// Its message, as Envoy's API has it; null if none was ever accepted.
    pub(super) message: Value,
    /// Where it is from and how it stands.
    pub(super) state: String,
}

/// The bootstrap in a dump.
pub(super) fn bootstrap(dump: &Value) -> Option<&Value> {
    part(dump, "BootstrapConfigDump")?.get("bootstrap")
}

fn part<'a>(dump: &'a Value, kind: &str) -> Option<&'a Value> {
    let mut parts = dump.get("configs")?.as_array()?.iter();
    parts.find(|part| {
        part["@type"]
            .as_str()
            .is_some_and(|name| name.ends_with(kind))
    })
}

// === impl Section ===

impl Section {
    /// All resources of this kind.
    pub(super) fn of(self, dump: &Value) -> Vec<Resource> {
        let (kind, field, lists): (_, _, &[(&str, &str)]) = match self {
            Self::Listeners => (
                "ListenersConfigDump",
                "listener",
                &[("static_listeners", "static"), ("dynamic_listeners", "")],
            ),
            Self::Clusters => (
                "ClustersConfigDump",
                "cluster",
                &[
                    ("static_clusters", "static"),
                    ("dynamic_active_clusters", ""),
                    ("dynamic_warming_clusters", "warming"),
                ],
            ),
            Self::Routes => (
                "RoutesConfigDump",
                "route_config",
                &[
                    ("static_route_configs", "static"),
                    ("dynamic_route_configs", ""),
                ],
            ),
            Self::Endpoints => (
                "EndpointsConfigDump",
                "endpoint_config",
                &[
                    ("static_endpoint_configs", "static"),
                    ("dynamic_endpoint_configs", ""),
                ],
            ),
        };
        let Some(part) = part(dump, kind) else {
            return Vec::new();
        };
        let entries = lists.iter().flat_map(|(list, state)| {
            let entries = part[*list].as_array().into_iter().flatten();
            entries.map(|entry| Resource::read(entry, field, state))
        });
        entries.collect()
    }
}

// === impl Resource ===

impl Resource {
    fn read(entry: &Value, field: &str, state: &str) -> Self {
        // Listeners wrap each of their states once more.
        let states = [("active_state", state), ("warming_state", "warming")];
        let inner = states
            .iter()
            .find_map(|(name, word)| Some((entry.get(name)?, *word)));
        let (holder, word) = inner.unwrap_or((entry, state));
        let message = holder[field].clone();
        let version = holder["version_info"].as_str().unwrap_or_default();
        let rejected = entry
            .get("error_state")
            .or_else(|| holder.get("error_state"));
        let mut words = vec![word, version];
        words.retain(|word| !word.is_empty());
        let mut state = words.join(" ");
        if let Some(error) = rejected {
            let details = error["details"].as_str().unwrap_or_default();
            state = format!("{state} rejected: {details}")
                .trim_start()
                .to_owned();
        }
        let name = ["name", "cluster_name"]
            .iter()
            .find_map(|key| message[*key].as_str());
        let name = name.or_else(|| entry["name"].as_str()).unwrap_or_default();
        Self {
            name: name.to_owned(),
            message,
            state,
        }
    }
}
