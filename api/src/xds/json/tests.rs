//! Every example is read; every way to spoil one is refused where it was spoilt.

use std::{fs, path::Path};

use proptest::prelude::*;

use super::*;
use crate::xds::envoy::config::core::v3::Metadata;

const SPOILT: &str = r#"
node: { id: a, metadata: { text: x, whole: 1000, fraction: 1.5, list: [true, null] } }
static_resources:
  listeners:
  - name: web
    address: { socket_address: { address: 127.0.0.1, port_value: 10000 } }
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          codec_type: AUTO
          stream_idle_timeout: 60s
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: { prefix: / }
                route: { cluster: a, retry_policy: { num_retries: 2 } }
          http_filters:
          - name: router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              suppress_envoy_headers: true
"#;

const HCM: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";

fn examples() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bootstraps");
    let files = fs::read_dir(directory).expect("examples/bootstraps");
    let mut examples: Vec<_> = files
        .map(|file| file.expect("directory entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .map(|path| {
            (
                path.display().to_string(),
                fs::read_to_string(path).expect("example"),
            )
        })
        .collect();
    examples.sort();
    examples
}

fn error(text: &str) -> String {
    read_bootstrap(text).expect_err(text).to_string()
}

#[test]
fn examples_survive_the_way_to_json_and_back() {
    let examples = examples();
    assert!(examples.len() >= 6, "{examples:?}");
    for (name, text) in examples {
        let bootstrap = read_bootstrap(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let any = codec::pack_bootstrap(&bootstrap);
        let mut tree = to_json(&any);
        let typed = tree.as_object_mut().expect("object").remove("@type");
        assert_eq!(typed, Some(Value::from(type_url::BOOTSTRAP)), "{name}");
        let again = read_bootstrap(&tree.to_string()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(bootstrap, again, "{name}");
    }
}

#[test]
fn a_spoilt_file_is_refused_where_it_was_spoilt() {
    let spoil = [
        (
            "node:",
            "nod:",
            "top level: unrecognized field name 'nod'".to_owned(),
        ),
        (
            "    address:",
            "    adress:",
            "static_resources.listeners[0]: unrecognized".into(),
        ),
        (
            "stat_prefix",
            "stat_prefx",
            format!("{HCM}: unrecognized field name 'stat_prefx'"),
        ),
        (
            "num_retries",
            "num_retrys",
            format!("{HCM}.route_config.virtual_hosts[0].routes[0].route.retry_policy: unrec"),
        ),
        (
            "suppress_envoy_headers",
            "suppress",
            format!("{HCM}.http_filters[0].typed_config: unrecognized field name 'suppress'"),
        ),
        ("AUTO", "AUTOMATIC", format!("{HCM}.codec_type: ")),
        ("60s", "60", format!("{HCM}.stream_idle_timeout: ")),
        ("60s", "1 minute", format!("{HCM}.stream_idle_timeout: ")),
        (
            "10000",
            "4294967296",
            "static_resources.listeners[0].address.socket_address.po".into(),
        ),
        (
            "10000",
            "http",
            "static_resources.listeners[0].address.socket_address.po".into(),
        ),
        (
            "[\"*\"]",
            "\"*\"",
            format!("{HCM}.route_config.virtual_hosts[0].domains: "),
        ),
        (
            "{ prefix: / }",
            "{ prefix: /, path: / }",
            format!("{HCM}.route_config.virtual_hosts[0].routes[0].match: "),
        ),
        (
            "v3.HttpConnectionManager",
            "v3.HttpManager",
            format!(
                "{HCM}: @type: envoy.extensions.filters.network.http_connection_manager.v3.\
                 HttpManager is not a type Weir knows"
            ),
        ),
        (
            "\"@type\": type.g",
            "type: g",
            format!("{HCM}: @type: missing"),
        ),
        (
            "codec_type:",
            "stat_prefix:",
            "line 11, column 11: static_resources".to_owned(),
        ),
        (
            "name: web",
            "name: !tag web",
            "static_resources.listeners[0].name: the YAML t".into(),
        ),
        ("name: web", "name: [", "line ".into()),
        (
            "whole: 1000",
            "whole: .nan",
            "node.metadata.whole: .nan is not a number".into(),
        ),
        (
            "text: x",
            "[a]: x",
            "node.metadata: a key is not a scalar".into(),
        ),
        (
            "text: x",
            "text: x, 1: a, \"1\": b",
            "node.metadata: duplicate entry".into(),
        ),
    ];
    read_bootstrap(SPOILT).expect("sound before it is spoilt");
    for (sound, spoilt, expected) in spoil {
        assert!(SPOILT.contains(sound), "{sound}");
        let error = error(&SPOILT.replacen(sound, spoilt, 1));
        assert!(
            error.starts_with(&expected),
            "{spoilt}: {error}\nexpected: {expected}"
        );
    }
}

#[test]
fn what_is_not_one_mapping_is_refused() {
    for text in [
        "",
        "null",
        "[]",
        "a",
        "{}\n---\n{}",
        "\u{0}",
        "{",
        "{\"node\": {}, \"node\": {}}",
    ] {
        read_bootstrap(text).expect_err(text);
    }
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    read_bootstrap(&nested).expect_err("too deep");
    assert_eq!(
        error("{\"node\": {}\n, \"node\": {}}"),
        "line 2, column 8: duplicate entry with key \"node\""
    );
}

#[test]
fn json_and_yaml_spell_the_same_message() {
    let yaml = "x: &x { id: a }\nnode: { <<: *x, cluster: \"\\U0001F600\" }";
    let yaml = yaml.replace("x: &x { id: a }\nnode: { <<: *x,", "node: { <<: { id: a },");
    let json = r#"{ "node": { "cluster": "\ud83d\ude00", "id": "a" } }"#;
    let flow = "{ node: { id: a, cluster: \u{1F600} } }";
    let read = |text| read_bootstrap(text).expect(text);
    assert_eq!(read(&yaml), read(json));
    assert_eq!(read(flow), read(json));
}

#[test]
fn numbers_of_a_struct_are_written_as_envoy_writes_them() {
    let bootstrap = read_bootstrap(SPOILT).expect("bootstrap");
    let tree = to_json(&codec::pack_bootstrap(&bootstrap));
    let expected = serde_json::json!(
        { "text": "x", "whole": 1000, "fraction": 1.5, "list": [true, null] });
    assert_eq!(tree["node"]["metadata"], expected);
    assert_eq!(tree["node"]["metadata"].to_string(), expected.to_string());
}

#[test]
fn what_cannot_be_shown_is_shown_as_base64() {
    for (type_url, value, shown) in [
        (
            "type.googleapis.com/nobody.knows.This",
            &b"\xff\x00"[..],
            "/wA=",
        ),
        (type_url::LISTENER, b"\xff", "/w=="),
        ("", b"abc", "YWJj"),
    ] {
        let any = Any {
            type_url: type_url.to_owned(),
            value: value.to_vec(),
        };
        assert_eq!(
            to_json(&any),
            serde_json::json!({ "@type": type_url, "value": shown })
        );
    }
}

#[test]
fn messages_in_messages_without_end_are_shown_as_base64() {
    let mut any = codec::pack_listener(&Default::default());
    for _ in 0..5_000 {
        let metadata = Metadata {
            typed_filter_metadata: [("a".to_owned(), any)].into(),
            ..Metadata::default()
        };
        any = codec::pack_listener(&crate::xds::envoy::config::listener::v3::Listener {
            metadata: Some(metadata),
            ..Default::default()
        });
    }
    assert!(to_json(&any)["value"].is_string());
}

#[test]
fn messages_of_other_types_are_read_and_written_as_yaml() {
    let text = "name: a\ntype: STATIC\nconnect_timeout: 0.250s\n";
    let any = message_from_yaml(type_url::CLUSTER, text).expect("cluster");
    assert_eq!(codec::unpack_cluster(&any).expect("cluster").name, "a");
    assert_eq!(
        to_yaml(&any),
        "'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster\n\
         connect_timeout: 0.250s\nname: a\ntype: STATIC\n"
    );
    let error = message_from_yaml("type.googleapis.com/nobody.knows.This", "{}");
    assert!(matches!(error, Err(JsonError::UnknownType(_))));
}

#[test]
fn every_message_can_be_written_as_text() {
    let descriptors = Descriptors::load();
    for name in codec::MESSAGES {
        assert!(
            descriptors.0.get_message_by_name(name).is_some(),
            "{name} is not in roots.txt"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic(text in "(\\PC|\n|[:{}\\[\\]\"@<>&*!-])*") {
        let _ = read_bootstrap(&text);
    }

    #[test]
    fn no_edit_of_a_file_makes_the_reader_panic(at in 0..SPOILT.len(), text in "\\PC{0,4}") {
        let mut spoilt = SPOILT.to_owned();
        spoilt.replace_range(at..=at, &text);
        let _ = read_bootstrap(&spoilt);
    }

    #[test]
    fn no_bytes_make_the_writer_or_the_decoders_panic(
        value in proptest::collection::vec(any::<u8>(), 0..256),
    ) {
        let descriptors = Descriptors::load();
        for type_url in [type_url::LISTENER, type_url::CLUSTER, type_url::BOOTSTRAP] {
            let _ = descriptors.to_json(&Any { type_url: type_url.into(), value: value.clone() });
        }
        let _ = codec::decode_listener(&value);
        let _ = codec::decode_cluster(&value);
        let _ = codec::decode_route_configuration(&value);
        let _ = codec::decode_cluster_load_assignment(&value);
    }
}
