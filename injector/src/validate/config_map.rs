//! Weir's ConfigMap.

use serde_json::Value;

use super::{Findings, Subject};
use crate::Config;

/// Name of the ConfigMap; that of a revision R ends in `-R`.
const NAME: &str = "weir-config";
/// This version, as the chart labels its objects.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Key of the injector's settings.
const INJECTOR: &str = "injector.yaml";
/// Key of the mesh-wide settings.
const MESH: &str = "mesh.yaml";

pub(super) fn validate(
    subject: &Subject<'_>,
    mesh: &dyn Fn(&str) -> Result<(), String>,
) -> Findings {
    let rest = subject.name.strip_prefix(NAME);
    if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-')) {
        return Findings::default();
    }
    let mut findings = Findings::default();
    let data = subject.object["data"].as_object();
    for (key, value) in data.into_iter().flatten() {
        let Some(text) = value.as_str() else {
            continue;
        };
        let judged = match key.as_str() {
            INJECTOR => injector(text),
            MESH => mesh(text),
            other => {
                let warning = format!("data[{other}]: means nothing; known are {INJECTOR}, {MESH}");
                findings.warnings.push(warning);
                Ok(())
            }
        };
        match (judged, other_version(subject)) {
            (Ok(()), _) => {}
            (Err(reason), None) => findings.errors.push(format!("data[{key}]: {reason}")),
            (Err(reason), Some(version)) => findings.warnings.push(format!(
                "data[{key}]: not in force before version {version} runs, for this is {VERSION}: {reason}"
            )),
        }
    }
    findings
}

/// The version that the ConfigMap is written for, where that is not this one: during an upgrade the one
/// that still runs is asked about settings that it cannot know.
fn other_version<'a>(subject: &Subject<'a>) -> Option<&'a str> {
    let labels = &subject.object["metadata"]["labels"];
    let version = labels["app.kubernetes.io/version"].as_str()?;
    (version != VERSION).then_some(version)
}

fn injector(text: &str) -> Result<(), String> {
    // Nothing but comments is no mistake: the defaults hold.
    let value: Result<Value, _> = yaml_serde::from_str(text);
    if value.is_ok_and(|value| value.is_null()) {
        return Ok(());
    }
    let read = Config::read(yaml_serde::Deserializer::from_str(text));
    read.map(drop).map_err(|error| error.to_string())
}
