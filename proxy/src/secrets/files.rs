//! Secrets that lie in files, and are read again when these change.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use weir_api::xds::{
    codec, envoy::extensions::transport_sockets::tls::v3 as pb, json::Descriptors,
};

use crate::{
    config::tls::{Secret, SecretFiles},
    convert,
};

/// How often files are looked at, at most: it costs a system call for each.
const PERIOD: Duration = Duration::from_secs(1);
const DISCOVERY_RESPONSE: &str = "type.googleapis.com/envoy.service.discovery.v3.DiscoveryResponse";

/// The files of a secret, and what they were when they were read.
#[derive(Debug)]
pub(super) struct Watched {
    origin: Origin,
    files: Vec<(PathBuf, Option<Stamp>)>,
    looked: Option<Instant>,
    /// What was wrong with them last, so that it is said once.
    trouble: Option<String>,
}

/// What says how files make a secret.
enum Origin {
    /// A message that names them.
    Message(Box<pb::Secret>),
    /// A file that holds messages, one of this name.
    DiscoveryResponse(PathBuf, String),
}

/// What tells a file from another that takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

// === impl Watched ===

impl Watched {
    /// The files that a message names, as they are now.
    pub(super) fn named_in(files: &SecretFiles) -> Self {
        Self {
            origin: Origin::Message(Box::new(files.message.clone())),
            files: stamped(&files.paths),
            looked: Some(Instant::now()),
            trouble: None,
        }
    }

    /// A file with a DiscoveryResponse, which was not read yet.
    pub(super) fn discovery_response(path: &Path, name: &str) -> Self {
        Self {
            origin: Origin::DiscoveryResponse(path.to_owned(), name.to_owned()),
            files: Vec::new(),
            looked: None,
            trouble: None,
        }
    }

    /// The secret anew, if it is time to look and a file has changed. What cannot be read may be
    /// half written, and is looked at again.
    pub(super) fn look(&mut self) -> Option<Arc<Secret>> {
        let now = Instant::now();
        if self.looked.is_some_and(|looked| now - looked < PERIOD) {
            return None;
        }
        self.looked = Some(now);
        let unchanged = |(path, stamp): &(PathBuf, Option<Stamp>)| *stamp == Stamp::of(path).ok();
        if !self.files.is_empty() && self.files.iter().all(unchanged) {
            return None;
        }
        match self.read() {
            Ok(secret) => {
                if self.trouble.take().is_some() {
                    tracing::info!(secret = secret.name, "a secret can be read again");
                }
                Some(secret)
            }
            Err(reason) => {
                if self.trouble.as_ref() != Some(&reason) {
                    tracing::warn!(
                        reason,
                        "a secret cannot be read from its files; what was there stays in force"
                    );
                    self.trouble = Some(reason);
                }
                None
            }
        }
    }

    fn read(&mut self) -> Result<Arc<Secret>, String> {
        // Taken before the files are read: what changes meanwhile is read once more.
        let (message, mut files) = match &self.origin {
            Origin::Message(message) => {
                let paths = self.files.iter().map(|(path, _)| path);
                ((**message).clone(), stamped(paths))
            }
            Origin::DiscoveryResponse(path, name) => {
                let file = stamped([path]);
                let found = find(path, name);
                let found = found.map_err(|reason| format!("{}: {reason}", path.display()))?;
                (found, file)
            }
        };
        let loaded = convert::secret(message).map_err(|error| error.to_string())?;
        if let (Origin::DiscoveryResponse(..), Some(named)) = (&self.origin, &loaded.files) {
            files.extend(stamped(&named.paths));
        }
        self.files = files;
        Ok(loaded.secret)
    }
}

fn stamped<'p>(paths: impl IntoIterator<Item = &'p PathBuf>) -> Vec<(PathBuf, Option<Stamp>)> {
    let stamp = |path: &PathBuf| (path.clone(), Stamp::of(path).ok());
    paths.into_iter().map(stamp).collect()
}

/// The secret of this name in a file with a DiscoveryResponse. What is wrong with the file is told
/// without what it holds.
fn find(path: &Path, name: &str) -> Result<pb::Secret, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let response = Descriptors::load().read(DISCOVERY_RESPONSE, &text);
    let response = response.map_err(|_| "is no DiscoveryResponse in YAML or JSON")?;
    let unreadable = |_| "holds what is no Secret";
    let response = codec::unpack_discovery_response(&response).map_err(unreadable)?;
    for any in &response.resources {
        let secret = codec::unpack_secret(any).map_err(unreadable)?;
        if secret.name == name {
            return Ok(secret);
        }
    }
    Err(format!("has no secret {name:?}"))
}

// === impl Stamp ===

impl Stamp {
    /// Of what the path leads to, through symbolic links.
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

// === impl Origin ===

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Message(_) => "Message { [redacted] }",
            Self::DiscoveryResponse(..) => "DiscoveryResponse { .. }",
        })
    }
}
