//! What is wrong with a `PeerAuthentication` as it is written, with Istio's rules for it.

use serde_json::Value;

use super::{Settings, Spec};

/// What is wrong with a rule. Each entry says where, what, and what to do about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// It must not be written like this.
    pub errors: Vec<String>,
    /// Its author should know.
    pub warnings: Vec<String>,
}

/// Judges an object in that namespace.
#[must_use]
pub fn judge(object: &Value, namespace: &str, settings: &Settings) -> Judgement {
    let mut judgement = Judgement::default();
    let spec = match serde_path_to_error::deserialize::<_, Option<Spec>>(&object["spec"]) {
        Ok(spec) => spec.unwrap_or_default(),
        Err(error) => {
            let path = match error.path().to_string() {
                path if path == "." => "spec".to_owned(),
                path => format!("spec.{path}"),
            };
            judgement.errors.push(format!("{path}: {}", error.inner()));
            return judgement;
        }
    };
    let labels = spec.selector.as_ref();
    let labels = labels.and_then(|selector| selector.match_labels.as_ref());
    let mut error = |text: String| judgement.errors.push(text);
    for (key, value) in labels.into_iter().flatten() {
        if key.is_empty() {
            error("spec.selector.matchLabels: a label has no name: name it".to_owned());
        }
        if key.contains('*') || value.contains('*') {
            error(format!(
                "spec.selector.matchLabels[{key}]: {value:?}: a * stands for itself and selects nothing: \
                 write the label out"
            ));
        }
    }
    let selects = labels.is_some_and(|labels| !labels.is_empty());
    match &spec.port_level_mtls {
        Some(ports) if ports.is_empty() => error(
            "spec.portLevelMtls: names no port: leave it out, or name one".to_owned(),
        ),
        Some(_) if !selects => error(
            "spec.portLevelMtls: ports are those of the pods that spec.selector selects: select some, or \
             use spec.mtls"
                .to_owned(),
        ),
        Some(ports) if ports.contains_key(&0) => {
            error("spec.portLevelMtls[0]: is not a port (1 to 65535)".to_owned());
        }
        _ => {}
    }
    if selects && namespace == &*settings.root_namespace {
        judgement.warnings.push(format!(
            "spec.selector: a rule in {namespace} is about the whole mesh and selects no pods, so this one is \
             left out: write it in the pods' namespace"
        ));
    }
    judgement
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;

    use super::*;

    #[test]
    fn what_istio_refuses_is_refused_with_its_place_and_the_remedy() {
        let selector = "selector: {matchLabels: {app: web}}";
        for (spec, namespace, error, warning) in [
            ("{mtls: {mode: STRICT}}".to_owned(), "shop", "", ""),
            ("{}".to_owned(), "shop", "", ""),
            ("null".to_owned(), "shop", "", ""),
            (
                format!("{{{selector}, portLevelMtls: {{80: {{mode: DISABLE}}}}}}"),
                "shop",
                "",
                "",
            ),
            (
                "{mtls: {mode: strict}}".to_owned(),
                "shop",
                "spec.mtls.mode: unknown variant `strict`, expected one of `UNSET`",
                "",
            ),
            (
                "{mtsl: {}}".to_owned(),
                "shop",
                "spec.mtsl: unknown field `mtsl`, expected one of `selector`",
                "",
            ),
            (
                "{portLevelMtls: {80: {mode: STRICT}}}".to_owned(),
                "shop",
                "spec.portLevelMtls: ports are those of the pods",
                "",
            ),
            (
                "{selector: {matchLabels: {}}, portLevelMtls: {80: {}}}".to_owned(),
                "shop",
                "spec.portLevelMtls: ports are",
                "",
            ),
            (
                format!("{{{selector}, portLevelMtls: {{}}}}"),
                "shop",
                "spec.portLevelMtls: names no port",
                "",
            ),
            (
                format!("{{{selector}, portLevelMtls: {{0: {{}}}}}}"),
                "shop",
                "spec.portLevelMtls[0]: is not a port",
                "",
            ),
            (
                format!("{{{selector}, portLevelMtls: {{http: {{}}}}}}"),
                "shop",
                "spec.portLevelMtls",
                "",
            ),
            (
                "{selector: {matchLabels: {app: 'w*'}}}".to_owned(),
                "shop",
                "spec.selector.matchLabels[app]: \"w*\"",
                "",
            ),
            (
                "{selector: {matchExpressions: []}}".to_owned(),
                "shop",
                "spec.selector.matchExpressions: unknown field",
                "",
            ),
            ("7".to_owned(), "shop", "spec: invalid type", ""),
            (
                format!("{{{selector}}}"),
                "weir-system",
                "",
                "spec.selector: a rule in weir-system",
            ),
        ] {
            let document = yaml_serde::Deserializer::from_str(&spec);
            let spec_value = yaml_serde::Value::deserialize(document).expect("YAML");
            let object =
                serde_json::json!({ "spec": serde_json::to_value(spec_value).expect("JSON") });
            let Judgement { errors, warnings } = judge(&object, namespace, &Settings::default());
            for (said, expected) in [(errors, error), (warnings, warning)] {
                assert_eq!(
                    said.len(),
                    usize::from(!expected.is_empty()),
                    "{spec}: {said:?}"
                );
                let first = said.first().map(String::as_str).unwrap_or_default();
                assert!(first.starts_with(expected), "{spec}: {first}");
            }
        }
    }
}
