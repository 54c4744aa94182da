//! The Secret with the CA: makes it, renews what is in it, serves by it.
//!
//! All replicas do the same and agree by the object's resource version: who is second finds out, and
//! reads what the first one wrote. A Secret that was deleted is written back from memory. One whose
//! CA is broken is left alone: what was served before is served on, and what to do is said.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::PostParams,
    runtime::{WatchStreamExt, watcher::watch_object},
};
use tokio::sync::watch;

use super::{Shared, failure, metrics::increment, mounted, trust::Source};
use crate::{
    certificates::{
        Serving, Signing,
        rotation::{Change, Origin, Policy},
        stored::{Reading, Stored},
    },
    issuer::Issuer,
};

mod given;
mod secret;

use given::Given;

/// What `/ready` calls this.
const SUBJECT: &str = "certificate";
/// Longest time between two looks at the clock: a machine may sleep, or its clock may be set.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Time until something that failed, or has to wait for others, is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps the Secret right, and serves by it.
pub(crate) struct AuthorityKeeper {
    api: Api<Secret>,
    name: String,
    policy: Policy,
    /// Where the CA comes from, if not from here.
    given: Option<Given>,
    shared: Shared,
    serving: Arc<Serving>,
    issuer: Arc<Issuer>,
    source: Source,
    /// Whether the webhook configurations have the bundle.
    announced: Vec<watch::Receiver<bool>>,
    /// The object as it was read last.
    object: Object,
    /// The last set of certificates that was whole.
    known: Option<Stored>,
}

/// The Secret, as far as is known.
enum Object {
    /// Not read yet.
    Unknown,
    /// There is none, or nothing in it.
    Empty(Option<Secret>),
    /// It holds what is in `known`.
    Good(Secret),
    /// Its CA is not whole.
    Broken,
}

/// Something to write.
struct Due {
    new: Stored,
    changes: Vec<Change>,
    /// In place of which object; `None` where there is none.
    object: Option<Secret>,
}

// === impl AuthorityKeeper ===

impl AuthorityKeeper {
    pub(crate) fn new(
        api: Api<Secret>,
        name: String,
        policy: Policy,
        shared: Shared,
        (serving, issuer): (Arc<Serving>, Arc<Issuer>),
        source: Source,
        announced: Vec<watch::Receiver<bool>>,
    ) -> Self {
        shared
            .health
            .unready(SUBJECT, format!("Secret {name} was not read yet"));
        Self {
            api,
            name,
            policy,
            given: None,
            shared,
            serving,
            issuer,
            source,
            announced,
            object: Object::Unknown,
            known: None,
        }
    }

    /// The same with a CA that the user brings in the files of a directory.
    pub(crate) fn with_given(mut self, directory: Option<&Path>) -> Self {
        self.given = directory.map(Given::new);
        self.look_at_given();
        self
    }

    /// Takes in what the files of the user's CA say, if there are any.
    fn look_at_given(&mut self) {
        let Some(given) = &mut self.given else { return };
        if !given.look() {
            return;
        }
        let authority = given.authority();
        match &authority {
            Ok(_) => tracing::info!("read the CA that is given"),
            Err(reason) => {
                tracing::error!(reason, "cannot sign by the CA that is given");
                if self.known.is_none() {
                    self.shared.health.unready(SUBJECT, reason.clone());
                }
            }
        }
        self.policy.origin = Origin::Given(authority);
    }

    /// Never returns.
    pub(crate) async fn run(mut self) {
        let objects = watch_object(self.api.clone(), &self.name).default_backoff();
        let mut objects = std::pin::pin!(objects);
        let mut wait = RETRY;
        loop {
            tokio::select! {
                Some(object) = objects.next() => match object {
                    Ok(object) => self.read(object),
                    Err(error) => {
                        self.unreachable(&error);
                        continue;
                    }
                },
                Some(reply) = self.source.look_ups.recv() => {
                    match self.api.get_opt(&self.name).await {
                        Ok(object) => self.read(object),
                        Err(error) => {
                            self.unreachable(&error);
                            continue;
                        }
                    }
                    let _ = reply.send(());
                }
                () = tokio::time::sleep(wait) => {}
            }
            self.look_at_given();
            let longest = match &self.given {
                Some(_) => mounted::INTERVAL,
                None => LONGEST_WAIT,
            };
            wait = match self.step().await {
                Ok(wait) => wait.clamp(RETRY, longest),
                Err(reason) => {
                    tracing::warn!(secret = self.name, reason, "cannot write the certificates");
                    RETRY
                }
            };
        }
    }

