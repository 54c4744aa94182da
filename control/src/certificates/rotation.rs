//! When certificates are renewed and the CA is replaced.
//!
//! A CA is replaced in phases, so that no client meets a certificate that it cannot verify: at half
//! of its life the next CA is made and told to clients beside it; once they had time to hear of it,
//! it signs; when the last certificate of the old one has ended, clients are told of it no more.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Authority, CLOCK_SKEW, Leaf,
    stored::{Previous, Stored},
};

/// Time for clients to hear of the next CA before it signs: a kubelet brings a changed ConfigMap
/// into its pods within some two minutes, and one that was cut off has time to come back.
const DISTRIBUTION: Duration = Duration::from_secs(3600);

/// Where CAs come from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// They are made here.
    Own,
    /// From the user, who gives one, or none that could be used, and why.
    Given(Result<Arc<Authority>, String>),
}

/// What certificates are to be like.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) origin: Origin,
    /// Host names and addresses of the serving certificate.
    pub(crate) names: Vec<String>,
    pub(crate) ca_life: Duration,
    pub(crate) serving_life: Duration,
    /// Longest life of the certificates of workloads.
    pub(crate) workload_life: Duration,
}

/// What somebody asked for by an annotation of the Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Another serving certificate, now.
    ServingCertificate,
    /// Another CA, beginning now.
    Authority,
}

/// What was done, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// A new CA signs, and none is trusted beside it.
    Made,
    /// The serving certificate was issued anew.
    Issued,
    /// The next CA was made.
    Prepared,
    /// The next CA signs.
    Promoted,
    /// CAs of the past are trusted no more.
    Retired,
}

// === impl Policy ===

impl Policy {
    /// A CA and a certificate, where there are none.
    pub(crate) fn create(&self, now: SystemTime) -> Result<Stored, String> {
        let active = self.authority(now)?;
        let serving = self.issue(&active, &self.names, now)?;
        Ok(Stored {
            active,
            serving: Some(serving),
            next: None,
            next_since: None,
            previous: None,
        })
    }

    /// Does what is due. `announced` says whether the webhook configurations have the bundle.
    pub(crate) fn advance(
        &self,
        stored: &Stored,
        asked: Option<Asked>,
        announced: bool,
        now: SystemTime,
    ) -> Result<Option<(Stored, Vec<Change>)>, String> {
        let mut new = stored.clone();
        let mut changes = Vec::new();
        let ended = new.active.life().not_after <= now;
        if ended && new.next.is_none() {
            new.active = self.authority(now)?;
            (new.serving, new.previous) = (None, None);
            changes.push(Change::Made);
        }
        if let Some(previous) = &new.previous
            && previous.until <= now
        {
            new.previous = None;
            changes.push(Change::Retired);
        }
        if let Some(next) = &new.next
            && self.promotes(&new, next, announced, now)
        {
            let next = next.clone();
            new.previous = Some(self.retire(&new, now));
            (new.active, new.next, new.serving) = (next, None, None);
            new.next_since = None;
            changes.push(Change::Promoted);
        }
        let next = match changes.contains(&Change::Promoted) {
            true => None,
            false => self.successor(&new, asked, now)?,
        };
        if let Some(next) = next {
            (new.next, new.next_since) = (Some(next), Some(now));
            changes.push(Change::Prepared);
        }
        if let Some(names) = self.names_to_issue(new.serving.as_ref(), asked, now) {
            new.serving = Some(self.issue(&new.active, &names, now)?);
            changes.push(Change::Issued);
        }
        Ok((!changes.is_empty()).then_some((new, changes)))
    }

    /// A CA, where there is none to go on with.
    fn authority(&self, now: SystemTime) -> Result<Arc<Authority>, String> {
        match &self.origin {
            Origin::Own => Authority::create(now, self.ca_life).map(Arc::new),
            Origin::Given(given) => given.clone(),
        }
    }

