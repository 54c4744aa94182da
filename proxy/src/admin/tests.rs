//! The admin interface of a whole server, asked over loopback.

use std::{
    future::Future,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use weir_api::xds::json;

use super::*;
use crate::{
    convert,
    server::{ReadOnlyListeners, Server},
};

const BOOTSTRAP: &str = r#"
node: { id: a, cluster: b }
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
  - name: web
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - name: all
      filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: web
          cluster: web
  - name: other
    address: { socket_address: { address: 10.4.0.3, port_value: 8000 } }
    bind_to_port: false
    filter_chains:
    - name: routed
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: other
          route_config:
            name: inline
            virtual_hosts:
            - name: any
              domains: ["*"]
              routes: [{ match: { prefix: / }, route: { cluster: web } }]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  - name: virtualOutbound
    address: { socket_address: { address: 127.0.0.2, port_value: 0 } }
    traffic_direction: OUTBOUND
    use_original_dst: true
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: web
          cluster: web
  clusters:
  - name: web
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: web
      endpoints:
      - locality: { region: r, zone: z }
        lb_endpoints:
        - endpoint: { address: { socket_address: { address: 10.0.0.1, port_value: 1 } } }
"#;

/// Runs `test` against a server, on a thread of its own: it asks with a blocking client.
fn with_server<F: Future<Output = ()>>(
    change: impl FnOnce(&mut Options),
    test: impl FnOnce(Arc<Admin>, Vec<SocketAddr>) -> F + Send + 'static,
) {
    with_bootstrap(BOOTSTRAP, change, test);
}

fn with_bootstrap<F: Future<Output = ()>>(
    text: &str,
    change: impl FnOnce(&mut Options),
    test: impl FnOnce(Arc<Admin>, Vec<SocketAddr>) -> F + Send + 'static,
) {
    let source = json::read_bootstrap(text).expect("bootstrap");
    let bootstrap = convert::bootstrap(source.clone()).expect("bootstrap");
    let mut options = Options::new(source);
    let any = || vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    options.read_only = ReadOnlyListeners {
        prometheus: any(),
        readiness: any(),
        status: any(),
        probes: Vec::new(),
    };
    change(&mut options);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("runtime").block_on(async {
        let server = Server::start(&bootstrap, options).expect("a server");
        let (admin, addresses) = server.parts();
        let (done, finished) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.expect("runtime").block_on(test(admin, addresses));
            let _ = done.send(());
        });
        let ended = async {
            // The thread ends by itself, by a panic at the worst.
            let _ = finished.await;
        };
        server.run(ended).await.expect("a run");
        thread.join().expect("the test");
    });
}

/// Status and body.
fn ask(address: SocketAddr, request_line: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("connect");
    let head = format!("{request_line} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a response");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    ask(address, &format!("GET {path}"), "host: localhost\r\n")
}

