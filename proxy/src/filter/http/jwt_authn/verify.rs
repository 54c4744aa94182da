//! Whether a request has the tokens that are required of it.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{super::Decoding, worker::JwtWorker};
use crate::{
    config::http_filter::jwt_authn::{Allowance, JwtAuthn, JwtRequirement},
    jwt::Status,
};

/// One request's check.
pub(super) struct Verification<'c> {
    pub(super) config: &'c JwtAuthn,
    pub(super) worker: &'c JwtWorker,
    /// Since 1970.
    pub(super) now: Duration,
    /// What is told to other filters, by key.
    pub(super) said: Map<String, Value>,
    /// The route is to be chosen again.
    pub(super) clears_route: bool,
}

// === impl Verification ===

impl<'c> Verification<'c> {
    /// Whether what is required is there.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn verify(
        &mut self,
        requirement: &'c JwtRequirement,
        d: &mut Decoding<'_, 'c>,
    ) -> Result<(), Status> {
        match requirement {
            JwtRequirement::Nothing => Ok(()),
            JwtRequirement::Provider {
                provider,
                audiences,
            } => self.authenticate_by(*provider, audiences.as_deref(), d),
            JwtRequirement::Allow(allowance) => self.authenticate_by_any(*allowance, d),
            JwtRequirement::All(requirements) => {
                let mut requirements = requirements.iter();
                requirements.try_for_each(|requirement| self.verify(requirement, d))
            }
            JwtRequirement::Any {
                requirements,
                allow,
            } => self.verify_any(requirements, *allow, d),
        }
    }

    fn verify_any(
        &mut self,
        requirements: &'c [JwtRequirement],
        allow: Option<Allowance>,
        d: &mut Decoding<'_, 'c>,
    ) -> Result<(), Status> {
        // What is wrong with a token of the right issuer says more than that it is another's, and
        // that more than that there is none.
        let mut worst = Status::Missing;
        for requirement in requirements {
            let Err(status) = self.verify(requirement, d) else {
                return Ok(());
            };
            let says_little = matches!(status, Status::Missing | Status::UnknownIssuer);
            if !says_little || worst == Status::Missing {
                worst = status;
            }
        }
        match allow {
            Some(Allowance::MissingOrFailed) => Ok(()),
            Some(Allowance::Missing) if worst == Status::Missing => Ok(()),
            _ => Err(worst),
        }
    }
}
