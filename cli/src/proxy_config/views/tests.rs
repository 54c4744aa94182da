use serde_json::json;

use super::{super::dump::Section, *};

fn dump() -> Value {
    let tcp = json!({"name": "tcp", "typed_config": {"cluster": "outbound|9000||tcp.shop"}});
    let http = json!({"name": "http", "typed_config": {"rds": {"route_config_name": "outbound|80||cart.shop"}}});
    let listener = json!({
        "name": "outbound|10.4.0.3:80",
        "address": {"socket_address": {"address": "10.4.0.3", "port_value": 80}},
        "filter_chains": [
            {"filter_chain_match": {"application_protocols": ["http/1.1", "h2c"]}, "filters": [http]},
            {"filter_chain_match": {"transport_protocol": "tls", "server_names": ["a.example"]}, "filters": [tcp]},
        ],
        "default_filter_chain": {"filters": [tcp]},
    });
    let route = json!({
        "name": "outbound|80||cart.shop",
        "virtual_hosts": [{"domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [
                {"name": "v1", "weight": 90}, {"name": "v2", "weight": 10},
            ]}}},
            {"match": {"path": "/no", "headers": [{"name": "x-a"}]}, "direct_response": {"status": 404}},
        ]}],
    });
    let endpoints = json!({"cluster_name": "c", "endpoints": [{
        "locality": {"region": "eu", "zone": "eu-1"},
        "lb_endpoints": [
            {"endpoint": {"address": {"socket_address": {"address": "fd00::1", "port_value": 8080}}}},
            {"health_status": "DRAINING", "endpoint": {"address": {"pipe": {"path": "/run/x"}}}},
        ],
    }]});
    let kind = |name: &str| format!("type.googleapis.com/envoy.admin.v3.{name}ConfigDump");
    json!({"configs": [
        {"@type": kind("Bootstrap"), "bootstrap": {"node": {"id": "me"}}},
        {"@type": kind("Clusters"),
         "static_clusters": [{"cluster": {"name": "PassthroughCluster", "type": "ORIGINAL_DST"}}],
         "dynamic_warming_clusters": [{"cluster": {"name": "c", "type": "EDS"}, "version_info": "7"}]},
        {"@type": kind("Listeners"), "dynamic_listeners": [
            {"name": "outbound|10.4.0.3:80", "active_state": {"listener": listener, "version_info": "7"},
             "error_state": {"details": "filter x"}},
            {"name": "never", "error_state": {"details": "bad"}},
        ]},
        {"@type": kind("Routes"), "dynamic_route_configs": [{"route_config": route, "version_info": "7"}]},
        {"@type": kind("Endpoints"), "dynamic_endpoint_configs": [{"endpoint_config": endpoints}]},
    ]})
}

#[test]
fn a_listener_has_a_row_for_each_chain_and_says_what_was_rejected() {
    let found = Section::Listeners.of(&dump());
    let rows: Vec<_> = found.iter().flat_map(listener).collect();
    let cells = |row: usize| [rows[row][2].as_str(), rows[row][3].as_str()];
    assert_eq!(rows[0][1], "10.4.0.3:80");
    assert_eq!(
        cells(0),
        ["alpn http/1.1,h2c", "routes outbound|80||cart.shop"]
    );
    assert_eq!(cells(1), ["tls sni a.example", "outbound|9000||tcp.shop"]);
    assert_eq!(cells(2), ["all else", "outbound|9000||tcp.shop"]);
    assert_eq!(rows[0][4], "7 rejected: filter x");
    assert_eq!(
        (rows[3][0].as_str(), rows[3][4].as_str()),
        ("never", "rejected: bad")
    );
}

#[test]
fn clusters_say_where_they_are_from() {
    let found = Section::Clusters.of(&dump());
    let rows: Vec<_> = found.iter().map(cluster).collect();
    assert_eq!(
        rows[0],
        [
            "PassthroughCluster",
            "ORIGINAL_DST",
            "ROUND_ROBIN",
            "static"
        ]
    );
    assert_eq!(rows[1], ["c", "EDS", "ROUND_ROBIN", "warming 7"]);
}

#[test]
fn a_route_says_what_it_matches_and_where_it_leads() {
    let found = Section::Routes.of(&dump());
    let rows: Vec<_> = found.iter().flat_map(routes).collect();
    assert_eq!(rows[0][1..4], ["*", "/*", "v1 (90), v2 (10)"]);
    assert_eq!(rows[1][1..4], ["*", "/no header x-a", "status 404"]);
}

#[test]
fn endpoints_have_their_health_and_locality() {
    let found = Section::Endpoints.of(&dump());
    let rows: Vec<_> = found.iter().flat_map(endpoints).collect();
    assert_eq!(rows[0], ["c", "[fd00::1]:8080", "HEALTHY", "eu/eu-1"]);
    assert_eq!(rows[1], ["c", "/run/x", "DRAINING", "eu/eu-1"]);
}
