//! `/config_dump`: `envoy.admin.v3.ConfigDump`, from the messages as they came.

use http::StatusCode;
use regex::Regex;
use serde_json::{Map, Value as Json, json};
use weir_api::xds::{
    codec, envoy::config::bootstrap::v3::bootstrap::StaticResources, google::protobuf::Any,
    json::Descriptors, type_url,
};

use super::{Admin, certs::shown, query::Query, redact::redact, reply::Reply, time::rfc3339};
use crate::xds::{InventoryEntry, Kind};

pub(super) const PARAMETERS: &[(&str, &str)] = &[
    ("include_eds", "show endpoints too"),
    (
        "name_regex",
        "regular expression that names of resources must contain",
    ),
];

/// What a dump is made from. The descriptors take memory, and go with it.
struct Dump {
    descriptors: Descriptors,
    filter: Regex,
    started: String,
    dynamic: Vec<InventoryEntry>,
}

/// `/config_dump`
pub(super) fn print(admin: &Admin, query: &Query) -> Reply {
    let filter = match Regex::new(query.get("name_regex").unwrap_or_default()) {
        Ok(filter) => filter,
        Err(error) => {
            return Reply::error(StatusCode::BAD_REQUEST, format!("name_regex: {error}\n"));
        }
    };
    let dump = Dump {
        descriptors: Descriptors::load(),
        filter,
        started: rfc3339(admin.started),
        dynamic: admin
            .inventory
            .as_ref()
            .map(|all| all.entries())
            .unwrap_or_default(),
    };
    let source = &admin.source;
    let none = StaticResources::default();
    let resources = source.static_resources.as_ref().unwrap_or(&none);
    let listeners: Vec<Any> = resources
        .listeners
        .iter()
        .map(codec::pack_listener)
        .collect();
    let clusters: Vec<Any> = resources.clusters.iter().map(codec::pack_cluster).collect();
    let listeners = dump.read(&listeners);
    let clusters = dump.read(&clusters);
    let mut configs = vec![dump.bootstrap(&codec::pack_bootstrap(source))];
    configs.push(dump.clusters(&clusters));
    if query.has("include_eds") {
        configs.push(dump.endpoints(&clusters));
    }
    configs.push(dump.listeners(&listeners));
    configs.push(dump.routes(&listeners));
    let secrets: Vec<Any> = resources.secrets.iter().map(codec::pack_secret).collect();
    configs.push(dump.secrets(&dump.read(&secrets), admin));
    Reply::json(&json!({ "configs": configs }))
}

// === impl Dump ===

impl Dump {
    fn read(&self, messages: &[Any]) -> Vec<Json> {
        messages
            .iter()
            .map(|message| self.to_json(message))
            .collect()
    }

    /// A message, without what is secret.
    fn to_json(&self, message: &Any) -> Json {
        let mut json = self.descriptors.to_json(message);
        redact(&mut json);
        json
    }

    fn takes(&self, resource: &Json) -> bool {
        let name = resource
            .get("name")
            .or_else(|| resource.get("cluster_name"));
        self.filter
            .is_match(name.and_then(Json::as_str).unwrap_or_default())
    }

    fn bootstrap(&self, message: &Any) -> Json {
        let mut bootstrap = self.to_json(message);
        if let Some(fields) = bootstrap.as_object_mut() {
            fields.remove("@type");
        }
        json!({
            "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
            "bootstrap": bootstrap,
            "last_updated": self.started,
        })
    }

    /// The static resources, each as `{FIELD: .., last_updated: ..}`.
    fn fixed(&self, field: &str, resources: &[Json]) -> Vec<Json> {
        let wanted = resources.iter().filter(|resource| self.takes(resource));
        wanted
            .map(|resource| json!({ field: resource, "last_updated": self.started }))
            .collect()
    }

    fn dynamic(&self, kind: Kind) -> impl Iterator<Item = &InventoryEntry> {
        let entries = self.dynamic.iter();
        entries.filter(move |entry| entry.kind == kind && self.filter.is_match(&entry.name))
    }

    /// `{FIELD: .., version_info: .., last_updated: ..}`, with `error_state` if a later message
    /// was refused.
    fn state(&self, field: &str, entry: &InventoryEntry) -> Json {
        let mut state = Map::new();
        if let Some(message) = &entry.message {
            state.insert(field.to_owned(), self.to_json(message));
            state.insert("version_info".to_owned(), json!(entry.version));
            state.insert("last_updated".to_owned(), json!(rfc3339(entry.updated)));
        }
        if let Some(reason) = &entry.rejected {
            state.insert("error_state".to_owned(), json!({ "details": reason }));
        }
        Json::Object(state)
    }

