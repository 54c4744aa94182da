//! A pod's volumes as directories of the run directory, and its own files under `/etc`.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{
    Container, KeyToPath, ProjectedVolumeSource, Volume, VolumeProjection,
};

use super::environment::field_value;
use crate::{
    cluster::{Cluster, LivePod, tokens::Bearer},
    container::rootfs::Mount,
    dns,
    error::{Error, Result},
};

/// Files of a volume, or that it starts empty and can be written to.
enum Contents {
    Files(BTreeMap<String, Vec<u8>>),
    Empty,
}

/// Makes a pod's volumes and files under `dir`.
///
/// # Errors
/// Names the volume whose source is missing.
pub fn prepare(dir: &Path, cluster: &Cluster, live: &LivePod) -> Result<()> {
    let metadata = &live.pod.metadata;
    let (namespace, name) = (
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    );
    create_dir(dir)?;
    write(
        &dir.join("resolv.conf"),
        dns::resolv_conf(namespace).as_bytes(),
    )?;
    write(&dir.join("hosts"), hosts(live).as_bytes())?;
    write(&dir.join("hostname"), format!("{name}\n").as_bytes())?;
    for volume in live
        .pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten())
    {
        let dir = dir.join("volumes").join(&volume.name);
        create_dir(&dir)?;
        match contents(cluster, live, volume).map_err(|reason| Error::Pod {
            pod: format!("{namespace}/{name}"),
            reason: format!("volume {}: {reason}", volume.name),
        })? {
            Contents::Files(files) => {
                for (file, bytes) in files {
                    let file = dir.join(file);
                    if let Some(parent) = file.parent() {
                        create_dir(parent)?;
                    }
                    write(&file, &bytes)?;
                }
            }
            Contents::Empty => fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))
                .map_err(Error::file("set permissions of", &dir))?,
        }
    }
    Ok(())
}

/// What is mounted in `container`, given what [`prepare`] made under `dir`.
///
/// # Errors
/// Names a mount whose volume does not exist.
pub fn mounts(
    dir: &Path,
    live: &LivePod,
    container: &Container,
) -> std::result::Result<Vec<Mount>, String> {
    let own = |file: &str| Mount {
        source: dir.join(file),
        target: Path::new("/etc").join(file),
        read_only: false,
    };
    let mut mounts = vec![own("resolv.conf"), own("hosts"), own("hostname")];
    let volumes: Vec<&Volume> = live
        .pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten())
        .collect();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes
            .iter()
            .find(|volume| volume.name == mount.name)
            .ok_or_else(|| format!("volumeMounts {}: there is no such volume", mount.name))?;
        let mut source = dir.join("volumes").join(&mount.name);
        if let Some(path) = mount.sub_path.as_deref().filter(|path| !path.is_empty()) {
            source = below(&source, path)?;
        }
        let fixed =
            volume.config_map.is_some() || volume.secret.is_some() || volume.projected.is_some();
        mounts.push(Mount {
            source,
            target: PathBuf::from(&mount.mount_path),
            read_only: fixed || mount.read_only.unwrap_or_default(),
        });
    }
    Ok(mounts)
}

/// A path within a volume, made as a directory if nothing is there.
fn below(volume: &Path, path: &str) -> std::result::Result<PathBuf, String> {
    if Path::new(path)
        .components()
        .any(|part| !matches!(part, std::path::Component::Normal(_)))
    {
        return Err(format!("subPath {path:?}: must stay within the volume"));
    }
    let source = volume.join(path);
    if !source.exists() {
        fs::create_dir_all(&source).map_err(|error| format!("subPath {path:?}: {error}"))?;
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(&source, open).map_err(|error| format!("subPath {path:?}: {error}"))?;
    }
    Ok(source)
}

fn hosts(live: &LivePod) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    let spec = live.pod.spec.as_ref();
    let name = spec
        .and_then(|spec| spec.hostname.clone())
        .or_else(|| live.pod.metadata.name.clone());
    text.push_str(&format!("{} {}\n", live.ip, name.unwrap_or_default()));
    for alias in spec
        .iter()
        .flat_map(|spec| spec.host_aliases.iter().flatten())
    {
        let names = alias
            .hostnames
            .iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ");
        text.push_str(&format!("{} {names}\n", alias.ip));
    }
    text
}

