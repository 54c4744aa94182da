//! The environment and arguments of a container: downward API, `ConfigMaps`, Secrets, Service
//! variables, and `$(NAME)` references.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod};

use crate::{
    address,
    cluster::{Cluster, LivePod, cluster_ip, endpoints::containers, live::NODE_NAME, ports_of},
    image::PROGRAM_DIR,
};

/// Where programs are looked for when the container does not say; Weir's own come last.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The whole environment of `container`, in order; a later variable may refer to an earlier one.
///
/// # Errors
/// Names the variable whose source is missing or unknown.
pub fn environment(
    cluster: &Cluster,
    live: &LivePod,
    container: &Container,
) -> Result<Vec<(String, String)>, String> {
    let metadata = &live.pod.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let hostname = live
        .pod
        .spec
        .as_ref()
        .and_then(|spec| spec.hostname.clone());
    let mut variables = Variables::default();
    // Hooks and probes call programs of the image by their names alone.
    variables.set("PATH", format!("{PATH}:{PROGRAM_DIR}"));
    variables.set(
        "HOSTNAME",
        hostname
            .or_else(|| metadata.name.clone())
            .unwrap_or_default(),
    );
    for (name, value) in service_variables(cluster, namespace) {
        variables.set(&name, value);
    }
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let data = if let Some(from) = &source.config_map_ref {
            let found = cluster.config_map(namespace, &from.name);
            required(found, from.optional, "ConfigMap", &from.name)?
        } else if let Some(from) = &source.secret_ref {
            let found = cluster.secret(namespace, &from.name);
            required(found, from.optional, "Secret", &from.name)?
        } else {
            BTreeMap::new()
        };
        for (key, value) in data {
            variables.set(
                &format!("{prefix}{key}"),
                String::from_utf8_lossy(&value).into_owned(),
            );
        }
    }
    for variable in container.env.iter().flatten() {
        let value = value_of(cluster, live, container, variable, &variables)
            .map_err(|reason| format!("env {}: {reason}", variable.name))?;
        if let Some(value) = value {
            variables.set(&variable.name, value);
        }
    }
    Ok(variables.0)
}

fn value_of(
    cluster: &Cluster,
    live: &LivePod,
    container: &Container,
    variable: &EnvVar,
    earlier: &Variables,
) -> Result<Option<String>, String> {
    let Some(source) = &variable.value_from else {
        return Ok(Some(expand(
            variable.value.as_deref().unwrap_or_default(),
            &earlier.0,
        )));
    };
    let namespace = live.pod.metadata.namespace.as_deref().unwrap_or_default();
    let EnvVarSource {
        config_map_key_ref,
        field_ref,
        resource_field_ref,
        secret_key_ref,
        ..
    } = source;
    let pick =
        |data: BTreeMap<String, Vec<u8>>, key: &str, optional: Option<bool>| match data.get(key) {
            Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
            None if optional == Some(true) => Ok(None),
            None => Err(format!("there is no key {key:?}")),
        };
    if let Some(field) = field_ref {
        return field_value(live, &field.field_path).map(Some);
    }
    if let Some(resource) = resource_field_ref {
        let of = resource
            .container_name
            .as_deref()
            .unwrap_or(&container.name);
        let of = containers(&live.pod)
            .find(|other| other.name == of)
            .unwrap_or(container);
        let divisor = resource.divisor.as_ref().map(|divisor| divisor.0.as_str());
        return resource_value(of, &resource.resource, divisor).map(Some);
    }
    if let Some(from) = config_map_key_ref {
        let found = cluster.config_map(namespace, &from.name);
        return pick(
            required(found, from.optional, "ConfigMap", &from.name)?,
            &from.key,
            from.optional,
        );
    }
    if let Some(from) = secret_key_ref {
        let found = cluster.secret(namespace, &from.name);
        return pick(
            required(found, from.optional, "Secret", &from.name)?,
            &from.key,
            from.optional,
        );
    }
    Err("valueFrom: of a kind that is not supported".to_owned())
}

fn required(
    found: Option<BTreeMap<String, Vec<u8>>>,
    optional: Option<bool>,
    kind: &str,
    name: &str,
) -> Result<BTreeMap<String, Vec<u8>>, String> {
    match found {
        Some(data) => Ok(data),
        None if optional == Some(true) => Ok(BTreeMap::new()),
        None => Err(format!("there is no {kind} {name}")),
    }
}

