//! What runs in place of an image: images are never pulled, so each stands for a program of this
//! machine.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Container;
use weir_api::sidecar;

use crate::{
    command,
    error::{Error, Result},
};

/// Image of the built-in echo application.
pub const ECHO: &str = "weir.dev/echo";
/// Directory in every container that holds Weir's programs.
pub const PROGRAM_DIR: &str = "/.weir";

/// Weir's programs on this machine.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `weir`, which is also the echo application.
    pub weir: PathBuf,
    /// `weir-agent`, if it is there.
    pub agent: Option<PathBuf>,
    /// `weir-control`, if it is there.
    pub control: Option<PathBuf>,
}

/// What a container runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// `weir-agent` with the container's arguments.
    Agent,
    /// `weir-control` with the container's arguments.
    Control,
    /// The echo application with the container's arguments.
    Echo,
    /// The container's own command, which this machine has.
    Command,
    /// The echo application on the ports the container declares, in place of what the image holds.
    Substitute,
}

// === impl Programs ===

impl Programs {
    /// The programs beside `weir`, or those named by `WEIR_AGENT` and `WEIR_CONTROL`.
    #[must_use]
    pub fn beside(weir: PathBuf, named: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let beside = |name: &str| {
            let path = weir.parent()?.join(name);
            path.is_file().then_some(path)
        };
        let agent = named("WEIR_AGENT").or_else(|| beside("weir-agent"));
        let control = named("WEIR_CONTROL").or_else(|| beside("weir-control"));
        Self {
            weir,
            agent,
            control,
        }
    }

    /// Where `weir-agent` is.
    ///
    /// # Errors
    /// If it is nowhere.
    pub fn agent(&self) -> Result<&PathBuf> {
        self.agent
            .as_ref()
            .ok_or_else(|| self.missing("weir-agent", "WEIR_AGENT"))
    }

    /// Where `weir-control` is.
    ///
    /// # Errors
    /// If it is nowhere.
    pub fn control(&self) -> Result<&PathBuf> {
        self.control
            .as_ref()
            .ok_or_else(|| self.missing("weir-control", "WEIR_CONTROL"))
    }

    fn missing(&self, program: &'static str, variable: &'static str) -> Error {
        let beside = self.weir.parent().unwrap_or(&self.weir).to_owned();
        Error::NoProgram {
            program,
            beside,
            variable,
        }
    }
}

// === impl Program ===

impl Program {
    /// What `container` runs.
    #[must_use]
    pub fn of(container: &Container) -> Self {
        let image = container.image.as_deref().unwrap_or_default();
        let name = container.name.as_str();
        let command = container.command.as_deref().unwrap_or_default();
        if name == sidecar::INIT_CONTAINER || name == sidecar::PROXY_CONTAINER {
            return Self::Agent;
        }
        if repository(image) == ECHO {
            return Self::Echo;
        }
        match command.first() {
            Some(program) if program == "weir-control" => Self::Control,
            Some(program) if on_this_machine(program) => Self::Command,
            _ => Self::Substitute,
        }
    }
}

/// An image without tag and digest.
fn repository(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    match image.rsplit_once(':') {
        // A colon before a slash is that of a registry's port.
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

fn on_this_machine(program: &str) -> bool {
    if program.starts_with('/') {
        std::path::Path::new(program).is_file()
    } else {
        command::find(program).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(image: &str, command: &[&str]) -> Container {
        Container {
            name: "app".to_owned(),
            image: Some(image.to_owned()),
            command: Some(command.iter().map(|&part| part.to_owned()).collect()),
            ..Container::default()
        }
    }

    #[test]
    fn an_image_stands_for_a_program() {
        for (image, command, program) in [
            ("weir.dev/echo", &[][..], Program::Echo),
            ("weir.dev/echo:0.1@sha256:00", &[], Program::Echo),
            ("nginx:1.27", &[], Program::Substitute),
            (
                "localhost:5000/app",
                &["no-such-program-here"],
                Program::Substitute,
            ),
            ("busybox", &["sh", "-c", "true"], Program::Command),
        ] {
            assert_eq!(Program::of(&container(image, command)), program, "{image}");
        }
        let mut proxy = container("anything", &[]);
        proxy.name = sidecar::PROXY_CONTAINER.to_owned();
        assert_eq!(Program::of(&proxy), Program::Agent);
    }
}
