//! Flows: who did what at this pod, and whether rules let it. A bounded summary of inbound traffic by
//! minutes, from which it can be told what another rule would have done.
//!
//! Each worker counts in a table of its own ([`FlowRecorder`]), without a lock, and without memory for
//! a flow that is there. The control thread adds the tables up when somebody reads them ([`Flows::read`]).
//! A flow is told apart by the caller's identity, port, protocol, method, path and verdict, never by an
//! address. Of paths that differ in numbers or the like one is kept, with `{*}` for the part
//! ([`template`]); once there are many, only how they begin; beyond [`MAX_FLOWS`] of a worker, flows are
//! counted and no more.

mod key;
mod recorder;
mod shard;
mod template;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use weir_api::flows::{Flow, FlowProtocol, FlowSummary, FlowVerdict, NotKept};

use self::shard::Shard;

pub(crate) use self::recorder::FlowRecorder;

/// Flows that a worker holds.
pub const MAX_FLOWS: usize = 400;
/// Flows of a worker from which on new ones are kept with the first segment of their path only, and
/// from which on with none of it.
const MANY: [usize; 2] = [200, 300];

/// The summaries of all workers.
#[derive(Debug)]
pub struct Flows {
    minutes: usize,
    shards: Mutex<Vec<Weak<Shard>>>,
}

// === impl Flows ===

impl Flows {
    /// Without a worker yet. Flows are remembered for so many minutes, one at least.
    #[must_use]
    pub fn new(minutes: u16) -> Arc<Self> {
        Arc::new(Self {
            minutes: usize::from(minutes.max(1)),
            shards: Mutex::default(),
        })
    }

    /// What one worker counts with.
    pub(crate) fn recorder(&self) -> FlowRecorder {
        let shard = Arc::<Shard>::default();
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.push(Arc::downgrade(&shard));
        FlowRecorder::new(shard, self.minutes)
    }

    /// All flows of the last minutes, the workers' added up, in order.
    pub(crate) fn read(&self) -> FlowSummary {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let shards: Vec<Arc<Shard>> = shards.iter().filter_map(Weak::upgrade).collect();
        let mut all = BTreeMap::<Flow, u64>::new();
        let mut not_kept = NotKept::default();
        for shard in shards {
            shard.with(|table| {
                for (kept, minutes) in &table.flows {
                    *all.entry(kept.flow()).or_default() += minutes.sum();
                }
                not_kept.allowed += table.not_kept[0].sum();
                not_kept.denied += table.not_kept[1].sum();
            });
        }
        let counted = all.into_iter().filter(|(_, count)| *count > 0);
        FlowSummary {
            minutes: u64::try_from(self.minutes).unwrap_or(u64::MAX),
            flows: counted
                .map(|(flow, count)| Flow { count, ..flow })
                .collect(),
            not_kept,
        }
    }
}

#[cfg(test)]
mod tests;
