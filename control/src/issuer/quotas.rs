//! What one identity may ask for, so that none keeps the control plane busy.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Time in which an identity earns one certificate. A sidecar takes two a day.
const PERIOD: Duration = Duration::from_secs(1);
/// Certificates that an identity may have at once: a sidecar that crashes again and again asks once
/// a start, and a token that is bound to no pod may be shared by some.
const BURST: u32 = 20;
/// Requests of an identity under way at a time.
const UNDER_WAY: u32 = 4;
/// Identities that are kept in mind, some 100 bytes each: more than come back in a burst's time.
const KEPT: usize = 8192;

/// What identities asked for of late.
#[derive(Debug, Default)]
pub(super) struct Quotas(Mutex<HashMap<String, Use>>);

/// What one identity asked for of late.
#[derive(Debug, Clone, Copy)]
struct Use {
    /// When all that it asked for will be earned.
    earned: Instant,
    under_way: u32,
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    quotas: &'a Quotas,
    identity: String,
}

// === impl Quotas ===

impl Quotas {
    /// Takes a turn.
    ///
    /// # Errors
    /// There is none, and how long to wait for one.
    pub(super) fn take(&self, identity: &str, now: Instant) -> Result<Turn<'_>, Duration> {
        let mut kept = self.lock();
        if kept.len() >= KEPT {
            kept.retain(|_, it| it.earned > now || it.under_way > 0);
        }
        if kept.len() >= KEPT && !kept.contains_key(identity) {
            return Err(PERIOD);
        }
        let it = kept.entry(identity.to_owned()).or_insert(Use {
            earned: now,
            under_way: 0,
        });
        let earned = it.earned.max(now) + PERIOD;
        let wait = earned.saturating_duration_since(now + PERIOD * BURST);
        if !wait.is_zero() {
            return Err(wait);
        }
        if it.under_way >= UNDER_WAY {
            return Err(PERIOD);
        }
        it.earned = earned;
        it.under_way += 1;
        Ok(Turn {
            quotas: self,
            identity: identity.to_owned(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Use>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Turn ===

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(it) = self.quotas.lock().get_mut(&self.identity) {
            it.under_way -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_has_a_burst_and_then_what_it_earns_and_others_lose_nothing() {
        let (quotas, start) = (Quotas::default(), Instant::now());
        for _ in 0..BURST {
            quotas.take("a", start).expect("a turn");
        }
        assert_eq!(quotas.take("a", start).expect_err("none"), PERIOD);
        quotas.take("b", start).expect("a turn");
        quotas.take("a", start + PERIOD).expect("earned");
        quotas.take("a", start + PERIOD).expect_err("none");
    }

    #[test]
    fn so_many_are_under_way_and_no_more() {
        let (quotas, now) = (Quotas::default(), Instant::now());
        let turns: Vec<_> = (0..UNDER_WAY).map(|_| quotas.take("a", now)).collect();
        quotas.take("a", now).expect_err("none");
        drop(turns);
        quotas.take("a", now).expect("a turn");
    }

    #[test]
    fn what_is_kept_in_mind_is_bounded_and_forgotten() {
        let (quotas, now) = (Quotas::default(), Instant::now());
        let taken = |at| {
            let all = 0..=KEPT;
            all.filter(|number| quotas.take(&number.to_string(), at).is_ok())
                .count()
        };
        assert_eq!(taken(now), KEPT);
        assert_eq!(quotas.lock().len(), KEPT);
        quotas.take("new", now + PERIOD * 2).expect("a turn");
        assert_eq!(quotas.lock().len(), 1);
    }
}
