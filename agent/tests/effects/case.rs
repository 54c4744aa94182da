//! A case as it stands in a file, and the configurations that it means.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::schema::{Field, Schema};

/// What the fields show; `main.rs` says how to write one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    #[serde(deserialize_with = "one_or_many")]
    shows: Vec<Value>,
    /// `FILE TEST`: a test elsewhere that shows it.
    pub(crate) elsewhere: Option<String>,
    /// Why nobody can see it: the document lists it apart.
    no_effect: Option<String>,

    route: Option<Value>,
    routes: Option<Vec<Value>>,
    virtual_host: Option<Value>,
    route_config: Option<Value>,
    http_filter: Option<Value>,
    hcm: Option<Value>,
    tcp: Option<Value>,
    network_filter: Option<Value>,
    chain: Option<Value>,
    listener_filter: Option<Value>,
    listener: Option<Value>,
    cluster: Option<Value>,
    #[serde(default)]
    clusters: Vec<Value>,
    /// What the control plane has.
    #[serde(default)]
    pub(crate) ads: Vec<Value>,
    /// Of a process of its own.
    bootstrap: Option<Value>,
    /// A process of its own is started, which may refuse the configuration.
    #[serde(default)]
    own: bool,

    /// Each on a connection of its own.
    #[serde(default, deserialize_with = "one_or_many")]
    pub(crate) send: Vec<String>,
    /// How often they are sent. What is seen is then the set of lines.
    #[serde(default = "once")]
    pub(crate) times: usize,
    /// Sends from so many addresses, and looks at the endpoint that each comes to.
    pub(crate) clients: Option<u8>,
    #[serde(default)]
    pub(crate) look: Look,
    /// Why Envoy is not asked.
    pub(crate) differs: Option<String>,
}

/// Where to look beside the answers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Look {
    /// The access log at `@LOG@`.
    #[serde(default)]
    pub(crate) log: bool,
    #[serde(default)]
    pub(crate) stats: Vec<String>,
    /// Lines of a page of the admin interface that name the case, or all of an own process's.
    pub(crate) admin: Option<String>,
    /// Those of them that have this in them.
    #[serde(default)]
    pub(crate) lines: String,
    /// What the control plane was asked.
    #[serde(default)]
    pub(crate) ads: bool,
    /// What the process wrote to its standard streams.
    #[serde(default)]
    pub(crate) output: bool,
}

/// A configuration: listeners, clusters and the rest as a bootstrap, and resources for the control
/// plane.
#[derive(Debug, Clone)]
pub(crate) struct Variant {
    /// Names its listener, and its cluster where it needs one.
    pub(crate) id: String,
    pub(crate) bootstrap: Value,
    pub(crate) ads: Vec<Value>,
    /// The field that is not as in the case.
    pub(crate) without: Option<Field>,
}

fn once() -> usize {
    1
}

fn one_or_many<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either<T> {
        Many(Vec<T>),
        One(T),
    }
    Ok(match Either::deserialize(from)? {
        Either::One(one) => vec![one],
        Either::Many(many) => many,
    })
}

/// The cases of all files.
pub(crate) fn read() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/effects/cases");
    let files = fs::read_dir(directory).expect("the cases");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a file");
        let cases: Result<Vec<Case>, _> = yaml_serde::from_str(&text);
        cases.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    paths.into_iter().flat_map(read).collect()
}

// === impl Case ===

impl Case {
    pub(crate) fn fields(&self) -> Vec<Field> {
        let field = |shown: &Value| match shown {
            Value::String(name) => Field::new(name, None),
            Value::Object(one) => {
                let (name, instead) = one.iter().next().expect("Message.field: value");
                Field::new(name, Some(instead.clone()))
            }
            other => panic!("{other}: write Message.field, or Message.field: other value"),
        };
        self.shows.iter().map(field).collect()
    }

    pub(crate) fn name(&self) -> String {
        self.fields()[0].to_string()
    }

    /// Whether this test shows it.
    pub(crate) fn is_here(&self) -> bool {
        self.elsewhere.is_none() && self.no_effect.is_none()
    }

