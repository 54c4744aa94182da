//! A directory of Kubernetes manifests as a registry.
//!
//! Every `.yaml`, `.yml` and `.json` file of the directory itself is read, files of several
//! documents and lists included. Kinds that say nothing of traffic are skipped; others that are not
//! known are left out, too, but the log names each. The directory is looked at again and again
//! rather than watched through the kernel: that works on every file system, through the symbolic
//! links of a mounted ConfigMap, and tells a file that is still being written, because it differs
//! from one look to the next. Such a file waits; a file that does not parse keeps what it said
//! last, and is reported.

mod directory;
mod document;
mod endpoints;
mod legacy;
mod objects;

use std::{path::PathBuf, time::Duration};

pub use directory::Directory;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use crate::model::Event;

/// Time between two looks at the directory; a change is taken in at the second look that sees it.
pub const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Why a manifest, or the directory, was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The directory or a file cannot be read.
    #[error("{path}: {reason}")]
    Read {
        /// The directory or file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A document is not YAML or JSON, or not an object of its kind.
    #[error("{path}: document {document}: {field}: {reason}")]
    Document {
        /// The file.
        path: PathBuf,
        /// Which document of the file, from 1.
        document: usize,
        /// Path of the field, or `.` for the document as a whole.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Looks at the directory for ever and sends what changed.
///
/// Ends when nobody receives any more.
pub async fn watch(mut directory: Directory, events: mpsc::Sender<Vec<Event>>) {
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let look = tokio::task::spawn_blocking(move || {
            let changes = directory.refresh();
            (directory, changes)
        });
        let Ok((back, changes)) = look.await else {
            tracing::error!("looking at the manifests failed; changes are no longer seen");
            return;
        };
        directory = back;
        if !changes.is_empty() && events.send(changes).await.is_err() {
            return;
        }
    }
}
