//! Secrets by name: certificates with their keys, and what certificates are judged by.
//!
//! Four know secrets: the bootstrap, the control plane (SDS over the aggregated stream), files, and
//! the process itself ([`Local`]). Whoever needs one holds a [`SecretHandle`] and asks it for each
//! handshake, so a renewal is a swap of a pointer and no connection hears of it. Files are looked at
//! then, too, once a second at most: that finds a symbolic link that now leads elsewhere, which is
//! how Kubernetes renews them, as well as a file that was written anew.

mod files;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use arc_swap::ArcSwapOption;
use weir_api::xds::envoy::extensions::transport_sockets::tls::v3 as pb;

use self::files::Watched;
use crate::{
    config::tls::{LoadedSecret, Secret, SecretName, SecretRef, SecretSource},
    convert::{self, ConfigError},
};

/// Secrets that only this process provides, whatever a message says of their source.
///
/// Copies are of one and the same. May be used from any thread.
#[derive(Debug, Clone, Default)]
pub struct Local(Arc<BTreeMap<String, Arc<Slot>>>);

/// All secrets of the process, by source and name.
#[derive(Debug, Default)]
pub struct Secrets {
    local: Local,
    slots: Mutex<HashMap<SecretName, Known>>,
    /// Those that stand where they are used.
    inline: Mutex<Vec<Weak<Slot>>>,
}

/// A name that somebody has said something of.
#[derive(Debug, Default)]
struct Known {
    slot: Arc<Slot>,
    /// Who knows the secret has not taken it back.
    is_said: bool,
}

/// A secret as one who needs it holds it.
#[derive(Debug, Clone)]
pub(crate) struct SecretHandle(Arc<Slot>);

/// A place for a secret, which may not be there yet.
#[derive(Debug, Default)]
struct Slot {
    /// What was put here, or was read last.
    secret: ArcSwapOption<Secret>,
    /// The files that it is read from.
    watched: Mutex<Option<Watched>>,
}

// === impl Local ===

impl Local {
    /// For these names.
    #[must_use]
    pub fn new(names: &[&str]) -> Self {
        let slot = |name: &&str| ((*name).to_owned(), Arc::default());
        Self(Arc::new(names.iter().map(slot).collect()))
    }

    /// Puts a secret in place of the one of its name. Connections that there are go on.
    ///
    /// # Errors
    /// Everything that is wrong with it, or that its name is none of those. What was there stays.
    pub fn set(&self, message: pb::Secret) -> Result<(), ConfigError> {
        let Some(slot) = self.0.get(&message.name) else {
            return Err(ConfigError {
                problems: vec![convert::Problem {
                    resource: format!("Secret {:?}", message.name),
                    path: "name".to_owned(),
                    reason: "is none of those that the process provides".to_owned(),
                }],
            });
        };
        slot.put(&convert::secret(message)?);
        Ok(())
    }

    /// The names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

// === impl Secrets ===

impl Secrets {
    /// With those of the process and of the bootstrap.
    pub(crate) fn new(local: Option<Local>, fixed: &[Arc<LoadedSecret>]) -> Self {
        let secrets = Self {
            local: local.unwrap_or_default(),
            slots: Mutex::default(),
            inline: Mutex::default(),
        };
        for loaded in fixed {
            let name = SecretName {
                source: SecretSource::Static,
                name: loaded.secret.name.clone(),
            };
            secrets.say(name, Some(loaded));
        }
        secrets
    }

    /// What the control plane has said of a name; none: it has no such secret any more, and the
    /// last one stays in force for those who hold it.
    pub(crate) fn set_ads(&self, name: &str, loaded: Option<&LoadedSecret>) {
        let name = SecretName {
            source: SecretSource::Ads,
            name: name.to_owned(),
        };
        self.say(name, loaded);
    }

    fn say(&self, name: SecretName, loaded: Option<&LoadedSecret>) {
        let mut slots = self.lock();
        let known = slots.entry(name).or_default();
        known.is_said = loaded.is_some();
        if let Some(loaded) = loaded {
            known.slot.put(loaded);
        }
        forget_unused(&mut slots);
    }

    /// The place of a secret.
    pub(crate) fn resolve(&self, reference: &SecretRef) -> SecretHandle {
        SecretHandle(match reference {
            SecretRef::Inline(loaded) => {
                let slot = Slot::default();
                slot.put(loaded);
                let slot = Arc::new(slot);
                let mut inline = lock(&self.inline);
                inline.retain(|slot| slot.strong_count() > 0);
                inline.push(Arc::downgrade(&slot));
                slot
            }
            SecretRef::Sds(name) => self.slot(name),
        })
    }

    /// Those of the process that are there, by name.
    pub(crate) fn local(&self) -> impl Iterator<Item = (&str, Arc<Secret>)> {
        let slots = self.local.0.iter();
        slots.filter_map(|(name, slot)| Some((name.as_str(), slot.secret.load_full()?)))
    }

    /// All that are there.
    pub(crate) fn in_use(&self) -> Vec<Arc<Secret>> {
        let mut all: Vec<_> = self.local().map(|(_, secret)| secret).collect();
        let slots = self.lock();
        let named = slots.values().map(|known| known.slot.secret.load_full());
        all.extend(named.flatten());
        drop(slots);
        let inline = lock(&self.inline);
        let inline = inline.iter().filter_map(Weak::upgrade);
        all.extend(inline.filter_map(|slot| slot.secret.load_full()));
        all
    }

    fn slot(&self, name: &SecretName) -> Arc<Slot> {
        let local = self.local.0.get(&name.name);
        if let Some(slot) = local.filter(|_| name.source != SecretSource::Static) {
            return Arc::clone(slot);
        }
        let mut slots = self.lock();
        forget_unused(&mut slots);
        let known = slots.entry(name.clone()).or_insert_with(|| {
            let known = Known::default();
            if let SecretSource::Path { path } = &name.source {
                known
                    .slot
                    .watch(Watched::discovery_response(path, &name.name));
            }
            known
        });
        Arc::clone(&known.slot)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SecretName, Known>> {
        lock(&self.slots)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What nobody holds, and nobody says is there.
fn forget_unused(slots: &mut HashMap<SecretName, Known>) {
    slots.retain(|_, known| known.is_said || Arc::strong_count(&known.slot) > 1);
}

// === impl SecretHandle ===

impl SecretHandle {
    /// The secret, as it is now.
    pub(crate) fn get(&self) -> Option<Arc<Secret>> {
        self.0.get()
    }
}

// === impl Slot ===

impl Slot {
    fn put(&self, loaded: &LoadedSecret) {
        let mut watched = lock(&self.watched);
        *watched = loaded.files.as_ref().map(Watched::named_in);
        self.secret.store(Some(Arc::clone(&loaded.secret)));
    }

    fn watch(&self, files: Watched) {
        let mut watched = lock(&self.watched);
        *watched = Some(files);
    }

    fn get(&self) -> Option<Arc<Secret>> {
        // Who finds it locked has another worker look.
        if let Ok(mut watched) = self.watched.try_lock()
            && let Some(files) = &mut *watched
            && let Some(secret) = files.look()
        {
            self.secret.store(Some(secret));
        }
        self.secret.load_full()
    }
}
