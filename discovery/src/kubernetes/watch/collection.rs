//! The objects of one kind that the model was told of. No I/O.

use std::{
    collections::{BTreeMap, HashMap},
    marker::PhantomData,
    sync::Arc,
};

use super::{
    frame::{Item, Malformed},
    kind::Kind,
};
use crate::{
    kubernetes::{Problem, wire::Meta},
    model::{Event, Interner, NamespacedName},
    rules,
};

/// Turns what a list and a watch say into events for the model: what a new list does not mention any
/// more is gone, and what cannot be read stays as it was.
#[derive(Debug)]
pub(super) struct Collection<K> {
    names: Arc<Interner>,
    rules: rules::Settings,
    /// What the model was told of, each with the list that mentioned it last.
    known: HashMap<NamespacedName, u32>,
    /// Objects that something is wrong with, likewise.
    wrong: BTreeMap<String, (u32, Vec<Problem>)>,
    wrong_changed: bool,
    /// Number of the current list.
    list: u32,
    kind: PhantomData<fn() -> K>,
}

// === impl Collection ===

impl<K: Kind> Collection<K> {
    pub(super) fn new(names: Arc<Interner>, rules: rules::Settings) -> Self {
        Self {
            names,
            rules,
            known: HashMap::new(),
            wrong: BTreeMap::new(),
            wrong_changed: false,
            list: 0,
            kind: PhantomData,
        }
    }

    /// How many objects the model was told of.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// A list begins.
    pub(super) fn begin(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// A list has ended: what it did not mention is gone.
    pub(super) fn end(&mut self) -> Vec<Event> {
        let list = self.list;
        let mut gone = Vec::new();
        self.known.retain(|name, mentioned| {
            let stays = *mentioned == list;
            if !stays {
                gone.push(Event::Deleted(K::key(name.clone())));
            }
            stays
        });
        let before = self.wrong.len();
        self.wrong.retain(|_, (mentioned, _)| *mentioned == list);
        self.wrong_changed |= self.wrong.len() != before;
        gone
    }

    /// An object is there, new or changed.
    pub(super) fn changed(&mut self, item: &Item<K>) -> Option<Event> {
        let mut problems = Vec::new();
        let event = match item {
            Item::Read(object) => match object.read(&self.names, &self.rules, &mut problems) {
                Some(read) => {
                    self.known.insert(self.name(object.meta())?, self.list);
                    Some(Event::Applied(read))
                }
                None => self.forget(object.meta()),
            },
            Item::Malformed(malformed) => {
                let Malformed {
                    meta,
                    field,
                    reason,
                } = &**malformed;
                problems.push(Problem {
                    object: meta.describe(K::KIND),
                    field: field.clone(),
                    reason: format!("{reason}; what the object said before stays"),
                });
                let name = self.name(meta);
                if let Some(mentioned) = name.and_then(|name| self.known.get_mut(&name)) {
                    *mentioned = self.list;
                }
                None
            }
        };
        self.note(item.meta(), problems);
        event
    }

    /// An object is gone.
    pub(super) fn deleted(&mut self, meta: &Meta) -> Option<Event> {
        self.note(meta, Vec::new());
        self.forget(meta)
    }

    /// What is wrong with objects, if that changed since it was asked last.
    pub(super) fn problems_if_changed(&mut self) -> Option<Vec<Problem>> {
        std::mem::take(&mut self.wrong_changed).then(|| {
            let problems = self.wrong.values().flat_map(|(_, problems)| problems);
            problems.cloned().collect()
        })
    }

    fn forget(&mut self, meta: &Meta) -> Option<Event> {
        let name = self.name(meta)?;
        self.known.remove(&name)?;
        Some(Event::Deleted(K::key(name)))
    }

    fn name(&self, meta: &Meta) -> Option<NamespacedName> {
        let name = meta.name.as_deref().filter(|name| !name.is_empty())?;
        Some(self.names.name(meta.namespace(), name))
    }

    /// Remembers what is wrong with an object, and logs it once for as long as it lasts.
    fn note(&mut self, meta: &Meta, problems: Vec<Problem>) {
        if problems.is_empty() && self.wrong.is_empty() {
            return;
        }
        let object = meta.describe(K::KIND);
        let before = self.wrong.remove(&object).map(|(_, problems)| problems);
        if before.as_deref().unwrap_or_default() != problems {
            self.wrong_changed = true;
            for Problem {
                object,
                field,
                reason,
            } in &problems
            {
                tracing::warn!(object, field, reason, "an object of the cluster is wrong");
            }
        }
        if !problems.is_empty() {
            self.wrong.insert(object, (self.list, problems));
        }
    }
}
