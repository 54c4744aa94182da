//! A view of the parts of a raw pod that injection looks at, each checked for its type once.

use std::collections::BTreeMap;

use serde_json::Value;
use weir_api::{
    annotations::PREFIX,
    sidecar::{INIT_CONTAINER, PROXY_CONTAINER, PodPort},
};

mod field;
mod nodes;

use field::Field;
pub use field::WrongType;

/// What injection needs to know of a pod or pod template.
pub(crate) struct Pod<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) generate_name: Option<&'a str>,
    pub(crate) labels: BTreeMap<&'a str, &'a str>,
    pub(crate) annotations: BTreeMap<&'a str, &'a str>,
    /// The owner that is its controller, if any.
    pub(crate) owner: Option<Owner<'a>>,
    pub(crate) host_network: bool,
    /// Only nodes with Windows will do.
    pub(crate) only_windows: bool,
    pub(crate) run_as: RunAs,
    /// `spec.restartPolicy`
    pub(crate) restart_policy: Option<&'a str>,
    /// `spec.terminationGracePeriodSeconds`
    pub(crate) grace_period: Option<u64>,
    /// Resources are set for the pod as a whole; those of its containers must fit within.
    pub(crate) has_resources: bool,
    pub(crate) init_containers: Vec<Container<'a>>,
    pub(crate) containers: Vec<Container<'a>>,
    /// Names of its volumes.
    pub(crate) volumes: Vec<&'a str>,
}

/// The controller of a pod.
pub(crate) struct Owner<'a> {
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
    /// Names of volumes that it gives its pods besides those of their template, in place of any of
    /// the same name. Known where the controller itself is at hand.
    pub(crate) claims: Vec<String>,
}

/// User and group of a security context.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RunAs {
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
}

/// A container or init container.
pub(crate) struct Container<'a> {
    pub(crate) name: &'a str,
    pub(crate) ports: Vec<PodPort>,
    pub(crate) run_as: RunAs,
    /// `Always` on an init container: it runs as long as the pod does.
    pub(crate) restart_policy: Option<&'a str>,
    /// It has a postStart hook.
    pub(crate) has_hook: bool,
    pub(crate) requests: Quantities,
    pub(crate) limits: Quantities,
}

/// CPU and memory of a container, as written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quantities {
    pub(crate) cpu: Option<String>,
    pub(crate) memory: Option<String>,
}

// === impl Pod ===

impl<'a> Pod<'a> {
    /// Reads a pod, or the template of one.
    pub(crate) fn read(pod: &'a Value) -> Result<Self, WrongType> {
        let only_windows = nodes::only_windows(&pod["spec"]);
        // The API server judges its type.
        let grace_period = pod["spec"]["terminationGracePeriodSeconds"].as_u64();
        let pod = Field::root(pod);
        let (metadata, spec) = (pod.get("metadata")?, pod.get("spec")?);
        let security = spec.get("securityContext")?;
        let volumes = spec.get("volumes")?.elements()?;
        let volumes: Result<Vec<_>, _> = volumes
            .iter()
            .map(|volume| volume.get("name")?.string())
            .collect();
        Ok(Self {
            name: metadata.get("name")?.string()?,
            generate_name: metadata.get("generateName")?.string()?,
            labels: strings(&metadata.get("labels")?)?,
            annotations: strings(&metadata.get("annotations")?)?,
            owner: controller(&metadata.get("ownerReferences")?)?,
            host_network: spec.get("hostNetwork")?.boolean()?.unwrap_or(false),
            only_windows,
            run_as: RunAs::read(&security)?,
            restart_policy: spec.get("restartPolicy")?.string()?,
            grace_period,
            has_resources: spec
                .get("resources")?
                .object()?
                .is_some_and(|map| !map.is_empty()),
            init_containers: containers(&spec.get("initContainers")?)?,
            containers: containers(&spec.required("containers")?)?,
            volumes: volumes?.into_iter().flatten().collect(),
        })
    }
}

/// A map of strings. A value of another type is an error where the key is ours; elsewhere the API
/// server will say so.
fn strings<'a>(map: &Field<'a>) -> Result<BTreeMap<&'a str, &'a str>, WrongType> {
    let mut strings = BTreeMap::new();
    for (key, value) in map.object()?.into_iter().flatten() {
        if let Some(value) = value.as_str() {
            strings.insert(key.as_str(), value);
        } else if key.starts_with(PREFIX) {
            map.entry(key)?.required_string()?;
        }
    }
    Ok(strings)
}

