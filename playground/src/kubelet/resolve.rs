//! From a container of a pod spec to the process that stands for it.

use std::path::Path;

use k8s_openapi::api::core::v1::{Container, PodSecurityContext, SecurityContext};

use super::{environment, volumes};
use crate::{
    cluster::{Cluster, LivePod, endpoints, ports_of},
    container::{ContainerSpec, DEFAULT_CAPABILITIES, Identity, rootfs::Mount},
    error::{Error, Result},
    image::{PROGRAM_DIR, Program, Programs},
    netns,
};

/// User and group of containers whose spec names none: images say who they run as, and there are no
/// images here. The customary "nonroot".
const DEFAULT_ID: u32 = 65532;

/// Port names and numbers of protocols in which the server speaks first.
const SERVER_FIRST: [(&str, u16); 6] = [
    ("mysql", 3306),
    ("smtp", 25),
    ("smtp", 587),
    ("ftp", 21),
    ("ssh", 22),
    ("nats", 4222),
];

/// Where the pod's files are, and what its namespace is called.
pub struct Place<'a> {
    /// Directory of the pod.
    pub dir: &'a Path,
    /// Name of the pod's network namespace.
    pub netns: &'a str,
    /// What is mounted beside the volumes.
    pub lent: &'a [Mount],
}

/// What `container` becomes.
///
/// # Errors
/// Names the field that cannot be carried out, or the program that is missing.
pub fn resolve(
    programs: &Programs,
    cluster: &Cluster,
    live: &LivePod,
    container: &Container,
    place: &Place<'_>,
) -> Result<ContainerSpec> {
    let metadata = &live.pod.metadata;
    let pod = || {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("{}/{}", part(&metadata.namespace), part(&metadata.name))
    };
    let wrong = |reason: String| Error::Pod {
        pod: pod(),
        reason: format!("container {}: {reason}", container.name),
    };
    let env = environment::environment(cluster, live, container).map_err(wrong)?;
    let mut mounts = volumes::mounts(place.dir, live, container).map_err(wrong)?;
    mounts.extend(place.lent.iter().cloned());
    let program = Program::of(container);
    let (name, file) = match program {
        Program::Agent => ("weir-agent", programs.agent()?),
        Program::Control => ("weir-control", programs.control()?),
        Program::Echo | Program::Substitute | Program::Command => ("weir", &programs.weir),
    };
    // `weir` is in every container: calls and probes are made with it.
    for (name, file) in [(name, file), ("weir", &programs.weir)] {
        let target = Path::new(PROGRAM_DIR).join(name);
        if !mounts.iter().any(|mount| mount.target == target) {
            mounts.push(Mount {
                source: file.clone(),
                target,
                read_only: true,
            });
        }
    }
    let spec = live.pod.spec.as_ref();
    let hostname = spec
        .and_then(|spec| spec.hostname.clone())
        .or_else(|| metadata.name.clone());
    Ok(ContainerSpec {
        netns: netns::path(place.netns),
        hostname: hostname.unwrap_or_default(),
        scratch: place.dir.join("root"),
        mounts,
        argv: arguments(&program, name, cluster, live, container, &env),
        env,
        working_dir: container
            .working_dir
            .clone()
            .filter(|_| program == Program::Command)
            .map(Into::into),
        identity: identity(
            spec.and_then(|spec| spec.security_context.as_ref()),
            container.security_context.as_ref(),
        ),
    })
}

fn arguments(
    program: &Program,
    name: &str,
    cluster: &Cluster,
    live: &LivePod,
    container: &Container,
    env: &[(String, String)],
) -> Vec<String> {
    let expand = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter()
            .flatten()
            .map(|text| environment::expand(text, env))
            .collect()
    };
    let (command, args) = (expand(&container.command), expand(&container.args));
    let mut argv = vec![format!("{PROGRAM_DIR}/{name}")];
    match program {
        Program::Command => return [command, args].concat(),
        Program::Agent | Program::Control => {
            argv.extend(command.into_iter().skip(1));
            argv.extend(args);
        }
        Program::Echo => {
            argv.push("echo".to_owned());
            argv.extend(args);
        }
        Program::Substitute => {
            argv.push("echo".to_owned());
            argv.extend(substitute_ports(cluster, live, container));
        }
    }
    argv
}

