//! What can go wrong, each variant a different next step for the person.

use std::{io, path::PathBuf};

use weir_process::command::CommandError;

/// Why the playground could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A manifest that cannot be used.
    #[error("{file}: {reason}")]
    Manifest {
        /// File and, in a file of several documents, which one.
        file: String,
        /// Field path and what is wrong with it.
        reason: String,
    },
    /// The process may not do what a playground takes.
    #[error(
        "the playground needs root to make network namespaces, and this process is user {uid}; \
         run it with sudo, or in a container with --privileged"
    )]
    Permission {
        /// Effective user of this process.
        uid: u32,
    },
    /// Root, and still not allowed: a container without the capability, or a locked-down kernel.
    #[error(
        "this machine refuses a network namespace ({reason}); in a container, start it with \
         --privileged or --cap-add=SYS_ADMIN,NET_ADMIN"
    )]
    NoNamespaces {
        /// What the kernel or `ip` said.
        reason: String,
    },
    /// An external program is not installed.
    #[error("{program} is not installed; on Debian and Ubuntu: apt-get install {package}")]
    MissingProgram {
        /// Name of the program.
        program: String,
        /// Debian package that holds it.
        package: &'static str,
    },
    /// An external program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A file or directory could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// To be read after "cannot".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A system call failed.
    #[error("cannot {action}: {source}")]
    System {
        /// To be read after "cannot".
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program of Weir is not where it should be.
    #[error(
        "{program} is not beside {beside} nor named by {variable}; build it with `cargo build -p {program}`"
    )]
    NoProgram {
        /// Name of the program.
        program: &'static str,
        /// Directory that was searched.
        beside: PathBuf,
        /// Environment variable that may name it.
        variable: &'static str,
    },
    /// The admission webhook could not be asked, or said no.
    #[error("admission of pod {pod}: {reason}")]
    Admission {
        /// `namespace/name` of the pod.
        pod: String,
        /// Why.
        reason: String,
    },
    /// A pod that did not start.
    #[error("pod {pod}: {reason}")]
    Pod {
        /// `namespace/name` of the pod.
        pod: String,
        /// What failed, with where to read more.
        reason: String,
    },
}

/// `Result` with the playground's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

// === impl Error ===

impl Error {
    /// Whether the person's input is at fault, rather than the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Manifest { .. })
    }

    /// Wraps an error of a file operation.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }

    /// Wraps an error of a system call.
    pub(crate) fn system<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |source| Self::System {
            action,
            source: source.into(),
        }
    }
}
