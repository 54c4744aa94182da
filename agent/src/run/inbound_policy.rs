//! The last inbound policy: the listeners of inbound connections as the control plane had them last,
//! kept in a directory that outlives the container. A sidecar that starts again begins with them, so
//! that a port which takes mutual TLS alone takes no plaintext while nobody answers.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::watch;
use weir_api::{
    names,
    xds::{
        DecodeError, codec,
        envoy::config::{
            bootstrap::v3::{Bootstrap, bootstrap::StaticResources},
            listener::v3::Listener,
        },
        google::protobuf::Any,
        type_url,
    },
};
use weir_proxy::server::Handle;

/// Name of the file: a `Bootstrap` of nothing but listeners, encoded.
const FILE: &str = "inbound-listeners.pb";
/// Far more than the listeners of a pod with a hundred ports, and little enough for a volume in memory.
const MOST: usize = 4 * 1024 * 1024;

/// The file with the last inbound policy.
#[derive(Debug, Clone)]
pub(super) struct InboundPolicy {
    directory: PathBuf,
    /// The listeners that there are, one a family.
    names: Vec<String>,
}

/// Why what was kept cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeptError {
    /// The file cannot be read.
    #[error("cannot be read")]
    Io(#[from] io::Error),
    /// It is not ours.
    #[error("has more than {MOST} bytes")]
    Size,
    /// It is not what is written here.
    #[error("does not decode")]
    Decode(#[from] DecodeError),
    /// A family would be without its policy.
    #[error("has no listener {0:?}")]
    Missing(String),
}

// === impl InboundPolicy ===

impl InboundPolicy {
    pub(super) fn new(directory: PathBuf, has_ipv6: bool) -> Self {
        let v6 = has_ipv6.then_some(names::V6_SUFFIX);
        let suffixes = std::iter::once("").chain(v6);
        Self {
            directory,
            names: suffixes
                .map(|suffix| format!("{}{suffix}", names::VIRTUAL_INBOUND))
                .collect(),
        }
    }

    /// Where it is kept.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// The listeners that were kept; empty if none were.
    pub(super) fn load(&self) -> Result<Vec<Listener>, KeptError> {
        let file = match File::open(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        let mut value = Vec::new();
        let most = u64::try_from(MOST).unwrap_or(u64::MAX);
        file.take(most.saturating_add(1)).read_to_end(&mut value)?;
        if value.len() > MOST {
            return Err(KeptError::Size);
        }
        let bootstrap = codec::unpack_bootstrap(&Any {
            type_url: type_url::BOOTSTRAP.to_owned(),
            value,
        })?;
        let listeners = bootstrap.static_resources.unwrap_or_default().listeners;
        let has = |name: &&String| listeners.iter().any(|it| it.name == **name);
        match self.names.iter().find(|name| !has(name)) {
            Some(name) => Err(KeptError::Missing(name.clone())),
            None => Ok(listeners),
        }
    }

    /// Writes down what the control plane says whenever it says something else, for as long as the
    /// process lives. `note` is empty once it has said anything.
    pub(super) async fn keep(self, handle: Handle, note: watch::Sender<String>) {
        let mut snapshots = handle.subscribe();
        let mut kept: Vec<Arc<Any>> = Vec::new();
        loop {
            let told = self.names.iter().map(|name| handle.told_listener(name));
            let same = |told: &[Arc<Any>]| told.iter().zip(&kept).all(|(a, b)| Arc::ptr_eq(a, b));
            if let Some(told) = told.collect::<Option<Vec<_>>>()
                && (kept.is_empty() || !same(&told))
            {
                note.send_if_modified(|note| !std::mem::take(note).is_empty());
                self.write_down(&told).await;
                kept = told;
            }
            if snapshots.changed().await.is_err() {
                return;
            }
        }
    }

    async fn write_down(&self, told: &[Arc<Any>]) {
        let (policy, told) = (self.clone(), told.to_vec());
        let written = tokio::task::spawn_blocking(move || {
            let listeners = told.iter().map(|any| codec::unpack_listener(any));
            let listeners = listeners.collect::<Result<Vec<_>, _>>();
            policy.store(listeners.map_err(io::Error::other)?)
        });
        let reason = match written.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        let file = self.path();
        tracing::warn!(
            reason,
            file = %file.display(),
            "the inbound policy is not kept; a restart begins with an older one"
        );
    }

    /// Whoever reads meanwhile, or after a crash, finds all of the old or all of the new.
    fn store(&self, listeners: Vec<Listener>) -> io::Result<()> {
        let bootstrap = Bootstrap {
            static_resources: Some(StaticResources {
                listeners,
                ..StaticResources::default()
            }),
            ..Bootstrap::default()
        };
        let bytes = codec::pack_bootstrap(&bootstrap).value;
        if bytes.len() > MOST {
            let reason = format!("{} bytes are more than {MOST}", bytes.len());
            return Err(io::Error::other(reason));
        }
        let new = self.directory.join(format!("{FILE}.new"));
        write_synced(&new, &bytes)?;
        fs::rename(&new, self.path())
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(name: &str) -> Listener {
        Listener {
            name: name.to_owned(),
            ..Listener::default()
        }
    }

    #[test]
    fn what_is_stored_is_loaded_and_what_is_broken_is_named() {
        let directory = tempfile::tempdir().expect("directory");
        let policy = InboundPolicy::new(directory.path().to_owned(), true);
        assert!(policy.load().expect("nothing yet").is_empty());

        let both = vec![listener("virtualInbound"), listener("virtualInbound_v6")];
        policy.store(both.clone()).expect("store");
        assert_eq!(policy.load().expect("kept"), both);
        policy.store(both.clone()).expect("store again");
        assert_eq!(fs::read_dir(directory.path()).expect("list").count(), 1);

        let whole = fs::read(policy.path()).expect("read");
        let cut = |bytes: usize| whole[..bytes].to_vec();
        for (bytes, named) in [
            (Vec::new(), "has no listener \"virtualInbound\""),
            (cut(whole.len() - 1), "does not decode"),
            (b"not a bootstrap".to_vec(), "does not decode"),
            (vec![0; MOST + 1], "more than"),
        ] {
            fs::write(policy.path(), &bytes).expect("write");
            let error = policy.load().expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        }

        policy
            .store(vec![listener("virtualInbound")])
            .expect("store");
        let error = policy.load().expect_err("one is missing").to_string();
        assert!(error.contains("virtualInbound_v6"), "{error}");
    }

    #[test]
    fn what_is_too_large_is_not_stored_and_the_old_stays() {
        let directory = tempfile::tempdir().expect("directory");
        let policy = InboundPolicy::new(directory.path().to_owned(), false);
        let small = vec![listener("virtualInbound")];
        policy.store(small.clone()).expect("store");
        let large = vec![listener(&"x".repeat(MOST))];
        policy.store(large).expect_err("too large");
        assert_eq!(policy.load().expect("kept"), small);
    }
}