/// Flags of the echo application that takes the place of `container`: the ports it declares, and
/// those that Services expect of the pod.
fn substitute_ports(cluster: &Cluster, live: &LivePod, container: &Container) -> Vec<String> {
    let mut ports: Vec<(String, u16)> = Vec::new();
    let mut add = |name: Option<&String>, port: u16| {
        if !ports.iter().any(|(_, known)| *known == port) {
            ports.push((name.cloned().unwrap_or_default(), port));
        }
    };
    for port in container.ports.iter().flatten() {
        if let Ok(number) = u16::try_from(port.container_port)
            && port.protocol.as_deref().unwrap_or("TCP") == "TCP"
        {
            add(port.name.as_ref(), number);
        }
    }
    // Ports that other containers declare are theirs; the first container takes the rest.
    let spec = live.pod.spec.as_ref();
    let first = spec
        .and_then(|spec| spec.containers.first())
        .map(|first| &first.name);
    if first == Some(&container.name) {
        let declared = |port: u16| {
            let others = spec.iter().flat_map(|spec| &spec.containers);
            others
                .flat_map(|other| other.ports.iter().flatten())
                .any(|other| u16::try_from(other.container_port) == Ok(port))
        };
        for service in &cluster.services {
            let selector = service
                .spec
                .as_ref()
                .and_then(|spec| spec.selector.as_ref());
            if !selector.is_some_and(|selector| endpoints::selects(selector, &live.pod))
                || service.metadata.namespace != live.pod.metadata.namespace
            {
                continue;
            }
            for port in ports_of(service) {
                let target = endpoints::target_port(port, &live.pod);
                if let Some(target) = target.filter(|target| !declared(*target)) {
                    add(port.name.as_ref(), target);
                }
            }
        }
    }
    let flag = |(name, port): (String, u16)| {
        let first = SERVER_FIRST
            .iter()
            .any(|(known, number)| port == *number || name.split('-').next() == Some(*known));
        format!("{}={port}", if first { "--server-first" } else { "--auto" })
    };
    if ports.is_empty() {
        return vec!["--idle".to_owned()];
    }
    ports.into_iter().map(flag).collect()
}

/// Who a container runs as, by its own and its pod's security context.
#[must_use]
pub fn identity(pod: Option<&PodSecurityContext>, container: Option<&SecurityContext>) -> Identity {
    let id = |number: i64| u32::try_from(number).ok();
    let of_container =
        |get: fn(&SecurityContext) -> Option<i64>| container.and_then(get).and_then(id);
    let of_pod = |get: fn(&PodSecurityContext) -> Option<i64>| pod.and_then(get).and_then(id);
    let user = of_container(|context| context.run_as_user)
        .or_else(|| of_pod(|context| context.run_as_user));
    let group = of_container(|context| context.run_as_group)
        .or_else(|| of_pod(|context| context.run_as_group));
    let group = group.unwrap_or(if user.is_some() { 0 } else { DEFAULT_ID });
    let mut groups: Vec<u32> = vec![group];
    groups.extend(of_pod(|context| context.fs_group));
    let supplemental = pod.and_then(|context| context.supplemental_groups.as_deref());
    groups.extend(
        supplemental
            .unwrap_or_default()
            .iter()
            .copied()
            .filter_map(id),
    );
    let capabilities = container.and_then(|context| context.capabilities.as_ref());
    let dropped = capabilities
        .and_then(|capabilities| capabilities.drop.as_deref())
        .unwrap_or_default();
    let added = capabilities
        .and_then(|capabilities| capabilities.add.as_deref())
        .unwrap_or_default();
    let is_dropped = |name: &str| {
        dropped
            .iter()
            .any(|dropped| dropped == "ALL" || dropped == name)
    };
    let mut kept: Vec<String> = DEFAULT_CAPABILITIES
        .iter()
        .filter(|name| !is_dropped(name))
        .map(|&name| name.to_owned())
        .chain(added.iter().cloned())
        .collect();
    if container.and_then(|context| context.privileged) == Some(true) {
        kept = vec!["ALL".to_owned()];
    }
    let escalation = container.and_then(|context| context.allow_privilege_escalation);
    Identity {
        uid: user.unwrap_or(DEFAULT_ID),
        gid: group,
        groups,
        capabilities: kept,
        allow_privilege_escalation: escalation.unwrap_or(true),
    }
}

#[cfg(test)]
mod tests;