/// Volumes of the machine itself and of storage systems start empty: nothing of the machine is
/// lent to a pod, and nothing is kept.
fn contents(
    cluster: &Cluster,
    live: &LivePod,
    volume: &Volume,
) -> std::result::Result<Contents, String> {
    let namespace = live.pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(source) = &volume.config_map {
        let found = cluster.config_map(namespace, &source.name);
        let data = present(found, source.optional, "ConfigMap", &source.name)?;
        return Ok(Contents::Files(select(data, source.items.as_deref())));
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let data = present(
            cluster.secret(namespace, name),
            source.optional,
            "Secret",
            name,
        )?;
        return Ok(Contents::Files(select(data, source.items.as_deref())));
    }
    if let Some(source) = &volume.downward_api {
        let mut files = BTreeMap::new();
        for item in source.items.iter().flatten() {
            if let Some(field) = &item.field_ref {
                let value = field_value(live, &field.field_path)?;
                files.insert(item.path.clone(), value.into_bytes());
            }
        }
        return Ok(Contents::Files(files));
    }
    match &volume.projected {
        Some(source) => projected(cluster, live, source).map(Contents::Files),
        None => Ok(Contents::Empty),
    }
}

fn projected(
    cluster: &Cluster,
    live: &LivePod,
    source: &ProjectedVolumeSource,
) -> std::result::Result<BTreeMap<String, Vec<u8>>, String> {
    let namespace = live.pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut files = BTreeMap::new();
    for projection in source.sources.iter().flatten() {
        let VolumeProjection {
            config_map,
            downward_api,
            secret,
            service_account_token,
            ..
        } = projection;
        if let Some(from) = config_map {
            let found = cluster.config_map(namespace, &from.name);
            let data = present(found, from.optional, "ConfigMap", &from.name)?;
            files.extend(select(data, from.items.as_deref()));
        }
        if let Some(from) = secret {
            let found = cluster.secret(namespace, &from.name);
            let data = present(found, from.optional, "Secret", &from.name)?;
            files.extend(select(data, from.items.as_deref()));
        }
        for item in downward_api
            .iter()
            .flat_map(|from| from.items.iter().flatten())
        {
            if let Some(field) = &item.field_ref {
                files.insert(
                    item.path.clone(),
                    field_value(live, &field.field_path)?.into_bytes(),
                );
            }
        }
        if let Some(token) = service_account_token {
            let text = token_of(cluster, live, token.audience.as_deref())?;
            files.insert(token.path.clone(), text.into_bytes());
        }
    }
    Ok(files)
}

/// A token of the pod's service account.
fn token_of(
    cluster: &Cluster,
    live: &LivePod,
    audience: Option<&str>,
) -> std::result::Result<String, String> {
    let account = field_value(live, "spec.serviceAccountName").unwrap_or_default();
    let metadata = &live.pod.metadata;
    let bearer = Bearer {
        namespace: metadata.namespace.as_deref().unwrap_or_default(),
        service_account: &account,
        pod: metadata.name.as_deref().unwrap_or_default(),
    };
    let tokens = cluster
        .tokens
        .as_ref()
        .ok_or("there is no key for tokens")?;
    tokens.token(bearer, audience)
}

fn present(
    found: Option<BTreeMap<String, Vec<u8>>>,
    optional: Option<bool>,
    kind: &str,
    name: &str,
) -> std::result::Result<BTreeMap<String, Vec<u8>>, String> {
    match found {
        Some(data) => Ok(data),
        None if optional == Some(true) => Ok(BTreeMap::new()),
        None => Err(format!("there is no {kind} {name}")),
    }
}

fn select(
    mut data: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
) -> BTreeMap<String, Vec<u8>> {
    match items {
        None => data,
        Some(items) => items
            .iter()
            .filter_map(|item| Some((item.path.clone(), data.remove(&item.key)?)))
            .collect(),
    }
}

fn create_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(Error::file("create", dir))
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(file, bytes).map_err(Error::file("write", file))
}
