//! The delta variant: the client says what it adds and drops, the server what changed and went.

use std::{collections::BTreeSet, sync::Arc};

use weir_api::xds::envoy::{config::core::v3::Node, service::discovery::v3 as discovery};

use super::{
    Origin, Progress, Seat, Session, WILDCARD,
    subscription::{Answer, News, Told, TypeState, What},
};
use crate::xds::{
    Client, Kind, Resource, Version,
    hub::{ClientId, Hub},
};

/// Responses of one type a client may leave without an answer before it gets no more of them: what
/// it then misses is said once, in its latest version.
const WINDOW: usize = 16;
/// Size from which on a response is full, far below the 4 MiB that gRPC clients take by default.
const FULL: usize = 1 << 20;

/// A stream of the delta variant.
#[derive(Debug)]
pub(in crate::xds) struct DeltaSession {
    seat: Seat,
}

/// A step towards an up to date client. In this order nothing refers to what is not there yet, and
/// what goes is no longer referred to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Load assignments that lost endpoints.
    Urgent,
    /// What is new or changed.
    Change(Kind),
    /// What is gone.
    Remove(Kind),
}

const STEPS: [Step; 11] = [
    Step::Urgent,
    Step::Remove(Kind::Listener),
    Step::Change(Kind::Cluster),
    Step::Change(Kind::Endpoint),
    Step::Change(Kind::Listener),
    Step::Change(Kind::Route),
    Step::Change(Kind::Secret),
    Step::Remove(Kind::Route),
    Step::Remove(Kind::Endpoint),
    Step::Remove(Kind::Cluster),
    Step::Remove(Kind::Secret),
];

// === impl DeltaSession ===

impl Session for DeltaSession {
    type Request = discovery::DeltaDiscoveryRequest;
    type Response = discovery::DeltaDiscoveryResponse;

    fn new(hub: &Hub, origin: Origin) -> Self {
        Self {
            seat: Seat::take(hub, "delta", origin),
        }
    }

    fn seat(&self) -> &Seat {
        &self.seat
    }

    fn node(request: &discovery::DeltaDiscoveryRequest) -> Option<&Node> {
        request.node.as_ref()
    }

    fn names(&self, request: &discovery::DeltaDiscoveryRequest) -> usize {
        let brought = request.initial_resource_versions.len();
        self.seat.names_besides(None) + request.resource_names_subscribe.len().max(brought)
    }

    fn request(&mut self, request: discovery::DeltaDiscoveryRequest, hub: &Hub) {
        let mut progress = self.seat.shared.lock();
        if let Some(node) = request.node {
            hub.introduce(self.seat.client, Client::of(&node));
            progress.node = node.id;
        }
        let Some(kind) = progress.about(&request.type_url, hub) else {
            return;
        };
        let first = !progress.types.contains_key(&kind);
        if !request.response_nonce.is_empty() {
            let error = request.error_detail.as_ref();
            let error = error.map(|status| status.message.as_str());
            progress.answer(kind, &request.response_nonce, error, hub);
        }
        let state = progress.types.entry(kind).or_default();
        let mut subscribe = request.resource_names_subscribe;
        let asks = first && request.response_nonce.is_empty();
        if asks && subscribe.is_empty() && kind.has_implicit_wildcard() {
            subscribe.push(WILDCARD.to_owned());
        }
        for (name, version) in &request.initial_resource_versions {
            let version = Version::parse(version);
            let known = Told {
                what: version.map_or(What::Foreign, What::Version),
                nonce: 0,
                answer: Answer::Acked,
                accepted: version,
            };
            state.told.insert(name.as_str().into(), known);
        }
        for name in subscribe {
            if name == WILDCARD {
                state.wildcard = true;
                let all = hub.subscribe_all(self.seat.client, kind);
                state.due.extend(all.into_iter().map(Arc::from));
                // What the client brought along may be gone.
                state.due.extend(state.told.keys().cloned());
                continue;
            }
            let name: Arc<str> = name.into();
            hub.subscribe(self.seat.client, kind, &name);
            // Whoever asks again wants an answer again.
            if !request.initial_resource_versions.contains_key(&*name) {
                state.told.remove(&name);
            }
            state.due.insert(name.clone());
            state.subscribed.insert(name);
        }
        for name in request.resource_names_unsubscribe {
            self.unsubscribe(state, kind, &name, hub);
        }
    }

    fn next(&mut self, hub: &Hub) -> Option<discovery::DeltaDiscoveryResponse> {
        let shared = self.seat.shared.clone();
        let mut progress = shared.lock();
        STEPS
            .iter()
            .find_map(|step| self.step(*step, &mut progress, hub))
    }
}

