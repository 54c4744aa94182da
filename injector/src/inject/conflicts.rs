//! What in a pod gets in the sidecar's way.

use weir_api::{identity, ports};

use crate::{config::SidecarKind, pod::Pod, settings::Settings};

/// Ports the sidecar listens on in the pod.
const SIDECAR_PORTS: [u16; 6] = [
    ports::ADMIN,
    ports::OUTBOUND,
    ports::INBOUND,
    ports::STATUS,
    ports::READINESS,
    ports::PROMETHEUS,
];

/// Warnings about containers that get in the sidecar's way.
pub(super) fn conflicts(pod: &Pod<'_>, settings: &Settings) -> Vec<String> {
    let sidecars = pod
        .init_containers
        .iter()
        .filter(|container| container.is_sidecar());
    let mut warnings = Vec::new();
    for container in pod
        .containers
        .iter()
        .chain(sidecars)
        .filter(|container| !container.is_ours())
    {
        let name = container.name;
        let run_as = container.run_as.or(pod.run_as);
        let user = run_as
            .user
            .filter(|user| settings.capture.proxy_uids.contains(user));
        let group = run_as
            .group
            .filter(|group| settings.capture.proxy_gids.contains(group));
        if user.is_some() || group.is_some() {
            let id = user.or(group).unwrap_or(identity::PROXY_UID);
            warnings.push(format!(
                "container {name:?} runs as {id}, the sidecar's own user or group, so its outbound \
                 connections are not captured"
            ));
        }
        for port in container.ports.iter().map(|port| port.container_port) {
            if SIDECAR_PORTS.contains(&port) {
                warnings.push(format!(
                    "container {name:?} declares port {port}, which the sidecar uses"
                ));
            }
        }
    }
    let ends = ![None, Some("Always")].contains(&pod.restart_policy);
    if ends && settings.sidecar == SidecarKind::Classic {
        warnings
            .push("the pod is meant to end, and never will beside a classic sidecar".to_owned());
    }
    warnings
}
