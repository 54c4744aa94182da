//! Who subscribed to what, and the resources they share.

mod report;
mod state;
mod subscriptions;
mod topic;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::watch;

use self::{
    state::{Maker, State, Work},
    topic::Built,
};
use super::{Generator, Kind, MeshConfig, Resource, metrics::Metrics, secrets::Secrets};
use crate::model::{Changes, Snapshot};

/// Tells the clients of one hub apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClientId(u64);

/// Where snapshots meet subscriptions. A resource somebody subscribed to by name is built once per
/// change, for all its subscribers; nobody pays for what nobody asked for.
#[derive(Debug)]
pub struct Hub {
    state: Mutex<State>,
    /// Held while resources are built outside the state's lock, so that older ones never replace
    /// newer ones.
    publishing: Mutex<()>,
    /// How many snapshots there were in which routes may mean something else.
    routed: watch::Sender<u64>,
    metrics: Metrics,
}

/// What a hub knows of a name right now.
#[derive(Debug, Clone)]
pub(super) enum Current {
    /// Nothing yet: the registry has not said all it has to say.
    Unknown,
    /// There is none.
    Absent,
    /// This.
    Present(Arc<Resource>),
}

// === impl Hub ===

impl Hub {
    /// A hub that knows nothing yet.
    #[must_use]
    pub fn new(generator: Generator) -> Self {
        let maker = Maker {
            generator: Arc::new(generator),
            ..Maker::default()
        };
        let state = State {
            maker,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            publishing: Mutex::default(),
            routed: watch::Sender::new(0),
            metrics: Metrics::default(),
        }
    }

    /// Makes a snapshot the current one and wakes those whose resources changed. `since` is when
    /// the first event of these changes was seen.
    pub fn publish(&self, snapshot: &Arc<Snapshot>, changes: &Changes, since: Instant) {
        let _publishing = self.publishing();
        let began = Instant::now();
        let generator = self.generator();
        let known = self.is_synced();
        let affected = known.then(|| generator.affected(snapshot, changes));
        let shrunk = generator.shrunk(snapshot, changes);
        let outside = generator.affected_outside(snapshot, changes);
        let (maker, work) = {
            let mut state = self.lock();
            state.snapshot = Some(snapshot.clone());
            let mut affected = affected.unwrap_or_else(|| state.everything());
            state.note_outside(snapshot, &outside, &mut affected);
            (state.maker.clone(), state.plan(affected))
        };
        self.build(&maker, snapshot, &work, &shrunk, since);
        if !known {
            self.lock().wake_all();
        }
        if !known || changes.concern_routes() {
            self.routed.send_modify(|count| *count += 1);
        }
        let took = began.elapsed();
        self.metrics
            .update(|counts| counts.publish_time.observe(took));
    }

    /// Changes the settings of the whole mesh, and wakes those whose resources changed.
    pub fn set_mesh_config(&self, mesh: MeshConfig) {
        self.remake(|maker| {
            let changed = *maker.generator.mesh() != mesh;
            maker.generator = Arc::new(maker.generator.with_mesh(mesh));
            changed
        });
    }

    /// Sets what SDS serves: trusted certificates, PEM, by name ([`super::ROOT_CA`]). Wakes those
    /// who asked for what changed.
    pub fn set_trusted(&self, trusted: BTreeMap<String, Vec<u8>>) {
        self.remake(|maker| {
            let secrets = Secrets::new(trusted);
            let changed = *maker.secrets != secrets;
            maker.secrets = Arc::new(secrets);
            changed
        });
    }

    /// Builds everything anew after a change that is not one of the model.
    fn remake(&self, change: impl FnOnce(&mut Maker) -> bool) {
        let _publishing = self.publishing();
        let (maker, snapshot, work) = {
            let mut state = self.lock();
            if !change(&mut state.maker) {
                return;
            }
            let Some(snapshot) = state.snapshot.clone() else {
                return;
            };
            let everything = state.everything();
            (state.maker.clone(), snapshot, state.plan(everything))
        };
        let shrunk = BTreeSet::new();
        self.build(&maker, &snapshot, &work, &shrunk, Instant::now());
    }

    /// Builds outside the lock, for this takes time. A subscriber that comes meanwhile gets the old
    /// resource, and the new one with everybody else.
    fn build(
        &self,
        maker: &Maker,
        snapshot: &Snapshot,
        work: &[Work],
        shrunk: &BTreeSet<String>,
        since: Instant,
    ) {
        let build = |work: &Work| {
            let mut built = Built::default();
            for (id, client) in &work.clients {
                let view = maker
                    .generator
                    .view(snapshot, work.kind, &work.name, client);
                let resource = || maker.make(snapshot, work.kind, &work.name, &view);
                built.resources.entry(view.clone()).or_insert_with(resource);
                built.views.insert(*id, view);
            }
            built
        };
        let built: Vec<_> = work.iter().map(build).collect();
        let mut state = self.lock();
        for (work, built) in work.iter().zip(built) {
            let urgent = work.kind == Kind::Endpoint && shrunk.contains(&*work.name);
            state.announce(work, built, urgent, since);
        }
    }

    /// Whether a snapshot was published.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.lock().snapshot.is_some()
    }

    /// The current snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.lock().snapshot.clone()
    }

    /// Tells when a snapshot was published in which routes may mean something else.
    #[must_use]
    pub fn routed(&self) -> watch::Receiver<u64> {
        self.routed.subscribe()
    }

    /// The generator, to look at resources without subscribing.
    #[must_use]
    pub fn generator(&self) -> Arc<Generator> {
        self.lock().maker.generator.clone()
    }

    /// What happened so far.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn publishing(&self) -> MutexGuard<'_, ()> {
        self.publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