fn controller<'a>(references: &Field<'a>) -> Result<Option<Owner<'a>>, WrongType> {
    for reference in references.elements()? {
        if reference.get("controller")?.boolean()?.unwrap_or(false) {
            return Ok(Some(Owner {
                kind: reference.get("kind")?.required_string()?,
                name: reference.get("name")?.required_string()?,
                claims: Vec::new(),
            }));
        }
    }
    Ok(None)
}

// === impl Owner ===

impl<'a> Owner<'a> {
    /// The owner of the pods that `object`, a workload of this kind and name, makes.
    pub(crate) fn of(kind: &'a str, name: &'a str, object: &Value) -> Self {
        let claims = object["spec"]["volumeClaimTemplates"].as_array();
        let claims = claims.into_iter().flatten();
        let claims = claims.filter_map(|claim| claim["metadata"]["name"].as_str());
        Self {
            kind,
            name,
            claims: claims.map(str::to_owned).collect(),
        }
    }
}

// === impl Container ===

fn containers<'a>(list: &Field<'a>) -> Result<Vec<Container<'a>>, WrongType> {
    list.elements()?.iter().map(Container::read).collect()
}

impl<'a> Container<'a> {
    /// Whether it is an init container that runs as long as the pod does.
    pub(crate) fn is_sidecar(&self) -> bool {
        self.restart_policy == Some("Always")
    }

    /// Whether it is the sidecar or its init container.
    pub(crate) fn is_ours(&self) -> bool {
        [INIT_CONTAINER, PROXY_CONTAINER].contains(&self.name)
    }

    fn read(container: &Field<'a>) -> Result<Self, WrongType> {
        let resources = container.get("resources")?;
        Ok(Self {
            name: container.get("name")?.required_string()?,
            ports: container
                .get("ports")?
                .elements()?
                .iter()
                .map(port)
                .collect::<Result<_, _>>()?,
            run_as: RunAs::read(&container.get("securityContext")?)?,
            restart_policy: container.get("restartPolicy")?.string()?,
            has_hook: container
                .get("lifecycle")?
                .get("postStart")?
                .object()?
                .is_some(),
            requests: Quantities::read(&resources.get("requests")?)?,
            limits: Quantities::read(&resources.get("limits")?)?,
        })
    }
}

fn port(port: &Field<'_>) -> Result<PodPort, WrongType> {
    Ok(PodPort {
        name: port.get("name")?.string()?.map(str::to_owned),
        container_port: port.get("containerPort")?.port()?,
        protocol: port.get("protocol")?.string()?.map(str::to_owned),
    })
}

impl RunAs {
    fn read(security: &Field<'_>) -> Result<Self, WrongType> {
        Ok(Self {
            user: security.get("runAsUser")?.id()?,
            group: security.get("runAsGroup")?.id()?,
        })
    }

    /// This, with what is absent taken from `outer`.
    pub(crate) fn or(self, outer: Self) -> Self {
        Self {
            user: self.user.or(outer.user),
            group: self.group.or(outer.group),
        }
    }
}

impl Quantities {
    fn read(quantities: &Field<'_>) -> Result<Self, WrongType> {
        Ok(Self {
            cpu: quantities.get("cpu")?.quantity()?,
            memory: quantities.get("memory")?.quantity()?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cpu.is_none() && self.memory.is_none()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(pod: &Value) -> String {
        Pod::read(pod)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn a_wrong_type_is_named_with_its_path() {
        for (pod, message) in [
            (json!(7), "pod: expected an object, found a number"),
            (
                json!({}),
                "spec.containers: expected an array, found nothing",
            ),
            (
                json!({"spec": []}),
                "spec: expected an object, found an array",
            ),
            (
                json!({"spec": {"containers": [{"name": "a"}, "b"]}}),
                "spec.containers[1]: expected an object, found a string",
            ),
            (
                json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 0}]}]}}),
                "spec.containers[0].ports[0].containerPort: expected a port from 1 to 65535, \
                 found a number",
            ),
            (
                json!({"metadata": {"annotations": {"weir.dev/inject": true}},
                       "spec": {"containers": []}}),
                "metadata.annotations[weir.dev/inject]: expected a string, found a boolean",
            ),
        ] {
            assert_eq!(error(&pod), message);
        }
    }

    #[test]
    fn null_is_absent_and_foreign_annotations_are_not_judged() {
        let pod = json!({"metadata": {"labels": null, "annotations": {"team": 7}},
                         "spec": {"initContainers": null, "containers": []}});
        assert_eq!(error(&pod), "");
    }
}
