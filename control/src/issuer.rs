//! Issues certificates to workloads. A workload shows its token and proves that it has a key; the
//! name in its certificate is that of the token's service account, and nothing else that it says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout},
};
use weir_api::{ca::CertificateRequest, spiffe::TrustDomain, xds::google::protobuf::value::Kind};
use weir_discovery::xds::Identity;

use crate::certificates::{Signing, SigningRequest};

mod quotas;
mod refusal;
mod service;

use quotas::Quotas;
pub(crate) use refusal::{Reason, Refusal};
pub(crate) use service::CertificateAuthority;

/// How long a request waits for its turn to be signed.
const BUSY: Duration = Duration::from_secs(5);
/// Metadata of a request by which a client names one of several authorities.
const CERT_SIGNER: &str = "CertSigner";
/// Metadata of a request by which a client asks in somebody else's name.
const IMPERSONATED: &str = "ImpersonatedIdentity";

/// Issues certificates to workloads.
#[derive(Debug)]
pub(crate) struct Issuer {
    trust_domain: TrustDomain,
    /// How long a certificate lives where the workload asks for no less.
    life: Duration,
    signer: ArcSwap<Signer>,
    /// Signing takes a processor, for some milliseconds where the CA's key is a large one of RSA.
    processors: Semaphore,
    quotas: Quotas,
    counts: Counts,
}

/// Who signs.
#[derive(Debug)]
enum Signer {
    /// Nobody knows yet.
    Unknown,
    /// Nobody here.
    Absent,
    Known(Signing),
}

/// What was issued and refused.
#[derive(Debug, Default)]
struct Counts {
    issued: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
}

// === impl Issuer ===

impl Issuer {
    /// An issuer of identities of this trust domain, whose certificates live so long at most.
    pub(crate) fn new(trust_domain: TrustDomain, life: Duration) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            trust_domain,
            life,
            signer: ArcSwap::from_pointee(Signer::Unknown),
            processors: Semaphore::new(processors),
            quotas: Quotas::default(),
            counts: Counts::default(),
        }
    }

    /// Has this CA sign from now on.
    pub(crate) fn set(&self, signing: Signing) {
        self.signer.store(Arc::new(Signer::Known(signing)));
    }

    /// Says that there is no CA here.
    pub(crate) fn set_absent(&self) {
        self.signer.store(Arc::new(Signer::Absent));
    }

    /// Issues a certificate, and gives the chain to a root.
    pub(crate) async fn issue(
        &self,
        identity: &Identity,
        request: &CertificateRequest,
        now: SystemTime,
    ) -> Result<Vec<String>, Refusal> {
        let pod = identity.pod.as_deref().unwrap_or_default();
        let asker = format!("{identity}/{pod}");
        let turn = self.quotas.take(&asker, Instant::now());
        let _turn = turn.map_err(|wait| Refusal::Quota(identity.to_string(), wait))?;
        check_metadata(request)?;
        let id = self
            .trust_domain
            .id(&identity.namespace, &identity.service_account)?;
        let life = self.life(request.validity_duration);
        let permit = timeout(BUSY, self.processors.acquire()).await;
        let _permit = permit.map_err(|_| Refusal::Busy)?;
        let (signer, csr) = (self.signer.load_full(), request.csr.clone());
        let signed = spawn_blocking(move || {
            let signing = match &*signer {
                Signer::Unknown => return Err(Refusal::NotYet),
                Signer::Absent => return Err(Refusal::NoAuthority),
                Signer::Known(signing) => signing,
            };
            let request = SigningRequest::parse(&csr)?;
            if let Some(asked) = request.names.iter().find(|name| **name != id.as_str()) {
                return Err(Refusal::ForeignName {
                    asked: asked.clone(),
                    own: id.to_string(),
                });
            }
            if signing.not_after() <= now {
                return Err(Refusal::Ended);
            }
            signing
                .sign(&request, &id, life, now)
                .map_err(Refusal::Sign)
        });
        signed
            .await
            .unwrap_or_else(|error| Err(Refusal::Sign(error.to_string())))
    }

    /// How long a certificate is to live for which so many seconds were asked.
    fn life(&self, asked: i64) -> Duration {
        match u64::try_from(asked) {
            Ok(0) | Err(_) => self.life,
            Ok(seconds) => Duration::from_secs(seconds).min(self.life),
        }
    }

    fn count(&self, outcome: &Result<Vec<String>, Refusal>) {
        let counter = match outcome {
            Ok(_) => &self.counts.issued,
            Err(refusal) => &self.counts.refused[refusal.reason() as usize],
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Certificates that were issued.
    pub(crate) fn issued(&self) -> u64 {
        self.counts.issued.load(Ordering::Relaxed)
    }

    /// Certificates that were not, by reason.
    pub(crate) fn refused(&self) -> [(&'static str, u64); Reason::ALL.len()] {
        Reason::ALL.map(|reason| {
            let count = &self.counts.refused[reason as usize];
            (reason.word(), count.load(Ordering::Relaxed))
        })
    }

    /// What is trusted, as workloads are told.
    #[cfg(test)]
    pub(crate) fn trusted(&self) -> Option<String> {
        match &**self.signer.load() {
            Signer::Known(signing) => Some(signing.trusted().to_owned()),
            Signer::Unknown | Signer::Absent => None,
        }
    }

    /// When the first of the root certificates that clients trust ends.
    pub(crate) fn trusted_until(&self) -> Option<SystemTime> {
        match &**self.signer.load() {
            Signer::Known(signing) => signing.trusted_until(),
            Signer::Unknown | Signer::Absent => None,
        }
    }
}

/// Refuses what would change whose certificate it is, or who signs it. All else changes nothing.
fn check_metadata(request: &CertificateRequest) -> Result<(), Refusal> {
    let fields = request.metadata.as_ref().map(|metadata| &metadata.fields);
    for name in [IMPERSONATED, CERT_SIGNER] {
        let value = fields.and_then(|fields| fields.get(name)?.kind.as_ref());
        // Istio's agents always send the signer, empty where they want none.
        match value {
            None | Some(Kind::NullValue(_)) => {}
            Some(Kind::StringValue(text)) if text.is_empty() => {}
            Some(_) => return Err(Refusal::Metadata(name)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
