//! The delta protocol and discovery by need, without I/O and without a clock of its own.
//!
//! Three things are kept apart for each resource: that it is *wanted* (something refers to it),
//! its *latest* message, and the version that is *active*. A latest version becomes active when
//! everything it refers to is settled: active itself, known to be absent, or overdue. What nothing
//! refers to any more is unsubscribed and forgotten.

mod demand;
mod entry;
mod publish;
mod reach;
mod request;
mod warm;
mod workloads;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use weir_api::xds::google::protobuf::Any;

use self::{demand::Demanded, entry::Entry, request::Stream, workloads::Workloads};
use super::{
    InventoryEntry, Kind,
    resource::{Reference, Resource},
};
use crate::{cluster::Names, config::listener::OnDemand};

pub(super) use demand::Usage;
pub(super) use request::Request;

/// How long a resource that was asked for may keep others waiting: Envoy's
/// `initial_fetch_timeout`.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(15);

/// What the bootstrap decides.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// Listeners come by wildcard.
    pub(super) all_listeners: bool,
    /// Clusters come by wildcard.
    pub(super) all_clusters: bool,
    /// Discovery by need, if a listener asks for it.
    pub(super) on_demand: Option<OnDemand>,
    /// Resources of the bootstrap; those of the control plane cannot replace them.
    pub(super) known: BTreeSet<Reference>,
    /// Listeners of the bootstrap that those of the control plane replace. They are asked for by
    /// name, and are there for as long as the process.
    pub(super) replaceable: BTreeSet<String>,
    /// What the resources of the bootstrap refer to.
    pub(super) references: Vec<Reference>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct State {
    settings: Settings,
    entries: [BTreeMap<String, Entry>; Kind::COUNT],
    demands: BTreeMap<SocketAddr, Demanded>,
    workloads: Workloads,
    last_idle_check: Option<Instant>,
    /// When everything was last brought in line; what was due by then is done.
    settled_at: Option<Instant>,
    stream: Option<Stream>,
    /// Kinds for which a first answer came; with a wildcard, what is not known then is absent.
    answered: [bool; Kind::COUNT],
    /// Who knows whether names of clusters are known; nobody: they are not waited for.
    names: Option<Arc<Names>>,
    published: BTreeMap<Reference, Resource>,
    /// Clusters whose hosts are checked before they are in force, as published.
    published_warming: BTreeMap<String, Resource>,
    answered_destinations: BTreeSet<SocketAddr>,
}

/// A response, converted.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) kind: Kind,
    pub(super) nonce: String,
    pub(super) updates: Vec<Update>,
    pub(super) removed: Vec<String>,
}

/// A resource of a response.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) message: Arc<Any>,
    /// The runtime type, or what is wrong with it.
    pub(super) outcome: Result<Resource, String>,
}

// === impl State ===

