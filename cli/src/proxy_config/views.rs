//! Resources as rows of tables: what people look for first, nothing else.

use serde_json::Value;

use super::dump::Resource;

/// A row a filter chain.
pub(super) fn listener(listener: &Resource) -> Vec<[String; 5]> {
    let message = &listener.message;
    let row = |matches: String, leads: String| {
        let (name, state) = (listener.name.clone(), listener.state.clone());
        [name, address(&message["address"]), matches, leads, state]
    };
    let chains = list(&message["filter_chains"]);
    let mut rows: Vec<_> = chains
        .iter()
        .map(|chain| row(matches(&chain["filter_chain_match"]), leads(chain)))
        .collect();
    if let Some(chain) = message.get("default_filter_chain") {
        rows.push(row("all else".to_owned(), leads(chain)));
    }
    if rows.is_empty() {
        rows.push(row(
            "-".to_owned(),
            "the listener of the destination".to_owned(),
        ));
    }
    rows
}

pub(super) fn cluster(cluster: &Resource) -> [String; 4] {
    let word =
        |key: &str, default: &str| cluster.message[key].as_str().unwrap_or(default).to_owned();
    [
        cluster.name.clone(),
        word("type", "STATIC"),
        word("lb_policy", "ROUND_ROBIN"),
        cluster.state.clone(),
    ]
}

/// A row a route.
pub(super) fn routes(routes: &Resource) -> Vec<[String; 5]> {
    let hosts = list(&routes.message["virtual_hosts"]).iter();
    let rows = hosts.flat_map(|host| {
        let domains = texts(&host["domains"]).join(", ");
        list(&host["routes"]).iter().map(move |route| {
            let (name, state) = (routes.name.clone(), routes.state.clone());
            [
                name,
                domains.clone(),
                path(&route["match"]),
                action(route),
                state,
            ]
        })
    });
    rows.collect()
}

/// A row an endpoint.
pub(super) fn endpoints(assignment: &Resource) -> Vec<[String; 4]> {
    let groups = list(&assignment.message["endpoints"]).iter();
    let rows = groups.flat_map(|group| {
        let locality = &group["locality"];
        let locality =
            ["region", "zone", "sub_zone"].map(|key| locality[key].as_str().unwrap_or_default());
        let locality = locality
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("/");
        list(&group["lb_endpoints"]).iter().map(move |endpoint| {
            let health = endpoint["health_status"].as_str().unwrap_or("HEALTHY");
            let at = address(&endpoint["endpoint"]["address"]);
            [
                assignment.name.clone(),
                at,
                health.to_owned(),
                locality.clone(),
            ]
        })
    });
    rows.collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().filter_map(Value::as_str).collect()
}

fn address(address: &Value) -> String {
    if let Some(path) = address.pointer("/pipe/path").and_then(Value::as_str) {
        return path.to_owned();
    }
    let socket = &address["socket_address"];
    let host = socket["address"].as_str().unwrap_or("-");
    match socket["port_value"].as_u64() {
        Some(port) if host.contains(':') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// What a filter chain matches.
fn matches(chain: &Value) -> String {
    let mut words = Vec::new();
    if let Some(port) = chain["destination_port"].as_u64() {
        words.push(format!("port {port}"));
    }
    for range in list(&chain["prefix_ranges"]) {
        let length = range["prefix_len"].as_u64().unwrap_or_default();
        words.push(format!(
            "{}/{length}",
            range["address_prefix"].as_str().unwrap_or_default()
        ));
    }
    if let Some(protocol) = chain["transport_protocol"].as_str() {
        words.push(protocol.to_owned());
    }
    for (key, word) in [("server_names", "sni"), ("application_protocols", "alpn")] {
        let values = texts(&chain[key]);
        if !values.is_empty() {
            words.push(format!("{word} {}", values.join(",")));
        }
    }
    if words.is_empty() {
        "all".to_owned()
    } else {
        words.join(" ")
    }
}

/// Where the last filter of a chain sends what it gets.
fn leads(chain: &Value) -> String {
    let Some(filter) = list(&chain["filters"]).last() else {
        return "-".to_owned();
    };
    let config = &filter["typed_config"];
    if let Some(name) = config
        .pointer("/rds/route_config_name")
        .and_then(Value::as_str)
    {
        return format!("routes {name}");
    }
    if let Some(routes) = config.get("route_config") {
        let hosts = list(&routes["virtual_hosts"]).iter();
        let mut clusters: Vec<String> = hosts
            .flat_map(|host| list(&host["routes"]))
            .map(action)
            .collect();
        clusters.dedup();
        return format!("http, {}", clusters.join(", "));
    }
    destination(config).unwrap_or_else(|| filter["name"].as_str().unwrap_or("-").to_owned())
}

/// The cluster, or the clusters by weight.
fn destination(action: &Value) -> Option<String> {
    if let Some(cluster) = action["cluster"].as_str() {
        return Some(cluster.to_owned());
    }
    let weighted = list(action.pointer("/weighted_clusters/clusters")?).iter();
    let shares = weighted.map(|one| {
        let weight = one["weight"].as_u64().unwrap_or_default();
        format!("{} ({weight})", one["name"].as_str().unwrap_or_default())
    });
    Some(shares.collect::<Vec<_>>().join(", "))
}

fn action(route: &Value) -> String {
    if let Some(response) = route.get("direct_response") {
        return format!("status {}", response["status"]);
    }
    if route.get("redirect").is_some() {
        return "a redirect".to_owned();
    }
    destination(&route["route"]).unwrap_or_else(|| "-".to_owned())
}

/// What a route matches.
fn path(matches: &Value) -> String {
    let text = |key: &str| matches[key].as_str();
    let mut words = match (text("prefix"), text("path"), text("path_separated_prefix")) {
        (Some(prefix), ..) => format!("{prefix}*"),
        (_, Some(path), _) => path.to_owned(),
        (.., Some(prefix)) => format!("{prefix}/*"),
        _ => match matches.pointer("/safe_regex/regex").and_then(Value::as_str) {
            Some(regex) => format!("~{regex}"),
            None => "all".to_owned(),
        },
    };
    for header in list(&matches["headers"]) {
        words.push_str(&format!(
            " header {}",
            header["name"].as_str().unwrap_or_default()
        ));
    }
    words
}

#[cfg(test)]
mod tests;