    fn clusters(&self, clusters: &[Json]) -> Json {
        let (warming, active): (Vec<_>, Vec<_>) =
            self.dynamic(Kind::Cluster).partition(|entry| entry.warming);
        let states = |entries: Vec<&InventoryEntry>| -> Vec<Json> {
            entries
                .into_iter()
                .map(|entry| self.state("cluster", entry))
                .collect()
        };
        json!({
            "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
            "static_clusters": self.fixed("cluster", clusters),
            "dynamic_active_clusters": states(active),
            "dynamic_warming_clusters": states(warming),
        })
    }

    fn endpoints(&self, clusters: &[Json]) -> Json {
        let inline = clusters
            .iter()
            .filter_map(|cluster| cluster.get("load_assignment"));
        let inline: Vec<Json> = inline
            .map(|inline| typed(inline, type_url::ENDPOINT))
            .collect();
        let dynamic = self.dynamic(Kind::Endpoint);
        json!({
            "@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump",
            "static_endpoint_configs": self.fixed("endpoint_config", &inline),
            "dynamic_endpoint_configs":
                dynamic.map(|entry| self.state("endpoint_config", entry)).collect::<Vec<_>>(),
        })
    }

    fn listeners(&self, listeners: &[Json]) -> Json {
        let dynamic = self.dynamic(Kind::Listener).map(|entry| {
            let field = if entry.warming {
                "warming_state"
            } else {
                "active_state"
            };
            let mut state = self.state("listener", entry);
            let error = state
                .as_object_mut()
                .and_then(|fields| fields.remove("error_state"));
            let mut listener = json!({ "name": entry.name, field: state });
            if let Some(error) = error {
                listener["error_state"] = error;
            }
            listener
        });
        json!({
            "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
            "static_listeners": self.fixed("listener", listeners),
            "dynamic_listeners": dynamic.collect::<Vec<_>>(),
        })
    }

    fn secrets(&self, fixed: &[Json], admin: &Admin) -> Json {
        let named = |mut state: Json, name: &str| {
            state["name"] = json!(name);
            state
        };
        let name = |state: &Json| {
            state["secret"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let fixed = self.fixed("secret", fixed).into_iter().map(|state| {
            let name = name(&state);
            named(state, &name)
        });
        let dynamic = self.dynamic(Kind::Secret);
        let dynamic = dynamic.map(|entry| named(self.state("secret", entry), &entry.name));
        // Those of the process have no message and no version.
        let local = admin.secrets.local();
        let local = local.filter(|(name, _)| self.filter.is_match(name));
        let local = local.map(|(name, secret)| json!({ "name": name, "secret": shown(&secret) }));
        json!({
            "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
            "static_secrets": fixed.collect::<Vec<_>>(),
            "dynamic_active_secrets": dynamic.chain(local).collect::<Vec<_>>(),
        })
    }

    fn routes(&self, listeners: &[Json]) -> Json {
        let mut inline = Vec::new();
        listeners
            .iter()
            .for_each(|listener| collect_routes(listener, &mut inline));
        let dynamic = self.dynamic(Kind::Route);
        json!({
            "@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump",
            "static_route_configs": self.fixed("route_config", &inline),
            "dynamic_route_configs":
                dynamic.map(|entry| self.state("route_config", entry)).collect::<Vec<_>>(),
        })
    }
}

/// The inline route configurations of the HTTP connection managers within `tree`.
fn collect_routes(tree: &Json, found: &mut Vec<Json>) {
    match tree {
        Json::Object(fields) => {
            for (name, value) in fields {
                if name == "route_config" {
                    found.push(typed(value, type_url::ROUTE));
                } else {
                    collect_routes(value, found);
                }
            }
        }
        Json::Array(values) => values.iter().for_each(|value| collect_routes(value, found)),
        _ => {}
    }
}

fn typed(message: &Json, type_url: &str) -> Json {
    let mut message = message.clone();
    if let Some(fields) = message.as_object_mut() {
        fields.insert("@type".to_owned(), json!(type_url));
    }
    message
}