    pub(crate) fn is_own(&self) -> bool {
        self.own || self.bootstrap.is_some()
    }

    /// The configuration with all fields, and one without each of those that the case shows.
    pub(crate) fn variants(&self, number: usize, schema: &Schema) -> Vec<Variant> {
        let fields = self.fields();
        let all = std::iter::once(None).chain(fields.into_iter().map(Some));
        let variant = |(nth, without): (usize, Option<Field>)| {
            let mut bootstrap = self.bootstrap();
            let mut ads = self.ads.clone();
            spell_out(&mut bootstrap, &mut ads, schema);
            if let Some(field) = &without {
                let of = "envoy.config.bootstrap.v3.Bootstrap";
                let mut changed = schema.change(&mut bootstrap, of, field);
                for resource in &mut ads {
                    changed |= schema.change(resource, "google.protobuf.Any", field);
                }
                assert!(changed, "{}: nothing in it is {field}", self.name());
                spell_out(&mut bootstrap, &mut ads, schema);
            }
            let id = format!("c{number}-{nth}");
            Variant {
                id,
                bootstrap,
                ads,
                without,
            }
        };
        all.enumerate().map(variant).collect()
    }

    fn bootstrap(&self) -> Value {
        let mut bootstrap = json!({
            "admin": {"address": {"socket_address": {"address": "@IP@", "port_value": "@ADMIN@"}}},
            "static_resources": {"listeners": [self.listener()], "clusters": self.all_clusters()},
        });
        merge(&mut bootstrap, self.bootstrap.as_ref());
        bootstrap
    }

    fn all_clusters(&self) -> Vec<Value> {
        let mut first = json!({
            "name": "@ID@", "type": "STATIC", "connect_timeout": "1s",
            "load_assignment": {"cluster_name": "@ID@", "endpoints": [{"lb_endpoints": ["@A@"]}]},
        });
        merge(&mut first, self.cluster.as_ref());
        std::iter::once(first)
            .chain(self.clusters.clone())
            .collect()
    }

    fn listener(&self) -> Value {
        let mut chain = json!({"filters": [self.filter()]});
        merge(&mut chain, self.chain.as_ref());
        let mut listener = json!({
            "name": "@ID@",
            "address": {"socket_address": {"address": "@IP@", "port_value": "@PORT@"}},
            "filter_chains": [chain],
        });
        if let Some(filter) = &self.listener_filter {
            listener["listener_filters"] = json!([{"name": "listener", "typed_config": filter}]);
        }
        merge(&mut listener, self.listener.as_ref());
        listener
    }

    fn filter(&self) -> Value {
        let config = match (&self.network_filter, &self.tcp) {
            (Some(filter), _) => filter.clone(),
            (None, Some(_)) => self.tcp_proxy(),
            (None, None) => self.connection_manager(),
        };
        json!({"name": "network", "typed_config": config})
    }

    fn tcp_proxy(&self) -> Value {
        let mut tcp = json!({"@type": "TcpProxy", "stat_prefix": "@ID@"});
        merge(&mut tcp, self.tcp.as_ref());
        if tcp.get("weighted_clusters").is_none() {
            default_to(&mut tcp, "cluster", &json!("@ID@"));
        }
        tcp
    }

    fn connection_manager(&self) -> Value {
        let mut config = json!({"name": "@ID@", "virtual_hosts": [self.virtual_host()]});
        merge(&mut config, self.route_config.as_ref());
        let filter = self.http_filter.clone();
        let filter = filter.map(|it| json!({"name": "it", "typed_config": it}));
        let router = json!({"name": "router", "typed_config": {"@type": "Router"}});
        let filters: Vec<_> = filter.into_iter().chain([router]).collect();
        let mut hcm = json!({
            "@type": "HttpConnectionManager", "stat_prefix": "@ID@", "http_filters": filters,
        });
        merge(&mut hcm, self.hcm.as_ref());
        if hcm.get("rds").is_none() {
            default_to(&mut hcm, "route_config", &config);
        }
        hcm
    }