/// A field of the pod, as the downward API knows it.
///
/// # Errors
/// If it does not know the field.
pub fn field_value(live: &LivePod, path: &str) -> Result<String, String> {
    let Pod { metadata, spec, .. } = &live.pod;
    let keyed = |map: &Option<BTreeMap<String, String>>, key: &str| {
        let key = key.trim_end_matches("']");
        map.as_ref()
            .and_then(|map| map.get(key))
            .cloned()
            .unwrap_or_default()
    };
    if let Some(key) = path.strip_prefix("metadata.labels['") {
        return Ok(keyed(&metadata.labels, key));
    }
    if let Some(key) = path.strip_prefix("metadata.annotations['") {
        return Ok(keyed(&metadata.annotations, key));
    }
    let lines = |map: &Option<BTreeMap<String, String>>| {
        let pairs = map.iter().flatten();
        pairs
            .map(|(key, value)| format!("{key}={value:?}"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let account = spec
        .as_ref()
        .and_then(|spec| spec.service_account_name.clone());
    Ok(match path {
        "metadata.name" => metadata.name.clone().unwrap_or_default(),
        "metadata.namespace" => metadata.namespace.clone().unwrap_or_default(),
        "metadata.uid" => metadata.uid.clone().unwrap_or_default(),
        "metadata.labels" => lines(&metadata.labels),
        "metadata.annotations" => lines(&metadata.annotations),
        "spec.nodeName" => NODE_NAME.to_owned(),
        "spec.serviceAccountName" => account.unwrap_or_else(|| "default".to_owned()),
        "status.podIP" | "status.podIPs" => live.ip.to_string(),
        "status.hostIP" | "status.hostIPs" => address::NODE.to_string(),
        _ => return Err(format!("{path} is not a field the downward API knows")),
    })
}

/// A resource of a container as a number of `divisor`, rounded up. What is not limited is the
/// node's; here, that of one core and 1 GiB, since a playground's node has no size.
fn resource_value(
    container: &Container,
    name: &str,
    divisor: Option<&str>,
) -> Result<String, String> {
    let (which, resource) = name
        .split_once('.')
        .ok_or_else(|| format!("{name} is not a resource"))?;
    let resources = container.resources.as_ref();
    let quantities = match which {
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        "limits" => resources.and_then(|resources| resources.limits.as_ref()),
        _ => return Err(format!("{name} is not a resource")),
    };
    let set = quantities
        .and_then(|quantities| quantities.get(resource))
        .map(|quantity| &*quantity.0);
    let unset = match (which, resource) {
        ("limits", "cpu") => "1",
        ("limits", "memory") => "1Gi",
        _ => "0",
    };
    let value = milli(set.unwrap_or(unset))?;
    let divisor = match divisor {
        None | Some("" | "0") => 1000,
        Some(text) => milli(text)?,
    };
    Ok(value.div_ceil(divisor.max(1)).to_string())
}

/// A Kubernetes quantity in thousandths.
fn milli(text: &str) -> Result<u128, String> {
    const UNITS: [(&str, u128); 11] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("m", 0),
        ("", 1),
        ("E", 0),
    ];
    let wrong = || format!("{text:?} is not a quantity");
    let (number, unit) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len()),
    );
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    let thousandths = whole.parse::<u128>().map_err(|_| wrong())? * 1000
        + fraction.parse::<u128>().map_err(|_| wrong())?;
    let (_, factor) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(wrong)?;
    match (unit, factor) {
        ("m", _) => Ok(thousandths / 1000),
        (_, 0) => Err(wrong()),
        (_, factor) => Ok(thousandths * factor),
    }
}

/// `<NAME>_SERVICE_HOST` and `<NAME>_SERVICE_PORT` of each Service of the pod's namespace.
fn service_variables(cluster: &Cluster, namespace: &str) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let shout = |text: &str| text.to_ascii_uppercase().replace(['-', '.'], "_");
    for service in &cluster.services {
        let metadata = &service.metadata;
        let (Some(name), Some(address)) = (&metadata.name, cluster_ip(service)) else {
            continue;
        };
        if metadata.namespace.as_deref() != Some(namespace) {
            continue;
        }
        let name = shout(name);
        variables.push((format!("{name}_SERVICE_HOST"), address.to_string()));
        for (index, port) in ports_of(service).iter().enumerate() {
            if index == 0 {
                variables.push((format!("{name}_SERVICE_PORT"), port.port.to_string()));
            }
            if let Some(port_name) = &port.name {
                let variable = format!("{name}_SERVICE_PORT_{}", shout(port_name));
                variables.push((variable, port.port.to_string()));
            }
        }
    }
    variables
}

/// Replaces `$(NAME)` by the variable's value; `$$` stands for `$`, and a reference to nothing stays
/// as it is.
#[must_use]
pub fn expand(text: &str, variables: &[(String, String)]) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(position) = rest.find('$') {
        result.push_str(&rest[..position]);
        rest = &rest[position + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((name, after)) = rest
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'))
        {
            match variables.iter().find(|(known, _)| known == name) {
                Some((_, value)) => result.push_str(value),
                None => result.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            result.push('$');
        }
    }
    result.push_str(rest);
    result
}

/// Variables in order of definition, each once.
#[derive(Default)]
struct Variables(Vec<(String, String)>);

impl Variables {
    fn set(&mut self, name: &str, value: String) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_expand_as_in_kubernetes() {
        let variables = [
            ("A".to_owned(), "1".to_owned()),
            ("B".to_owned(), "$(A)".to_owned()),
        ];
        for (text, expected) in [
            ("x$(A)y", "x1y"),
            ("$(B)", "$(A)"),
            ("$(C)", "$(C)"),
            ("$$(A)", "$(A)"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
        ] {
            assert_eq!(expand(text, &variables), expected, "{text}");
        }
    }

    #[test]
    fn quantities_divide_and_round_up() {
        let container: Container = serde_json::from_value(serde_json::json!({
            "name": "a", "resources": { "requests": { "cpu": "100m", "memory": "1.5Mi" } },
        }))
        .expect("container");
        let value = |name, divisor| resource_value(&container, name, divisor).expect(name);
        assert_eq!(value("requests.cpu", Some("1m")), "100");
        assert_eq!(value("requests.cpu", None), "1");
        assert_eq!(value("requests.memory", Some("1Ki")), "1536");
        assert_eq!(value("limits.cpu", Some("1m")), "1000");
        assert!(resource_value(&container, "cpu", None).is_err());
        assert!(milli("ten").is_err());
    }
}
