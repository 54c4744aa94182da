//! Kubernetes Events: what people see with `kubectl describe` and `kubectl get events`.
//!
//! The name of an Event follows from what it says about what, so that replicas, and one that starts
//! again, do not say the same thing twice while the API server remembers it (an hour by default).

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{sync::mpsc, time::Instant};

use super::{Metrics, failure, metrics::increment};

/// Who reports.
const CONTROLLER: &str = "weir.dev/weir-control";
/// Events that wait to be written; more are dropped and counted.
const QUEUE: usize = 256;
/// Events that may be written at once after a quiet time.
const BURST: u32 = 32;
/// Time in which one more may be written.
const INTERVAL: Duration = Duration::from_millis(500);
/// What was said is not said again for this long; the API server forgets it in an hour.
const REPEAT: Duration = Duration::from_secs(45 * 60);
/// Events that are remembered for that.
const REMEMBERED: usize = 4096;
/// Longest note the API server takes.
const NOTE_BYTES: usize = 1024;

/// Something to say about an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Note {
    pub(crate) about: ObjectReference,
    pub(crate) kind: Kind,
    /// Why, in one word.
    pub(crate) reason: &'static str,
    /// What was done about it, in one word.
    pub(crate) action: &'static str,
    pub(crate) text: String,
}

/// How serious it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Warning,
}

/// Where notes go.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    queue: mpsc::Sender<Note>,
    metrics: Arc<Metrics>,
}

/// Writes what is in the queue.
pub(crate) struct Writer {
    client: Client,
    queue: mpsc::Receiver<Note>,
    metrics: Arc<Metrics>,
    /// Name of this pod.
    instance: String,
    said: HashMap<u64, Instant>,
    budget: u32,
    refilled: Instant,
}

/// Both ends.
pub(crate) fn channel(client: Client, instance: &str, metrics: Arc<Metrics>) -> (Events, Writer) {
    let (queue, queued) = mpsc::channel(QUEUE);
    let instance = match instance {
        "" => super::FIELD_MANAGER,
        name => name,
    };
    let writer = Writer {
        client,
        queue: queued,
        metrics: metrics.clone(),
        instance: instance.to_owned(),
        said: HashMap::new(),
        budget: BURST,
        refilled: Instant::now(),
    };
    (Events { queue, metrics }, writer)
}

// === impl Events ===

impl Events {
    /// Has something said. Never waits.
    pub(crate) fn say(&self, note: Note) {
        if self.queue.try_send(note).is_err() {
            increment(&self.metrics.events_dropped);
        }
    }
}

// === impl Writer ===

impl Writer {
    /// Ends when nobody has anything to say any more.
    pub(crate) async fn run(mut self) {
        while let Some(note) = self.queue.recv().await {
            let key = note.key();
            if !self.is_news(key) {
                continue;
            }
            if !self.may_write() {
                increment(&self.metrics.events_dropped);
                continue;
            }
            match self.write(&note, key).await {
                Ok(()) => increment(&self.metrics.events),
                // A replica said so already.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => {
                    increment(&self.metrics.events_dropped);
                    let (reason, note) = (failure(&error), note.text);
                    tracing::warn!(reason, note, "cannot write an Event");
                    continue;
                }
            }
            self.said.insert(key, Instant::now());
        }
    }

    fn is_news(&mut self, key: u64) -> bool {
        let now = Instant::now();
        if self.said.len() >= REMEMBERED {
            self.said.retain(|_, said| now - *said < REPEAT);
        }
        if self.said.len() >= REMEMBERED {
            // What is not remembered is found out by the API server, by its name.
            self.said.clear();
        }
        self.said.get(&key).is_none_or(|said| now - *said >= REPEAT)
    }

    fn may_write(&mut self) -> bool {
        let earned = self.refilled.elapsed().as_millis() / INTERVAL.as_millis();
        if let Ok(earned) = u32::try_from(earned)
            && earned > 0
        {
            self.budget = self.budget.saturating_add(earned).min(BURST);
            self.refilled = Instant::now();
        }
        let may = self.budget > 0;
        self.budget = self.budget.saturating_sub(1);
        may
    }

    async fn write(&self, note: &Note, key: u64) -> kube::Result<()> {
        let about = &note.about;
        // Events about objects of no namespace live in this one.
        let namespace = about.namespace.as_deref().unwrap_or("default");
        let object: String = about
            .name
            .iter()
            .flat_map(|it| it.chars())
            .take(200)
            .collect();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{object}.{key:016x}")),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(Timestamp::now())),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            action: Some(note.action.to_owned()),
            reason: Some(note.reason.to_owned()),
            regarding: Some(about.clone()),
            note: Some(cut(&note.text).to_owned()),
            type_: Some(match note.kind {
                Kind::Normal => "Normal".to_owned(),
                Kind::Warning => "Warning".to_owned(),
            }),
            ..Event::default()
        };
        let api = Api::<Event>::namespaced(self.client.clone(), namespace);
        api.create(&PostParams::default(), &event).await.map(|_| ())
    }
}

// === impl Note ===

impl Note {
    fn key(&self) -> u64 {
        let about = &self.about;
        let mut hasher = DefaultHasher::new();
        (&about.kind, &about.namespace, &about.name, &about.uid).hash(&mut hasher);
        (self.reason, &self.text).hash(&mut hasher);
        hasher.finish()
    }
}

/// The longest prefix that the API server takes, ending between characters.
fn cut(text: &str) -> &str {
    let end = (0..=NOTE_BYTES.min(text.len())).rev();
    let end = end.into_iter().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests;
