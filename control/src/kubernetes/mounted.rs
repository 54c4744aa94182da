//! A serving certificate that somebody else renews, such as cert-manager: files of a mounted Secret,
//! read again when they change.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{Shared, trust::Source};
use crate::certificates::{Leaf, Serving, verify};

/// What `/ready` calls this.
const SUBJECT: &str = "certificate";
/// Time between two looks: a kubelet brings a renewed Secret within some two minutes.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);
/// The files, as cert-manager names them.
const FILES: [&str; 3] = ["tls.crt", "tls.key", "ca.crt"];

/// Serves by the files of a directory.
pub(crate) struct MountedCertificate {
    directory: PathBuf,
    shared: Shared,
    serving: Arc<Serving>,
    source: Source,
    /// What the files said at the last look.
    seen: Option<Result<[String; 3], String>>,
}

// === impl MountedCertificate ===

impl MountedCertificate {
    pub(crate) fn new(
        directory: &Path,
        shared: Shared,
        serving: Arc<Serving>,
        source: Source,
    ) -> Self {
        shared
            .health
            .unready(SUBJECT, "the files were not read yet");
        Self {
            directory: directory.to_owned(),
            shared,
            serving,
            source,
            seen: None,
        }
    }

    /// Never returns.
    pub(crate) async fn run(mut self) {
        loop {
            self.look();
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                Some(reply) = self.source.look_ups.recv() => {
                    self.look();
                    let _ = reply.send(());
                }
            }
        }
    }

    fn look(&mut self) {
        let files = read(&self.directory);
        if self.seen.as_ref() == Some(&files) {
            return;
        }
        match files.clone().and_then(|files| self.take(&files)) {
            Ok(()) => {
                self.shared.health.ready(SUBJECT);
                tracing::info!(directory = %self.directory.display(), "serving by new files");
            }
            Err(reason) => {
                let directory = self.directory.display();
                tracing::error!(%directory, reason, "cannot serve by the files");
                self.shared
                    .metrics
                    .ca_secret_valid
                    .store(0, Ordering::Relaxed);
                if self.serving.not_after().is_none() {
                    let reason = format!("--serving-cert-dir {directory}: {reason}");
                    self.shared.health.unready(SUBJECT, reason);
                }
            }
        }
        self.seen = Some(files);
    }

    fn take(&self, [certificate, key, ca]: &[String; 3]) -> Result<(), String> {
        let leaf = Leaf::parse(key, certificate).map_err(|reason| format!("tls.crt: {reason}"))?;
        let issued = leaf.issued();
        let name = leaf.names.first().map(String::as_str).unwrap_or_default();
        let now = (self.shared.clock)();
        verify::verify(&issued.certified.cert, ca, name, now)
            .map_err(|reason| format!("ca.crt does not accept tls.crt: {reason}"))?;
        self.serving.set(issued);
        if let Some(ends) = verify::ends(ca) {
            self.shared.metrics.set_ca_not_after(ends);
        }
        self.shared
            .metrics
            .ca_secret_valid
            .store(1, Ordering::Relaxed);
        self.source.bundle.send_replace(Some(ca.as_str().into()));
        Ok(())
    }
}

/// All files. They are small, and in memory on the node.
pub(super) fn read(directory: &Path) -> Result<[String; 3], String> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(directory.join(name));
        text.map_err(|error| format!("{name}: {error}"))
    };
    let [certificate, key, ca] = FILES;
    Ok([read(certificate)?, read(key)?, read(ca)?])
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{
        certificates::{
            rotation::{Origin, Policy},
            stored::Stored,
        },
        kubernetes::trust,
    };

    fn certificates() -> Stored {
        let policy = Policy {
            origin: Origin::Own,
            names: vec!["weir-control.weir-system.svc".to_owned()],
            ca_life: Duration::from_secs(100_000),
            serving_life: Duration::from_secs(10_000),
            workload_life: Duration::from_secs(1000),
        };
        policy.create(SystemTime::now()).expect("made")
    }

    fn write(directory: &Path, stored: &Stored) {
        let leaf = stored.serving.as_ref().expect("serving");
        let bundle = stored.bundle();
        for (name, text) in FILES.iter().zip([&leaf.pem, &leaf.key_pem, &bundle]) {
            std::fs::write(directory.join(name), text).expect("written");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn renewed_files_are_served_and_files_that_do_not_match_are_not() {
        let directory = tempfile::tempdir().expect("directory");
        let (shared, serving) = (Shared::default(), Arc::new(Serving::default()));
        let (source, trust) = trust::channel();
        let mounted =
            MountedCertificate::new(directory.path(), shared.clone(), serving.clone(), source);
        tokio::spawn(mounted.run());
        let settle = || tokio::time::sleep(INTERVAL * 2);
        settle().await;
        let reasons = shared.health.reasons().join("");
        assert!(reasons.contains("tls.crt: No such file"), "{reasons}");

        let first = certificates();
        write(directory.path(), &first);
        settle().await;
        assert_eq!(shared.health.reasons(), Vec::<String>::new());
        assert_eq!(trust.bundle().as_deref(), Some(&*first.bundle()));
        let chain = serving.chain();

        let second = certificates();
        std::fs::write(directory.path().join("ca.crt"), second.bundle()).expect("written");
        settle().await;
        assert_eq!(
            serving.chain(),
            chain,
            "what is served stays as long as it can"
        );
        write(directory.path(), &second);
        assert_eq!(trust.look_up().await.as_deref(), Some(&*second.bundle()));
        assert_ne!(serving.chain(), chain);
    }
}
