//! Whose programs run in the containers that are ours by name.
//!
//! The init container gets root and NET_ADMIN from the injector, and policies of a cluster may let
//! containers of these names do what others may not. So their program is Weir's, or one that the
//! administrator lists.

use serde_json::Value;
use weir_api::sidecar::{INIT_CONTAINER, PROXY_CONTAINER};

use super::InjectError;
use crate::{Config, merge::AUTO_IMAGES};

/// Refuses an image or command that a pod's author gives a container of ours.
pub(super) fn check(pod: &Value, config: &Config) -> Result<(), InjectError> {
    for list in ["initContainers", "containers"] {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        for container in containers {
            let ours = [INIT_CONTAINER, PROXY_CONTAINER];
            let name = ours.into_iter().find(|name| container["name"] == *name);
            if let Some(name) = name {
                check_container(container, name, config)?;
            }
        }
    }
    Ok(())
}

fn check_container(
    container: &Value,
    name: &'static str,
    config: &Config,
) -> Result<(), InjectError> {
    // What is no string is the API server's to refuse.
    let image = container["image"].as_str().unwrap_or_default();
    if !AUTO_IMAGES.contains(&image) && !config.allows_image(image) {
        return Err(InjectError::Image {
            name,
            image: image.to_owned(),
        });
    }
    let command = container["command"].as_array();
    let has_command = command.is_some_and(|words| !words.is_empty());
    if has_command && !config.lists_image(image) {
        return Err(InjectError::Command { name });
    }
    Ok(())
}
