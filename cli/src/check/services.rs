//! What Services ask for that sidecars do not do.

use k8s_openapi::api::core::v1::Service;

use super::{
    facts::{Facts, name_of},
    finding::Finding,
    nodes::shorten,
};

const CHECK: &str = "services";
/// What the API server writes where nobody says how long an affinity lasts.
const DEFAULT_TIMEOUT_SECONDS: i32 = 10_800;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let services = match &facts.services {
        Err(unread) => return vec![unread.finding(CHECK)],
        Ok(services) => services,
    };
    let timed: Vec<String> = services.iter().filter_map(timed_affinity).collect();
    if timed.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = timed.iter().map(String::as_str).collect();
    vec![Finding::warning(
        CHECK,
        format!(
            "sessionAffinityConfig.clientIP.timeoutSeconds is not followed by sidecars: {}",
            shorten(&names)
        ),
        "through a sidecar a client stays with its pod for as long as the Service's pods are the same; \
         where calls must move on after the timeout, leave the Service's port out of capture by the \
         annotation weir.dev/exclude-outbound-ports of its clients",
    )]
}

/// The name of a Service whose affinity is to last for a time of its own, and the time.
fn timed_affinity(service: &Service) -> Option<String> {
    let spec = service.spec.as_ref()?;
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref()?;
    let seconds = config.client_ip.as_ref()?.timeout_seconds?;
    if seconds == DEFAULT_TIMEOUT_SECONDS {
        return None;
    }
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    Some(format!("{namespace}/{} ({seconds} s)", name_of(service)))
}