    fn virtual_host(&self) -> Value {
        let one = || vec![self.route.clone().unwrap_or_else(|| json!({}))];
        let mut routes = self.routes.clone().unwrap_or_else(one);
        routes.iter_mut().for_each(complete);
        let mut host = json!({"name": "any", "domains": ["*"], "routes": routes});
        merge(&mut host, self.virtual_host.as_ref());
        host
    }
}

fn spell_out(bootstrap: &mut Value, ads: &mut [Value], schema: &Schema) {
    for tree in ads.iter_mut().chain([bootstrap]) {
        expand(tree);
        schema.name_types(tree);
    }
}

/// Puts what they stand for in place of `@SAY:text@` and the like.
fn expand(tree: &mut Value) {
    match tree {
        Value::Array(items) => items.iter_mut().for_each(expand),
        Value::Object(fields) => fields.values_mut().for_each(expand),
        Value::String(text) => {
            let token = text.strip_prefix('@').and_then(|it| it.strip_suffix('@'));
            let stands_for = match token.and_then(|token| token.split_once(':')) {
                Some(("SAY", text)) => says(text),
                Some(("LOGS", format)) => logs(format),
                Some(("CLUSTER", name)) => cluster(name),
                _ => return,
            };
            *tree = stands_for;
        }
        _ => {}
    }
}

/// A filter that answers every request with a text.
fn says(text: &str) -> Value {
    let answer = json!({"status": 200, "body": {"inline_string": text}});
    let route = json!({"match": {"prefix": "/"}, "direct_response": answer});
    let host = json!({"name": "any", "domains": ["*"], "routes": [route]});
    let router = json!({"name": "router", "typed_config": {"@type": "Router"}});
    json!({"name": "says", "typed_config": {
        "@type": "HttpConnectionManager", "stat_prefix": "says", "http_filters": [router],
        "route_config": {"virtual_hosts": [host]},
    }})
}

/// An access log at `@LOG@`.
fn logs(format: &str) -> Value {
    let format = json!({"text_format_source": {"inline_string": format!("{format}\n")}});
    let config = json!({"@type": "FileAccessLog", "path": "@LOG@", "log_format": format});
    json!({"name": "log", "typed_config": config})
}

/// A cluster `@ID@-b` of endpoint B.
fn cluster(name: &str) -> Value {
    let name = format!("@ID@-{name}");
    json!({
        "name": name, "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": ["@B@"]}]},
    })
}

/// A route matches every path and goes to the cluster unless it says otherwise.
fn complete(route: &mut Value) {
    default_to(route, "match", &json!({}));
    let paths = [
        "prefix",
        "path",
        "safe_regex",
        "path_separated_prefix",
        "connect_matcher",
    ];
    if !has_one_of(&route["match"], &paths) {
        route["match"]["prefix"] = json!("/");
    }
    if !has_one_of(route, &["redirect", "direct_response"]) {
        default_to(route, "route", &json!({}));
        let clusters = ["cluster", "cluster_header", "weighted_clusters"];
        if !has_one_of(&route["route"], &clusters) {
            route["route"]["cluster"] = json!("@ID@");
        }
    }
}

fn has_one_of(tree: &Value, keys: &[&str]) -> bool {
    keys.iter().any(|key| tree.get(key).is_some())
}

fn default_to(tree: &mut Value, key: &str, value: &Value) {
    let fields = tree.as_object_mut().expect("a mapping");
    fields.entry(key).or_insert_with(|| value.clone());
}

/// Lays `over` onto the tree: mappings key by key, where null takes a key out, everything else in
/// place of what was there.
fn merge(tree: &mut Value, over: Option<&Value>) {
    match (tree, over) {
        (_, None) => {}
        (Value::Object(tree), Some(Value::Object(over))) => {
            for (key, value) in over {
                if value.is_null() {
                    tree.remove(key);
                    continue;
                }
                let place = tree.entry(key).or_insert_with(|| Value::Object(Map::new()));
                merge(place, Some(value));
            }
        }
        (tree, Some(over)) => *tree = over.clone(),
    }
}