impl State {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            entries: Default::default(),
            demands: BTreeMap::new(),
            workloads: Workloads::default(),
            last_idle_check: None,
            settled_at: None,
            stream: None,
            answered: [false; Kind::COUNT],
            names: None,
            published: BTreeMap::new(),
            published_warming: BTreeMap::new(),
            answered_destinations: BTreeSet::new(),
        }
    }

    /// From now on, a cluster comes into force once its names are known.
    pub(super) fn await_names(&mut self, names: &Arc<Names>) {
        self.names = Some(Arc::clone(names));
    }

    /// The stream is there; what is wanted is to be asked for on it.
    pub(super) fn connected(&mut self) {
        self.stream = Some(Stream::default());
    }

    /// The stream is gone. What is active stays so.
    pub(super) fn disconnected(&mut self) {
        self.stream = None;
        for entry in self.entries.iter_mut().flat_map(BTreeMap::values_mut) {
            entry.asked = None;
            entry.is_late = false;
        }
    }

    /// The latest message of the resource, if it is this very one: then there is nothing to do.
    pub(super) fn is_latest(&self, kind: Kind, name: &str, message: &Any) -> Option<Resource> {
        let entry = self.entries[kind as usize].get(name)?;
        let (resource, latest) = entry.latest.as_ref()?;
        (**latest == *message).then(|| resource.clone())
    }

    /// Takes a response in. Returns why it is refused, if a resource in it was; the good ones are
    /// taken all the same.
    pub(super) fn response(&mut self, response: Response, at: SystemTime) -> Option<String> {
        let Response {
            kind,
            nonce,
            updates,
            removed,
        } = response;
        self.answered[kind as usize] = true;
        let mut errors = Vec::new();
        for update in updates {
            if let Err(reason) = self.update(kind, update, at) {
                errors.push(reason);
            }
        }
        for name in removed {
            self.remove(kind, &name);
        }
        let refusal = (!errors.is_empty()).then(|| errors.join("\n"));
        if let Some(stream) = &mut self.stream {
            stream.answer(kind, nonce, refusal.clone());
        }
        refusal
    }

    /// What is here of a kind and not among `names`: gone, if those are all there is. What was only
    /// asked for may be of a request that the control plane had not read yet, and is overdue in
    /// time.
    pub(super) fn missing(&self, kind: Kind, names: &BTreeSet<&str>) -> Vec<String> {
        let entries = self.entries[kind as usize].iter();
        let here = entries.filter(|(_, entry)| entry.latest.is_some());
        here.map(|(name, _)| name)
            .filter(|name| !names.contains(name.as_str()))
            .cloned()
            .collect()
    }

    fn update(&mut self, kind: Kind, update: Update, at: SystemTime) -> Result<(), String> {
        let reference = (kind, update.name);
        if self.settings.known.contains(&reference) {
            return Err(format!(
                "{:?}: the bootstrap has one of that name",
                reference.1
            ));
        }
        let (_, name) = reference;
        let is_wildcard = self.is_wildcard(kind);
        let replaces = self.is_replaceable(kind, &name);
        let entries = &mut self.entries[kind as usize];
        let entry = if is_wildcard {
            entries.entry(name.clone()).or_default()
        } else {
            // An answer that crossed our unsubscription is no mistake, but of no use either.
            let Some(entry) = entries.get_mut(&name) else {
                return Ok(());
            };
            entry
        };
        let outcome = update.outcome.and_then(|resource| match resource {
            Resource::Listener(_) if !is_wildcard && !replaces => Err(format!(
                "{name:?}: bind_to_port: must be false in discovery by need"
            )),
            Resource::Destination(_) if replaces => Err(format!(
                "{name:?}: bind_to_port: must be true, as in the listener it replaces"
            )),
            resource => Ok(resource),
        });
        entry.absent = false;
        match outcome {
            Ok(resource) => {
                entry.latest = Some((resource, update.message));
                entry.version = update.version;
                entry.updated = Some(at);
                entry.rejected = None;
                Ok(())
            }
            Err(reason) => {
                entry.rejected = Some(reason.clone());
                Err(reason)
            }
        }
    }

    fn remove(&mut self, kind: Kind, name: &str) {
        let replaces = self.is_replaceable(kind, name);
        let entries = &mut self.entries[kind as usize];
        if self.settings.is_wildcard(kind) {
            entries.remove(name);
        } else if let Some(entry) = entries.get_mut(name) {
            if replaces {
                // The pod needs one. What is in force stays.
                entry.absent = true;
            } else {
                entry.remove();
            }
        }
    }

    fn is_wildcard(&self, kind: Kind) -> bool {
        self.settings.is_wildcard(kind)
    }

    /// Whether a resource of that name replaces one of the bootstrap.
    pub(super) fn is_replaceable(&self, kind: Kind, name: &str) -> bool {
        kind == Kind::Listener && self.settings.replaceable.contains(name)
    }

    /// How many resources of each kind wait for what they refer to.
    pub(super) fn warming(&self) -> [usize; Kind::COUNT] {
        let count = |entries: &BTreeMap<String, Entry>| {
            entries.values().filter(|entry| entry.is_warming()).count()
        };
        self.entries.each_ref().map(count)
    }

    /// The last message of a resource that was accepted.
    pub(super) fn message(&self, kind: Kind, name: &str) -> Option<Arc<Any>> {
        let (_, message) = self.entries[kind as usize].get(name)?.latest.as_ref()?;
        Some(Arc::clone(message))
    }

    /// Everything the control plane sent, by kind and name.
    pub(super) fn entries(&self) -> Vec<InventoryEntry> {
        let each = |kind: Kind| {
            let entries = self.entries[kind as usize].iter();
            entries.filter_map(move |(name, entry)| entry.show(kind, name))
        };
        Kind::ALL.into_iter().flat_map(each).collect()
    }
}

// === impl Settings ===

impl Settings {
    fn is_wildcard(&self, kind: Kind) -> bool {
        match kind {
            Kind::Listener => self.all_listeners,
            Kind::Cluster => self.all_clusters,
            Kind::Endpoint | Kind::Route | Kind::Secret => false,
        }
    }
}

#[cfg(test)]
mod tests;