impl DeltaSession {
    fn unsubscribe(&self, state: &mut TypeState, kind: Kind, name: &str, hub: &Hub) {
        if name == WILDCARD {
            state.wildcard = false;
            hub.unsubscribe_all(self.seat.client, kind);
            let TypeState {
                told,
                due,
                subscribed,
                ..
            } = state;
            told.retain(|name, _| subscribed.contains(name));
            due.retain(|name| subscribed.contains(name));
            return;
        }
        let Some(name) = state.subscribed.take(name) else {
            return;
        };
        hub.unsubscribe(self.seat.client, kind, &name);
        if !state.wildcard {
            state.told.remove(&name);
            state.due.remove(&name);
            state.urgent.remove(&name);
        }
    }

    fn step(
        &mut self,
        step: Step,
        progress: &mut Progress,
        hub: &Hub,
    ) -> Option<discovery::DeltaDiscoveryResponse> {
        let kind = step.kind();
        let state = progress.types.get_mut(&kind)?;
        if state.in_flight.len() >= WINDOW {
            return None;
        }
        let Batch { changed, removed } = gather(step, state, self.seat.client, hub);
        let since = state.since;
        if state.due.is_empty() {
            state.since = None;
        }
        if changed.is_empty() && removed.is_empty() {
            return None;
        }
        let nonce = self.seat.nonce();
        for resource in &changed {
            state.tell(&resource.name, What::Version(resource.version), nonce);
        }
        for name in &removed {
            state.tell(name, What::Absent, nonce);
        }
        let names = changed.iter().map(|resource| resource.name.clone());
        let names = names.chain(removed.iter().cloned()).collect();
        state.sent(nonce, names, since);
        if kind == Kind::Cluster {
            progress.endpoints_again(&changed);
        }
        hub.metrics().kind(kind, |counts| {
            counts.responses += 1;
            counts.resources += changed.len() as u64;
            counts.removed += removed.len() as u64;
        });
        Some(response(kind, nonce, &changed, &removed))
    }
}

/// What goes into one response.
#[derive(Debug, Default)]
struct Batch {
    changed: Vec<Arc<Resource>>,
    removed: Vec<Arc<str>>,
}

/// Takes off the due names what this step has to say, up to a full response.
fn gather(step: Step, state: &mut TypeState, client: ClientId, hub: &Hub) -> Batch {
    let kind = step.kind();
    let candidates = match step {
        Step::Urgent => &state.urgent,
        Step::Change(_) | Step::Remove(_) => &state.due,
    };
    let mut batch = Batch::default();
    let (mut done, mut size) = (BTreeSet::new(), 0);
    for name in candidates {
        // Of names nobody asked for and nobody was told of there is nothing to remove, and they
        // need not be built to know it.
        let known = state.told.contains_key(name) || state.subscribed.contains(name);
        if matches!(step, Step::Remove(_)) && !known {
            continue;
        }
        match (step, state.news(name, hub.current(client, kind, name))) {
            (_, News::Nothing) => {
                done.insert(name.clone());
            }
            (Step::Remove(_), News::Removed) => {
                done.insert(name.clone());
                size += name.len();
                batch.removed.push(name.clone());
            }
            (Step::Urgent | Step::Change(_), News::Changed(resource)) => {
                done.insert(name.clone());
                size += resource.body.value.len();
                batch.changed.push(resource);
            }
            (_, News::Later | News::Removed | News::Changed(_)) => {}
        }
        if size >= FULL {
            break;
        }
    }
    for name in &done {
        state.due.remove(name);
        state.urgent.remove(name);
    }
    if step == Step::Urgent && size < FULL {
        // What is gone altogether is said in its own step.
        state.urgent.clear();
    }
    batch
}

fn response(
    kind: Kind,
    nonce: u64,
    changed: &[Arc<Resource>],
    removed: &[Arc<str>],
) -> discovery::DeltaDiscoveryResponse {
    let resources = changed.iter().map(|resource| discovery::Resource {
        name: resource.name.to_string(),
        version: resource.version.to_string(),
        resource: Some(resource.body.clone()),
        ..discovery::Resource::default()
    });
    discovery::DeltaDiscoveryResponse {
        type_url: kind.type_url().to_owned(),
        nonce: nonce.to_string(),
        resources: resources.collect(),
        removed_resources: removed.iter().map(ToString::to_string).collect(),
        ..discovery::DeltaDiscoveryResponse::default()
    }
}

// === impl Step ===

impl Step {
    fn kind(self) -> Kind {
        match self {
            Self::Urgent => Kind::Endpoint,
            Self::Change(kind) | Self::Remove(kind) => kind,
        }
    }
}
