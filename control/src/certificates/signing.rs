//! Who signs the certificates of workloads, and what goes with them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use weir_api::spiffe::SpiffeId;

use super::{Authority, CLOCK_SKEW, request::SigningRequest, stored, verify};

/// A CA that signs certificates of workloads.
#[derive(Debug, Clone)]
pub(crate) struct Signing {
    authority: Arc<Authority>,
    /// Root certificates that clients trust, PEM; those it comes from first.
    trusted: String,
}

// === impl Signing ===

impl Signing {
    /// A CA where clients trust this bundle.
    pub(crate) fn new(authority: Arc<Authority>, bundle: &str) -> Self {
        let own: Vec<_> = stored::blocks(authority.roots()).collect();
        let others = stored::blocks(bundle).filter(|block| !own.contains(block));
        let trusted = own.iter().cloned().chain(others).collect();
        Self { trusted, authority }
    }

    /// Root certificates that clients trust, PEM.
    #[cfg(test)]
    pub(crate) fn trusted(&self) -> &str {
        &self.trusted
    }

    /// When the CA that signs ends.
    pub(crate) fn not_after(&self) -> SystemTime {
        self.authority.life().not_after
    }

    /// When the first of the certificates that clients trust ends.
    pub(crate) fn trusted_until(&self) -> Option<SystemTime> {
        verify::ends(&self.trusted)
    }

    /// A certificate for the key of the request, in the name of this identity, with all that leads
    /// to a root. It is valid for clocks that run behind, too, and never longer than the CA.
    pub(crate) fn sign(
        &self,
        request: &SigningRequest,
        id: &SpiffeId,
        life: Duration,
        now: SystemTime,
    ) -> Result<Vec<String>, String> {
        let not_after = (now + life).min(self.not_after());
        let key = &request.public_key;
        let leaf = self
            .authority
            .issue_workload(key, id, now - CLOCK_SKEW, not_after)?;
        let mut chain = vec![leaf];
        chain.extend(self.authority.above());
        chain.push(self.trusted.clone());
        Ok(chain)
    }
}