    /// Takes in what the Secret says.
    fn read(&mut self, secret: Option<Secret>) {
        let Some(secret) = secret else {
            self.object = Object::Empty(None);
            return;
        };
        match Stored::read(&secret::data(&secret)) {
            Ok(Reading::Empty) => self.object = Object::Empty(Some(secret)),
            Ok(Reading::Good(stored, left_out)) => {
                for reason in left_out {
                    tracing::warn!(secret = self.name, reason, "left out a part of the Secret");
                }
                self.object = Object::Good(secret);
                self.adopt(*stored);
            }
            Err(reason) => self.broken(&reason),
        }
    }

    fn adopt(&mut self, stored: Stored) {
        let metrics = &self.shared.metrics;
        metrics.ca_secret_valid.store(1, Ordering::Relaxed);
        metrics.set_ca_not_after(stored.active.life().not_after);
        if let Some(leaf) = &stored.serving {
            let issued = leaf.issued();
            if issued.certified.cert != self.serving.chain() {
                self.serving.set(issued);
            }
            if self.shared.health.ready(SUBJECT) {
                tracing::info!(secret = self.name, "serving by the CA of the Secret");
            }
        }
        let bundle = stored.bundle();
        self.issuer
            .set(Signing::new(stored.active.clone(), &bundle));
        self.source.bundle.send_replace(Some(bundle.into()));
        self.known = Some(stored);
    }

    fn broken(&mut self, reason: &str) {
        self.object = Object::Broken;
        self.shared
            .metrics
            .ca_secret_valid
            .store(0, Ordering::Relaxed);
        let what_to_do = match &self.known {
            Some(_) => {
                "restore it, or delete it to have the CA in use written back; until then nothing \
                 is renewed"
            }
            None => {
                "restore it from a backup, or delete it to have a new CA made, which sidecars \
                 trust once the new ConfigMaps have reached their pods"
            }
        };
        tracing::error!(
            secret = self.name,
            reason,
            what_to_do,
            "the CA in the Secret is broken"
        );
        if self.known.is_none() {
            let reason = format!("Secret {}: {reason}; {what_to_do}", self.name);
            self.shared.health.unready(SUBJECT, reason);
        }
    }

    fn unreachable(&self, error: &dyn std::error::Error) {
        let reason = failure(error);
        let changed = match self.known {
            None => {
                let reason = format!("Secret {}: {reason}", self.name);
                self.shared.health.unready(SUBJECT, reason)
            }
            Some(_) => true,
        };
        if changed {
            tracing::warn!(
                secret = self.name,
                reason,
                "cannot read the Secret of the CA"
            );
        }
    }

    /// Does what is due, and says how long nothing will be.
    async fn step(&mut self) -> Result<Duration, String> {
        let now = (self.shared.clock)();
        let Some(Due {
            new,
            changes,
            object,
        }) = self.due(now)?
        else {
            return Ok(match &self.known {
                Some(known) => self.policy.wait(known, now),
                None => LONGEST_WAIT,
            });
        };
        match self.write(&new, object).await {
            Ok(secret) => {
                increment(&self.shared.metrics.rotations);
                tracing::info!(secret = self.name, ?changes, "wrote the certificates");
                self.read(Some(secret));
                let now = (self.shared.clock)();
                Ok(self.policy.wait(&new, now))
            }
            // Another replica was quicker. What it wrote is what we go by.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let object = self.api.get_opt(&self.name).await;
                self.read(object.map_err(|error| failure(&error))?);
                Ok(RETRY)
            }
            Err(error) => Err(failure(&error)),
        }
    }

    /// What the Secret should hold, if that is not what it holds.
    fn due(&self, now: SystemTime) -> Result<Option<Due>, String> {
        let due = |new, changes, object: Option<&Secret>| Due {
            new,
            changes,
            object: object.cloned(),
        };
        match (&self.object, &self.known) {
            (Object::Unknown | Object::Broken, _) | (Object::Good(_), None) => Ok(None),
            (Object::Empty(object), None) => {
                let changes = vec![Change::Made, Change::Issued];
                Ok(Some(due(
                    self.policy.create(now)?,
                    changes,
                    object.as_ref(),
                )))
            }
            (Object::Empty(object), Some(known)) => {
                Ok(Some(due(known.clone(), Vec::new(), object.as_ref())))
            }
            (Object::Good(object), Some(known)) => {
                let announced = self.announced.iter().all(|announced| *announced.borrow());
                let advanced = self
                    .policy
                    .advance(known, secret::asked(object), announced, now)?;
                Ok(advanced.map(|(new, changes)| due(new, changes, Some(object))))
            }
        }
    }

    async fn write(&self, new: &Stored, object: Option<Secret>) -> kube::Result<Secret> {
        let params = PostParams {
            field_manager: Some(super::FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let is_new = object.is_none();
        let secret = secret::holding(new, object, &self.name);
        match is_new {
            true => self.api.create(&params, &secret).await,
            false => self.api.replace(&self.name, &params, &secret).await,
        }
    }
}

#[cfg(test)]
mod tests;
