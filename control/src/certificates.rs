//! The control plane's certificates: a CA kept in a directory, and a serving certificate that is
//! issued from it at start, kept in memory only and renewed at half its life.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use std::{path::Path, sync::Arc};
//! use weir_control::certificates::Certificates;
//!
//! let names = ["weir-control.weir-system.svc".to_owned(), "127.0.0.1".to_owned()];
//! let certificates = Arc::new(Certificates::open(Path::new("/var/lib/weir"), &names)?);
//! // `/var/lib/weir/root-cert.pem` is what clients trust; its text is also at hand:
//! let bundle = certificates.root_pem().to_owned();
//! // One configuration per kind of server. All serve the renewed certificate by themselves.
//! let webhook = certificates.serving().server_config(&[b"h2", b"http/1.1"]);
//! let xds = certificates.serving().server_config(&[b"h2"]);
//! tokio::spawn(async move { certificates.keep_fresh().await });
//! # let _ = (bundle, webhook, xds);
//! # Ok(())
//! # }
//! ```

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use weir_api::sidecar::CA_FILE;

mod authority;
mod files;
mod leaf;
mod request;
pub(crate) mod rotation;
mod serving;
mod signing;
pub(crate) mod stored;
pub(crate) mod verify;

pub(crate) use authority::Authority;
pub(crate) use leaf::{Leaf, Life};
pub(crate) use request::{RequestError, SigningRequest};
pub use serving::{Issued, Serving};
pub(crate) use signing::Signing;

/// File with the CA's key and certificate, readable by the owner only.
const AUTHORITY_FILE: &str = "ca.pem";
/// Life of a serving certificate. Renewal at half of it leaves two weeks to notice that it fails.
const SERVING_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How far the start of validity lies in the past, for clients whose clocks run behind.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);
/// Longest time between two looks at the clock: a machine may sleep, or its clock may be set.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Time until a failed renewal is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// A CA and the certificate that is served now.
#[derive(Debug)]
pub struct Certificates {
    authority: Arc<Authority>,
    names: Vec<String>,
    serving: Arc<Serving>,
    renew_at: Mutex<SystemTime>,
}

/// Certificates that cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file or directory cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The CA's file does not hold a CA. It is not replaced, since clients may trust what it holds.
    #[error("{path}: {reason}; remove the file to have a new CA made")]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate cannot be issued, most likely because a name is no host name.
    #[error("cannot issue a certificate for {names:?}: {reason}")]
    Issue {
        /// Host names and addresses it should be valid for.
        names: Vec<String>,
        /// What is wrong.
        reason: String,
    },
}

// === impl Certificates ===

impl Certificates {
    /// Loads the CA from `directory`, or makes one there, writes its certificate to
    /// `root-cert.pem` beside it, and issues a serving certificate for `names` (host names and IP
    /// addresses). Several processes may open one directory at the same time.
    pub fn open(directory: &Path, names: &[String]) -> Result<Self, CertificateError> {
        Self::open_at(directory, names, SystemTime::now())
    }

    fn open_at(
        directory: &Path,
        names: &[String],
        now: SystemTime,
    ) -> Result<Self, CertificateError> {
        let authority = Authority::open(&directory.join(AUTHORITY_FILE), now)?;
        files::write(
            &directory.join(CA_FILE),
            authority.pem(),
            files::Access::Everyone,
        )?;
        let serving = Arc::new(Serving::default());
        serving.set(issue(&authority, names, now)?);
        Ok(Self {
            authority: Arc::new(authority),
            names: names.to_vec(),
            serving,
            renew_at: Mutex::new(now + SERVING_LIFE / 2),
        })
    }

    /// The CA's certificate: what clients trust, and the webhook configuration's `caBundle`.
    pub fn root_pem(&self) -> &str {
        self.authority.pem()
    }

    /// The CA, for certificates of workloads.
    pub(crate) fn signing(&self) -> Signing {
        Signing::new(self.authority.clone(), self.root_pem())
    }

    /// What servers serve.
    pub fn serving(&self) -> &Arc<Serving> {
        &self.serving
    }

    /// Renews the serving certificate whenever half of its life is over. Handshakes under way and
    /// open connections keep the one they began with. Never returns.
    pub async fn keep_fresh(&self) {
        loop {
            let wait = match self.renew_if_due(SystemTime::now()) {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::error!(%error, "cannot renew the serving certificate");
                    RETRY
                }
            };
            tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
        }
    }

    /// Renews the serving certificate if it is time, and says how long it is until it is.
    fn renew_if_due(&self, now: SystemTime) -> Result<Duration, CertificateError> {
        // Nothing panics while it is held.
        let mut renew_at = self.renew_at.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = renew_at.duration_since(now).unwrap_or_default();
        if !wait.is_zero() {
            return Ok(wait);
        }
        self.serving.set(issue(&self.authority, &self.names, now)?);
        *renew_at = now + SERVING_LIFE / 2;
        tracing::info!("renewed the serving certificate");
        Ok(SERVING_LIFE / 2)
    }
}

fn issue(
    authority: &Authority,
    names: &[String],
    now: SystemTime,
) -> Result<Issued, CertificateError> {
    let wrong = |reason| CertificateError::Issue {
        names: names.to_vec(),
        reason,
    };
    let not_after = now + SERVING_LIFE;
    let leaf = authority.issue(names, now - CLOCK_SKEW, not_after);
    leaf.map(|leaf| leaf.issued()).map_err(wrong)
}

#[cfg(test)]
mod tests;
