//! CPU and memory of the sidecar.

use weir_api::{annotations as names, sidecar::PROXY_CONTAINER};

use super::{BadAnnotation, Reader};
use crate::{
    pod::{Pod, Quantities},
    quantity::Quantity,
};

/// CPU request where nothing else is asked. An idle sidecar uses about none; without any request
/// an autoscaler on CPU utilisation stops working for the whole pod, and one worker thread is
/// started for each CPU requested, rounded up.
const DEFAULT_CPU: &str = "10m";
/// Memory request where nothing else is asked: an idle sidecar stays below 10 MiB, the rest is
/// for connections.
const DEFAULT_MEMORY: &str = "32Mi";

/// Where one of the sidecar's resources can be set, the strongest first: the pod's own container
/// named like the sidecar, its annotation, the default.
struct Sources {
    resource: &'static str,
    own_request: Option<String>,
    own_limit: Option<String>,
    request: &'static str,
    limit: &'static str,
    default: Option<&'static str>,
}

impl Reader<'_> {
    /// Requests and limits of the sidecar. Each of the four is resolved on its own, so that setting
    /// one does not erase the others. Limits are set only where asked for.
    pub(super) fn resources(&mut self, pod: Option<&Pod<'_>>) -> (Quantities, Quantities) {
        let containers = pod
            .into_iter()
            .flat_map(|pod| pod.containers.iter().chain(&pod.init_containers));
        let own = containers
            .into_iter()
            .find(|container| container.name == PROXY_CONTAINER);
        let (own_requests, own_limits) = own
            .map(|own| (own.requests.clone(), own.limits.clone()))
            .unwrap_or_default();
        // Where resources are set for the pod as a whole, the sum of its containers' requests must
        // stay within; a default of ours could make the API server refuse the pod.
        let whole_pod = pod.is_some_and(|pod| pod.has_resources);
        let default = |quantity| (!whole_pod).then_some(quantity);
        let (cpu, cpu_limit) = self.resource(Sources {
            resource: "cpu",
            own_request: own_requests.cpu,
            own_limit: own_limits.cpu,
            request: names::PROXY_CPU,
            limit: names::PROXY_CPU_LIMIT,
            default: default(DEFAULT_CPU),
        });
        let (memory, memory_limit) = self.resource(Sources {
            resource: "memory",
            own_request: own_requests.memory,
            own_limit: own_limits.memory,
            request: names::PROXY_MEMORY,
            limit: names::PROXY_MEMORY_LIMIT,
            default: default(DEFAULT_MEMORY),
        });
        let requests = Quantities { cpu, memory };
        let limits = Quantities {
            cpu: cpu_limit,
            memory: memory_limit,
        };
        (requests, limits)
    }

    fn resource(&mut self, sources: Sources) -> (Option<String>, Option<String>) {
        let asked = self.insist(sources.request, quantity).map(str::to_owned);
        let asked_limit = self.insist(sources.limit, quantity).map(str::to_owned);
        let limit = sources.own_limit.or(asked_limit);
        let request = sources.own_request.or(asked);
        let Some(limit) = limit else {
            return (request.or(sources.default.map(str::to_owned)), None);
        };
        let exceeds = |request: &str| Quantity::parse(request) > Quantity::parse(&limit);
        match request {
            Some(request) if exceeds(&request) => {
                let resource = sources.resource;
                self.refused.push(BadAnnotation {
                    annotation: sources.limit.to_owned(),
                    reason: format!(
                        "the {resource} request {request:?} exceeds the limit {limit:?}"
                    ),
                });
                (Some(request), Some(limit))
            }
            Some(request) => (Some(request), Some(limit)),
            // A limit below our default is the request as well.
            None => match sources.default {
                Some(default) if exceeds(default) => (Some(limit.clone()), Some(limit)),
                default => (default.map(str::to_owned), Some(limit)),
            },
        }
    }
}

fn quantity(text: &str) -> Result<&str, String> {
    match Quantity::parse(text) {
        Some(_) => Ok(text),
        None => Err(format!("{text:?} is not a quantity such as 250m or 64Mi")),
    }
}