    /// The CA that is to sign next, if that is another than was known.
    fn successor(
        &self,
        stored: &Stored,
        asked: Option<Asked>,
        now: SystemTime,
    ) -> Result<Option<Arc<Authority>>, String> {
        match &self.origin {
            Origin::Own => {
                let half = stored.active.life().half();
                let due = half <= now || asked == Some(Asked::Authority);
                let due = due && stored.next.is_none();
                due.then(|| Authority::create(now, self.ca_life).map(Arc::new))
                    .transpose()
            }
            Origin::Given(Ok(given)) => {
                let known = [Some(&stored.active), stored.next.as_ref()];
                let is_known = known.into_iter().flatten().any(|it| it.is(given));
                Ok((!is_known).then(|| given.clone()))
            }
            // What there is goes on; who reads the files says what is wrong with them.
            Origin::Given(Err(_)) => Ok(None),
        }
    }

    /// Since when clients are told of the next CA.
    fn told(stored: &Stored, next: &Authority) -> SystemTime {
        stored.next_since.unwrap_or(next.life().made)
    }

    /// How long nothing will be due.
    pub(crate) fn wait(&self, stored: &Stored, now: SystemTime) -> Duration {
        let ca = stored.active.life();
        let next = match &stored.next {
            Some(next) => Self::told(stored, next) + self.distribution(),
            None if matches!(self.origin, Origin::Given(_)) => ca.not_after,
            None => ca.half(),
        };
        let serving = stored.serving.as_ref().map_or(now, |leaf| leaf.life.half());
        let previous = stored.previous.as_ref().map(|previous| previous.until);
        let due = [Some(next), Some(serving), Some(ca.not_after), previous];
        let due = due.into_iter().flatten().min().unwrap_or(now);
        due.duration_since(now).unwrap_or_default()
    }

    fn promotes(
        &self,
        stored: &Stored,
        next: &Authority,
        announced: bool,
        now: SystemTime,
    ) -> bool {
        // Whose files are older than another replica's waits for the newer ones.
        let is_wanted = match &self.origin {
            Origin::Given(Ok(given)) => next.is(given),
            Origin::Given(Err(_)) | Origin::Own => true,
        };
        let ends = stored.active.life().not_after;
        let heard = Self::told(stored, next) + self.distribution() <= now;
        // Where somebody keeps the bundle from being written, waiting on makes it no better.
        let last = ends <= now + self.serving_life;
        ends <= now || (is_wanted && heard && (announced || last))
    }

    fn distribution(&self) -> Duration {
        DISTRIBUTION.min(self.serving_life / 8)
    }

    /// The names of the certificate to issue, if one is to be issued.
    fn names_to_issue(
        &self,
        leaf: Option<&Leaf>,
        asked: Option<Asked>,
        now: SystemTime,
    ) -> Option<Vec<String>> {
        let own = || Some(self.names.clone());
        let Some(leaf) = leaf else { return own() };
        if leaf.life.half() <= now || asked == Some(Asked::ServingCertificate) {
            return own();
        }
        // Replicas of two versions may want different names while one takes over from the other.
        // Each adds its own, so that they do not undo each other's work.
        (!leaf.is_for(&self.names)).then(|| {
            let all = self.names.iter().chain(&leaf.names);
            let all: std::collections::BTreeSet<_> = all.cloned().collect();
            all.into_iter().collect()
        })
    }

    /// The CA that signs, and those before it, as CAs of the past.
    fn retire(&self, stored: &Stored, now: SystemTime) -> Previous {
        let ends = stored.active.life().not_after;
        let served = stored.serving.as_ref();
        let served = served.map_or(stored.active.life().made, |leaf| leaf.life.not_after);
        // A replica that hears of this late signs a little longer.
        let workloads = now + self.workload_life + self.distribution();
        let until = served.max(workloads).min(ends);
        match &stored.previous {
            None => Previous {
                pem: stored.active.roots().to_owned(),
                until,
            },
            Some(previous) => Previous {
                pem: format!("{}{}", previous.pem, stored.active.roots()),
                until: until.max(previous.until),
            },
        }
    }

    fn issue(&self, active: &Authority, names: &[String], now: SystemTime) -> Result<Leaf, String> {
        let not_after = (now + self.serving_life).min(active.life().not_after);
        active
            .issue(names, now - CLOCK_SKEW, not_after)
            .map_err(|reason| format!("cannot issue a certificate for {names:?}: {reason}"))
    }
}

#[cfg(test)]
mod tests;
