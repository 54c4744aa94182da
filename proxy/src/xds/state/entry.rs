//! What is known of one resource.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use weir_api::xds::google::protobuf::Any;

use super::{FETCH_TIMEOUT, InventoryEntry, Kind, Resource};

/// What is known of one resource.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// When it was asked for on the present stream.
    pub(super) asked: Option<Instant>,
    /// It was counted as overdue.
    pub(super) is_late: bool,
    /// The last message that was accepted.
    pub(super) latest: Option<(Resource, Arc<Any>)>,
    /// Version of `latest`.
    pub(super) version: String,
    /// When `latest` came.
    pub(super) updated: Option<SystemTime>,
    /// What is in force.
    pub(super) active: Option<Resource>,
    /// A cluster whose hosts are checked before it is in force.
    pub(super) checking: Option<Checking>,
    /// The control plane said that it has no such resource.
    pub(super) absent: bool,
    /// Why the message after `latest` was refused.
    pub(super) rejected: Option<String>,
}

/// A cluster whose hosts are checked for the first time.
#[derive(Debug)]
pub(super) struct Checking {
    pub(super) resource: Resource,
    pub(super) since: Instant,
    pub(super) is_done: bool,
}

// === impl Entry ===

impl Entry {
    /// The control plane removed it.
    pub(super) fn remove(&mut self) {
        *self = Self {
            asked: self.asked,
            absent: true,
            ..Self::default()
        };
    }

    /// There will be no more of it than there is now, or not soon.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        self.active.is_some() || self.is_missing(now)
    }

    /// There is none, or it is overdue.
    pub(super) fn is_missing(&self, now: Instant) -> bool {
        let refused = self.rejected.is_some() && self.latest.is_none();
        self.active.is_none() && (self.absent || refused || self.is_overdue(now))
    }

    /// It was asked for so long ago that others should not wait for it.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.asked
            .is_some_and(|asked| now.saturating_duration_since(asked) >= FETCH_TIMEOUT)
    }

    /// Nothing was said of it yet.
    pub(super) fn is_waited_for(&self) -> bool {
        self.latest.is_none() && !self.absent && self.rejected.is_none()
    }

    /// A version newer than the active one waits.
    pub(super) fn is_warming(&self) -> bool {
        match (&self.latest, &self.active) {
            (Some((latest, _)), Some(active)) => !latest.is(active),
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// The versions that are, or will be, in force.
    pub(super) fn versions(&self) -> impl Iterator<Item = &Resource> {
        self.latest
            .iter()
            .map(|(latest, _)| latest)
            .chain(&self.active)
    }

    pub(super) fn show(&self, kind: Kind, name: &str) -> Option<InventoryEntry> {
        let message = self.latest.as_ref().map(|(_, message)| (**message).clone());
        if message.is_none() && self.rejected.is_none() {
            return None;
        }
        Some(InventoryEntry {
            kind,
            name: name.to_owned(),
            version: self.version.clone(),
            updated: self.updated.unwrap_or(SystemTime::UNIX_EPOCH),
            message,
            warming: self.is_warming(),
            rejected: self.rejected.clone(),
        })
    }
}
