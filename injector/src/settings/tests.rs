use serde_json::{Value, json};

use super::*;

fn read(annotations: &Value) -> (Result<Settings, Vec<BadAnnotation>>, Vec<String>) {
    let pod = json!({"metadata": {"annotations": annotations},
                     "spec": {"containers": [{"name": "app"}]}});
    let mut warnings = Vec::new();
    let pod = Pod::read(&pod).expect("pod");
    let settings = Settings::read(&pod, "shop".into(), &Config::default(), &mut warnings);
    (settings, warnings)
}

fn accepted(annotations: &Value) -> Settings {
    let (settings, warnings) = read(annotations);
    assert_eq!(warnings, Vec::<String>::new());
    settings.unwrap_or_else(|bad| panic!("{}", join(&bad)))
}

fn refused(annotations: &Value) -> String {
    join(&read(annotations).0.err().expect("refused"))
}

#[test]
fn every_bad_value_is_reported_at_once() {
    let message = refused(&json!({
        "weir.dev/exclude-outbound-ports": "80,http",
        "weir.dev/include-outbound-cidrs": "10.0.0.0/33",
        "weir.dev/proxy-memory": "64 MB",
    }));
    for part in [
        "exclude-outbound-ports: \"http\"",
        "\"10.0.0.0/33\"",
        "proxy-memory: \"64 MB\"",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[test]
fn a_star_is_taken_only_where_all_means_something() {
    for name in [
        "exclude-outbound-cidrs",
        "include-outbound-ports",
        "exclude-outbound-ports",
        "exclude-inbound-ports",
    ] {
        let name = format!("weir.dev/{name}");
        assert!(refused(&json!({ name.clone(): "*" })).contains(&name));
    }
    accepted(
        &json!({"weir.dev/include-outbound-cidrs": "*", "weir.dev/include-inbound-ports": "*"}),
    );
}

#[test]
fn an_empty_include_captures_nothing() {
    let settings = accepted(&json!({"weir.dev/include-inbound-ports": "",
                                    "weir.dev/include-outbound-cidrs": ""}));
    assert_eq!(
        settings.capture.include_inbound_ports,
        capture::Selection::Only(vec![])
    );
    assert_eq!(
        settings.capture.include_outbound_cidrs,
        capture::Selection::Only(vec![])
    );
}

#[test]
fn the_sidecars_own_ports_stay_excluded() {
    let settings = accepted(&json!({"weir.dev/exclude-inbound-ports": "9000,15020"}));
    assert_eq!(
        settings.capture.exclude_inbound_ports,
        [15090, 15021, 15020, 9000]
    );
}

#[test]
fn tproxy_is_refused_by_name() {
    let message = refused(&json!({"weir.dev/capture-mode": "tproxy"}));
    assert_eq!(
        message,
        "annotation weir.dev/capture-mode: \"tproxy\" is not supported yet; use redirect or none"
    );
}

#[test]
fn one_resource_set_leaves_the_others_alone() {
    let settings = accepted(&json!({"weir.dev/proxy-cpu-limit": "2"}));
    assert_eq!(settings.requests.cpu.as_deref(), Some("10m"));
    assert_eq!(settings.requests.memory.as_deref(), Some("32Mi"));
    assert_eq!(settings.limits.cpu.as_deref(), Some("2"));
    assert_eq!(settings.limits.memory, None);
}

#[test]
fn a_limit_below_the_default_request_lowers_it_and_one_below_an_asked_request_is_refused() {
    let settings = accepted(&json!({"weir.dev/proxy-memory-limit": "16Mi"}));
    assert_eq!(settings.requests.memory.as_deref(), Some("16Mi"));
    let message = refused(&json!({"weir.dev/proxy-cpu": "2", "weir.dev/proxy-cpu-limit": "500m"}));
    assert!(
        message.contains("request \"2\" exceeds the limit \"500m\""),
        "{message}"
    );
}

#[test]
fn what_the_pod_can_run_without_is_a_warning() {
    for (name, value) in [
        ("log-level", "loud"),
        ("log-level", ""),
        ("concurrency", "0"),
        ("concurrency", "two"),
        ("native-sidecar", "yes"),
        ("proxy-image", "a b"),
    ] {
        let name = format!("weir.dev/{name}");
        let (settings, warnings) = read(&json!({ name.clone(): value }));
        assert!(settings.is_ok(), "{name}");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(&name) && warnings[0].ends_with("it is ignored"));
    }
}

#[test]
fn the_nearest_known_annotation_is_suggested() {
    let warning = |labels: Value, annotations: Value| {
        let pod = json!({"metadata": {"labels": labels, "annotations": annotations},
                         "spec": {"containers": []}});
        unknown(&Pod::read(&pod).expect("pod")).join("\n")
    };
    for (key, meant) in [
        (
            "weir.dev/exclude-outbound-port",
            "weir.dev/exclude-outbound-ports",
        ),
        ("weir.dev/proxy-mem", "weir.dev/proxy-memory"),
        ("weir.dev/injection", "weir.dev/inject"),
        ("weir.dev/loglevel", "weir.dev/log-level"),
    ] {
        let text = warning(json!({}), json!({ key: "x" }));
        assert_eq!(
            text,
            format!("annotation {key:?} is unknown; did you mean {meant}?")
        );
    }
    let text = warning(
        json!({}),
        json!({"weir.dev/colour": "blue", "other.dev/inject": "x"}),
    );
    assert_eq!(text, "annotation \"weir.dev/colour\" is unknown");
    let text = warning(json!({"weir.dev/injection": "enabled"}), json!({}));
    assert!(text.contains("did you mean weir.dev/inject?"), "{text}");
    let text = warning(json!({"weir.dev/concurrency": "2"}), json!({}));
    assert!(text.contains("is an annotation"), "{text}");
}