fn get_json(address: SocketAddr, path: &str) -> serde_json::Value {
    let (status, body) = get(address, path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

#[test]
fn every_path_answers() {
    with_server(
        |options| options.flows = Some(crate::flows::Flows::new(60)),
        |_, addresses| async move {
            let admin = addresses[0];
            for route in routes::ROUTES {
                let expected = match route.access {
                    routes::Access::Read if route.path == "/explain" => 400,
                    routes::Access::Read => 200,
                    routes::Access::Change => 405,
                };
                assert_eq!(get(admin, route.path).0, expected, "{}", route.path);
            }
            for route in routes::ROUTES {
                let post = ask(
                    admin,
                    &format!("POST {}", route.path),
                    "host: localhost\r\n",
                );
                assert_eq!(
                    post.0 == 405,
                    route.access == routes::Access::Read,
                    "{}",
                    route.path
                );
            }
            assert_eq!(get(admin, "/nothing").0, 404);
            assert_eq!(get(admin, "/stats?bogus").0, 400);
            assert_eq!(get(admin, "/stats?filter=(").0, 400);
            assert_eq!(ask(admin, "GET /stats", "host: evil.example\r\n").0, 403);
            assert_eq!(
                ask(
                    admin,
                    "POST /drain_listeners",
                    "host: localhost\r\norigin: x\r\n"
                )
                .0,
                403
            );
        },
    );
}

#[test]
fn runtime_values_are_shown_and_changed() {
    with_server(
        |_| {},
        |_, addresses| async move {
            let admin = addresses[0];
            let post = |query: &str| {
                let request = format!("POST /runtime_modify{query}");
                ask(admin, &request, "host: localhost\r\n").0
            };
            assert_eq!(post(""), 400);
            assert_eq!(post("?a.b=5&c=x"), 200);
            assert_eq!(post("?c="), 200);
            assert_eq!(post(&format!("?a={}", "x".repeat(2000))), 400);
            let shown = get_json(admin, "/runtime");
            let entries = serde_json::json!({
                "a.b": { "layer_values": ["5"], "final_value": "5" },
            });
            assert_eq!(shown["entries"], entries);
            assert_eq!(shown["layers"], serde_json::json!([""]));
        },
    );
}

#[test]
fn listeners_clusters_and_configuration_are_shown() {
    with_server(
        |_| {},
        |_, addresses| async move {
            let admin = addresses[0];
            let (_, listeners) = get(admin, "/listeners");
            assert!(listeners.contains("other::10.4.0.3:8000\n"), "{listeners}");
            assert!(
                !listeners.contains(":0\n"),
                "bound ports are shown: {listeners}"
            );
            let (_, clusters) = get(admin, "/clusters");
            assert!(
                clusters.contains("web::10.0.0.1:1::zone::z\n"),
                "{clusters}"
            );
            let clusters = get_json(admin, "/clusters?format=json");
            let host = &clusters["cluster_statuses"][0]["host_statuses"][0];
            assert_eq!(host["address"]["socket_address"]["port_value"], 1);
            let dump = get_json(admin, "/config_dump?include_eds");
            let types: Vec<_> = dump["configs"]
                .as_array()
                .expect("configs")
                .iter()
                .collect();
            assert_eq!(types.len(), 6);
            assert_eq!(types[0]["bootstrap"]["node"]["id"], "a");
            assert_eq!(types[1]["static_clusters"][0]["cluster"]["name"], "web");
            assert_eq!(
                types[2]["static_endpoint_configs"][0]["endpoint_config"]["cluster_name"],
                "web"
            );
            assert_eq!(types[3]["static_listeners"][1]["listener"]["name"], "other");
            assert_eq!(
                types[4]["static_route_configs"][0]["route_config"]["name"],
                "inline"
            );
            assert_eq!(get_json(admin, "/server_info")["node"]["cluster"], "b");
            assert_eq!(get_json(admin, "/connections"), serde_json::json!([]));
        },
    );
}

#[test]
fn explain_follows_a_destination_to_its_endpoints() {
    with_server(
        |_| {},
        |_, addresses| async move {
            let (status, page) = get(addresses[0], "/explain?dst=10.4.0.3:8000");
            assert_eq!(status, 200);
            let parts = [
                "virtualOutbound",
                "other",
                "routed",
                "inline",
                "any",
                "web",
                "10.0.0.1:1",
            ];
            let mut rest = page.as_str();
            for part in parts {
                rest = rest
                    .split_once(part)
                    .unwrap_or_else(|| panic!("no {part} in {page}"))
                    .1;
            }
            let (_, page) = get(addresses[0], "/explain?dst=10.4.0.9:1");
            assert!(page.contains("no listener has this destination"), "{page}");
        },
    );
}

#[test]
fn readiness_is_the_binary_s_condition_and_ends_with_draining() {
    let (sender, receiver) = watch::channel(false);
    with_server(
        |options| options.ready = Some(receiver),
        |admin, addresses| async move {
            let (address, readiness) = (addresses[0], addresses[2]);
            let path = weir_api::sidecar::READY_PATH;
            assert_eq!(
                get(address, "/ready"),
                (503, "PRE_INITIALIZING\n".to_owned())
            );
            assert_eq!(get(readiness, path).0, 503);
            sender.send_replace(true);
            assert_eq!(get(address, "/ready"), (200, "LIVE\n".to_owned()));
            assert_eq!(get(readiness, path).0, 200);
            let drain = "POST /drain_listeners?inboundonly";
            assert_eq!(ask(address, drain, "host: localhost\r\n").0, 200);
            assert_eq!(get(readiness, path), (503, "DRAINING\n".to_owned()));
            let only = Phase::Draining { inbound_only: true };
            assert_eq!(admin.handle.phase(), only);
        },
    );
}

#[test]
fn the_read_only_listeners_show_no_configuration() {
    with_server(
        |_| {},
        |_, addresses| async move {
            let [_, prometheus, readiness, status] = addresses[..] else {
                panic!("four addresses");
            };
            let ready = weir_api::sidecar::READY_PATH;
            // Scrapers come by any name.
            let scrape = |address| ask(address, "GET /stats/prometheus", "host: pod.example\r\n");
            assert_eq!(
                [scrape(prometheus).0, scrape(readiness).0, scrape(status).0],
                [200, 404, 200]
            );
            let probe = |address| get(address, ready).0;
            assert_eq!(
                [probe(prometheus), probe(readiness), probe(status)],
                [404, 200, 200]
            );
            for address in [prometheus, readiness, status] {
                for path in [
                    "/config_dump",
                    "/stats",
                    "/clusters",
                    "/",
                    "/drain_listeners",
                ] {
                    assert_eq!(
                        get(address, path),
                        (404, "not found\n".to_owned()),
                        "{path}"
                    );
                }
                let post = ask(address, "POST /drain_listeners", "host: localhost\r\n");
                assert_eq!(post.0, 404);
            }
        },
    );
}

#[test]
fn stats_are_filtered_and_formatted() {
    with_server(
        |_| {},
        |_, addresses| async move {
            let admin = addresses[0];
            let (_, text) = get(admin, "/stats?filter=%5Eserver.live%24");
            assert_eq!(text, "server.live: 1\n");
            let (_, used) = get(admin, "/stats?usedonly&filter=cluster_manager");
            let names = "cluster_manager.active_clusters: 1\ncluster_manager.cluster_added: 1\n";
            assert_eq!(used, names);
            let stats = get_json(admin, "/stats?format=json&filter=server.concurrency");
            assert_eq!(stats["stats"][0]["value"], 1);
            let (_, metrics) = get(admin, "/stats?format=prometheus&filter=server.live");
            assert!(metrics.ends_with("# TYPE envoy_server_live gauge\nenvoy_server_live{} 1\n"));
            let (_, gauges) = get(admin, "/stats?type=Gauges");
            assert!(!gauges.contains("cluster_added") && gauges.contains("server.uptime"));
        },
    );
}

#[test]
fn the_log_filter_is_the_binary_s_to_change() {
    with_server(
        |options| {
            options.log_filter = Some(LogFilter(Arc::new(|filter| match filter {
                "debug" => Ok(()),
                _ => Err("no such level".to_owned()),
            })));
        },
        |_, addresses| async move {
            let post =
                |path: &str| ask(addresses[0], &format!("POST {path}"), "host: localhost\r\n");
            assert_eq!(post("/logging?level=debug").0, 200);
            let refused = post("/logging?level=loud");
            assert_eq!(refused, (400, "\"loud\": no such level\n".to_owned()));
            assert_eq!(post("/logging").0, 400);
        },
    );
}

#[test]
fn certificates_are_shown_and_their_keys_are_not() {
    use weir_tests::certificates::{Authority, inline};

    let authority = Authority::new("root");
    let leaf = authority.issue(&["web.example", "spiffe://td/a"]);
    let keys = "c2VjcmV0LXNlY3JldC1zZWNyZXQ=";
    let context = format!(
        r#"transport_socket: {{ name: tls, typed_config: {{
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext,
          session_ticket_keys_sds_secret_config: {{ name: tickets }},
          common_tls_context: {{ tls_certificates: [ {} ],
            validation_context_sds_secret_config: {{ name: root }} }} }} }}"#,
        leaf.inline()
    );
    let secrets = format!(
        "  secrets: [ {{ name: root, validation_context: {{ trusted_ca: {} }} }}, \
         {{ name: tickets, session_ticket_keys: {{ keys: [ {{ inline_string: {:?} }} ] }} }} ]\n",
        inline(&authority.pem),
        keys.repeat(3)[..80].to_owned(),
    );
    let text = BOOTSTRAP
        .replace(
            "    - name: all\n",
            &format!("    - name: all\n      {context}\n"),
        )
        .replace(
            "static_resources:\n",
            &format!("static_resources:\n{secrets}"),
        );
    let local = crate::secrets::Local::new(&["mine"]);
    let mine = authority.issue(&["mine.example"]);
    let message = format!("{{ name: mine, tls_certificate: {} }}", mine.inline());
    let message = json::message_from_yaml(weir_api::xds::type_url::SECRET, &message);
    let message = weir_api::xds::codec::unpack_secret(&message.expect("YAML"));
    local.set(message.expect("a secret")).expect("sound");
    with_bootstrap(
        &text,
        |options| options.local_secrets = Some(local),
        move |_, addresses| async move {
            let (_, dump) = get(addresses[0], "/config_dump");
            let private = |key: &str| key.lines().nth(1).expect("PEM").to_owned();
            for secret in [private(&leaf.key), private(&mine.key), keys.to_owned()] {
                assert!(!dump.contains(&secret));
            }
            assert!(dump.contains("[redacted]") && dump.contains("SecretsConfigDump"));
            let certs = get_json(addresses[0], "/certs");
            let all = certs["certificates"].as_array().expect("a list");
            let names: Vec<_> = all
                .iter()
                .flat_map(|one| one["cert_chain"].as_array().expect("a list"))
                .map(|leaf| leaf["subject_alt_names"].to_string())
                .collect();
            assert_eq!(
                names,
                [
                    r#"[{"dns":"mine.example"}]"#,
                    r#"[{"dns":"web.example"},{"uri":"spiffe://td/a"}]"#
                ]
            );
        },
    );
}
