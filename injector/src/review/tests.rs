use proptest::prelude::*;

use super::*;
use crate::admission::*;

fn request(object: &Value) -> Value {
    json!({"apiVersion": API_VERSION, "kind": KIND, "request": {
        "uid": "u-1", "operation": "CREATE", "namespace": "shop",
        "kind": {"group": "", "version": "v1", "kind": "Pod"}, "object": object,
    }})
}

fn reviewed(body: &Value) -> Reviewed {
    review(body.to_string().as_bytes(), &Config::default()).expect("a review")
}

#[test]
fn what_is_no_review_is_refused_by_field() {
    let good = request(&json!({}));
    let without = |pointer: &str, key: &str| {
        let mut review = good.clone();
        let object = review.pointer_mut(pointer).and_then(Value::as_object_mut);
        object.expect("object").remove(key);
        review.to_string()
    };
    let with = |pointer: &str, value: Value| {
        let mut review = good.clone();
        *review.pointer_mut(pointer).expect("field") = value;
        review.to_string()
    };
    for (body, part) in [
        ("".to_owned(), "EOF"),
        ("hello".to_owned(), "expected value"),
        ("[]".to_owned(), "invalid length 0"),
        ("{}".to_owned(), "top level: missing field `apiVersion`"),
        (format!("{good} x"), "trailing characters"),
        (without("", "request"), "missing field `request`"),
        (without("/request", "uid"), "request: missing field `uid`"),
        (
            without("/request", "operation"),
            "request: missing field `operation`",
        ),
        (with("/request/uid", json!(7)), "request.uid: invalid type"),
        (with("/request/uid", json!("")), "request.uid: empty"),
        (
            with("/request/kind", json!("Pod")),
            "request.kind: invalid type",
        ),
        (
            with("/kind", json!("Pod")),
            "kind: expected \"AdmissionReview\", found \"Pod\"",
        ),
        (
            with("/apiVersion", json!("admission.k8s.io/v1beta1")),
            "apiVersion: expected",
        ),
        (
            with("/request/object", json!(0))
                .replace("\"object\":0", &format!("\"object\":{}", "[".repeat(4096))),
            "recursion limit",
        ),
    ] {
        let error = review(body.as_bytes(), &Config::default()).expect_err(&body);
        let message = error.to_string();
        assert!(message.starts_with("body is not an admission.k8s.io/v1 AdmissionReview: "));
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[test]
fn the_answer_carries_the_uid_and_a_patch() {
    let object = json!({"metadata": {"generateName": "web-"},
                        "spec": {"containers": [{"name": "app"}]}});
    let Reviewed {
        outcome, response, ..
    } = reviewed(&request(&object));
    assert_eq!(outcome, Outcome::Injected(Decision::PolicyEnabled));
    assert_eq!(response["apiVersion"], API_VERSION);
    assert_eq!(response["kind"], KIND);
    let response = &response["response"];
    assert_eq!(
        (&response["uid"], &response["allowed"]),
        (&json!("u-1"), &json!(true))
    );
    assert_eq!(response["patchType"], "JSONPatch");
    assert!(response.get("warnings").is_none(), "{response}");
    let patch = BASE64_STANDARD
        .decode(response["patch"].as_str().expect("text"))
        .expect("base64");
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("patch");
    let mut patched = object;
    json_patch::patch(&mut patched, &patch).expect("applies");
    assert_eq!(patched["spec"]["initContainers"][1]["name"], "weir-proxy");
    // The same once more is admitted without a patch.
    let Reviewed {
        outcome, response, ..
    } = reviewed(&request(&patched));
    assert_eq!(outcome, Outcome::Unchanged(Decision::PolicyEnabled));
    assert!(response["response"].get("patch").is_none());
}

#[test]
fn what_creates_no_pod_is_admitted_with_a_warning() {
    for (pointer, value) in [
        ("/request/kind/kind", json!("Deployment")),
        ("/request/kind/group", json!("metrics.k8s.io")),
        ("/request/operation", json!("UPDATE")),
    ] {
        let mut review = request(&json!({"spec": 7}));
        *review.pointer_mut(pointer).expect("field") = value;
        let Reviewed {
            outcome, response, ..
        } = reviewed(&review);
        assert_eq!(outcome, Outcome::NotAPod, "{pointer}");
        assert_eq!(response["response"]["allowed"], true);
        assert_eq!(
            response["response"]["warnings"].as_array().map(Vec::len),
            Some(1)
        );
        assert!(response["response"].get("patch").is_none());
    }
}

#[test]
fn a_pod_that_cannot_be_injected_is_refused_with_the_reason() {
    for (object, part) in [
        (json!(null), "pod: expected an object, found null"),
        (
            json!({"spec": {"containers": "app"}}),
            "spec.containers: expected an array",
        ),
        (
            json!({"metadata": {"annotations": {"weir.dev/exclude-outbound-ports": "web"}},
                   "spec": {"containers": [{"name": "app"}]}}),
            "annotation weir.dev/exclude-outbound-ports: \"web\" is not a port",
        ),
        (
            json!({"spec": {"containers": [{"name": "app"}, {"name": "weir-init"}]}}),
            "spec.containers: a container named \"weir-init\" cannot be there",
        ),
    ] {
        let Reviewed {
            outcome, response, ..
        } = reviewed(&request(&object));
        let response = &response["response"];
        assert_eq!(outcome, Outcome::Denied);
        assert_eq!(response["allowed"], false);
        assert!(response.get("patch").is_none());
        let message = response["status"]["message"].as_str().expect("message");
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[test]
fn a_skip_is_said() {
    let object = json!({"metadata": {"name": "node-agent"},
                        "spec": {"hostNetwork": true, "containers": [{"name": "app"}]}});
    let Reviewed {
        outcome, response, ..
    } = reviewed(&request(&object));
    assert_eq!(outcome, Outcome::Skipped(Decision::HostNetwork));
    assert_eq!(
        response["response"]["warnings"],
        json!([
            "weir: pod node-agent is not injected: the pod uses the node's network \
                (hostNetwork: true)"
        ])
    );
}

#[test]
fn warnings_are_short_few_and_printable() {
    let annotations: serde_json::Map<_, _> = (0..100)
        .map(|n| (format!("weir.dev/é\n{n}{}", "x".repeat(300)), "".into()))
        .collect();
    let object = json!({"metadata": {"annotations": annotations},
                        "spec": {"containers": [{"name": "app"}]}});
    let response = reviewed(&request(&object)).response;
    let warnings = response["response"]["warnings"]
        .as_array()
        .expect("warnings");
    let warnings: Vec<_> = warnings.iter().filter_map(Value::as_str).collect();
    assert!((2..20).contains(&warnings.len()));
    assert!(
        warnings
            .iter()
            .all(|text| text.len() <= 256 && !text.contains('\n'))
    );
}

/// JSON in which the names that matter to injection are likely.
pub(crate) fn json_value() -> impl Strategy<Value = Value> {
    let names = "metadata|spec|template|containers|initContainers|name|annotations|labels|ports|resources\
                 |limits|requests|cpu|securityContext|runAsUser|volumes|env|args|weir-proxy|image\
                 |weir.dev/inject|weir.dev/status|weir.dev/capture-mode|ownerReferences|\\PC{0,4}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "weir-proxy|weir-init|auto|true|Always|10m|\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 96, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names, inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = review(&bytes, &Config::default());
    }

    #[test]
    fn no_object_panics(object in json_value()) {
        reviewed(&request(&object));
    }

    #[test]
    fn a_patch_that_is_sent_applies(
        metadata in json_value(), spec in json_value(), own in json_value(), status in json_value(),
    ) {
        let mut object = json!({"metadata": metadata, "spec": spec});
        let at = |object: &mut Value, pointer: &str, key: &str, value: Value| {
            let members = object.pointer_mut(pointer).and_then(Value::as_object_mut);
            members.map(|members| members.insert(key.to_owned(), value));
        };
        at(&mut object, "/spec", "containers", json!([{"name": "app"}, own]));
        let status = status.to_string().into();
        at(&mut object, "/metadata/annotations", "weir.dev/status", status);
        let response = reviewed(&request(&object)).response["response"].clone();
        if let Some(patch) = response["patch"].as_str() {
            let patch = BASE64_STANDARD.decode(patch).expect("base64");
            let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a patch");
            json_patch::patch(&mut object, &patch).expect("applies");
            let taken_out = crate::uninject(&object).expect("readable");
            prop_assert!(taken_out.is_some());
        }
    }

    #[test]
    fn what_can_be_injected_once_is_not_changed_again(
        proxy in json_value(), volumes in json_value(), annotations in json_value(),
        inits in json_value(),
    ) {
        let mut proxy = proxy;
        if let Value::Object(map) = &mut proxy {
            map.insert("name".to_owned(), "weir-proxy".into());
        }
        let pod = json!({
            "metadata": {"annotations": annotations},
            "spec": {"containers": [{"name": "app"}, proxy], "volumes": volumes,
                     "initContainers": inits},
        });
        if let Ok(injection) = inject(&pod, "shop", &Config::default())
            && let Some(injected) = injection.pod
        {
            let mut patched = pod;
            json_patch::patch(&mut patched, &injection.patch).expect("applies");
            prop_assert_eq!(&patched, &injected);
            let again = inject(&injected, "shop", &Config::default()).expect("injectable");
            prop_assert_eq!(again.patch.0, Vec::new());
        }
    }
}
