//! The state-of-the-world variant: the client names all it wants each time. Clusters and listeners
//! are told as a whole, so that what is missing is gone; of the other types only what changed is
//! told, and nothing can be said to be gone.

use std::{collections::BTreeSet, sync::Arc};

use weir_api::xds::envoy::{config::core::v3::Node, service::discovery::v3 as discovery};

use super::{
    Origin, Progress, Seat, Session, WILDCARD,
    subscription::{News, TypeState, What},
};
use crate::xds::{
    Client, Kind, Resource,
    hub::{ClientId, Current, Hub},
    resource::Digest,
};

/// Clusters come before their endpoints, and what refers to clusters after both.
const ORDER: [Kind; 5] = [
    Kind::Cluster,
    Kind::Endpoint,
    Kind::Listener,
    Kind::Route,
    Kind::Secret,
];

/// A stream of the state-of-the-world variant.
#[derive(Debug)]
pub(in crate::xds) struct SotwSession {
    seat: Seat,
}

/// Whether a request was sent before the client saw the latest response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stale {
    Yes,
    No,
}

// === impl SotwSession ===

impl Session for SotwSession {
    type Request = discovery::DiscoveryRequest;
    type Response = discovery::DiscoveryResponse;

    fn new(hub: &Hub, origin: Origin) -> Self {
        Self {
            seat: Seat::take(hub, "sotw", origin),
        }
    }

    fn seat(&self) -> &Seat {
        &self.seat
    }

    fn node(request: &discovery::DiscoveryRequest) -> Option<&Node> {
        request.node.as_ref()
    }

    fn names(&self, request: &discovery::DiscoveryRequest) -> usize {
        // A request names all the client wants of its type, and replaces what it had.
        self.seat.names_besides(Kind::of(&request.type_url)) + request.resource_names.len()
    }

    fn request(&mut self, request: discovery::DiscoveryRequest, hub: &Hub) {
        let mut progress = self.seat.shared.lock();
        if let Some(node) = request.node {
            hub.introduce(self.seat.client, Client::of(&node));
            progress.node = node.id;
        }
        let Some(kind) = progress.about(&request.type_url, hub) else {
            return;
        };
        let first = !progress.types.contains_key(&kind);
        // A nonce in a first request is of an earlier stream, and none of ours.
        if !first && !request.response_nonce.is_empty() {
            let error = request.error_detail.as_ref();
            let error = error.map(|status| status.message.as_str());
            if self.answered(&mut progress, kind, &request.response_nonce, error, hub) == Stale::Yes
            {
                return;
            }
        }
        let state = progress.types.entry(kind).or_default();
        let mut names: BTreeSet<Arc<str>> = request
            .resource_names
            .iter()
            .map(|name| name.as_str().into())
            .collect();
        let wildcard = names.remove(WILDCARD)
            || (names.is_empty() && (state.wildcard || first) && kind.has_implicit_wildcard());
        self.resubscribe(state, kind, names, wildcard, hub);
    }

    fn next(&mut self, hub: &Hub) -> Option<discovery::DiscoveryResponse> {
        let shared = self.seat.shared.clone();
        let mut progress = shared.lock();
        ORDER
            .iter()
            .find_map(|kind| self.say(*kind, &mut progress, hub))
    }
}

impl SotwSession {
    /// Takes in an ACK or a NACK. Each request after the first names the response before it, so a
    /// name that was answered before says nothing.
    fn answered(
        &self,
        progress: &mut Progress,
        kind: Kind,
        nonce: &str,
        error: Option<&str>,
        hub: &Hub,
    ) -> Stale {
        let in_flight = progress.types.get(&kind);
        let in_flight = in_flight.and_then(|state| state.in_flight.keys().next_back().copied());
        let is_ours = |nonce: u64| (1..=self.seat.last_nonce).contains(&nonce);
        match (
            nonce.parse().ok().filter(|nonce| is_ours(*nonce)),
            in_flight,
        ) {
            // Notes that it is wrong. What the client wants is what it says all the same.
            (None, _) => progress.answer(kind, nonce, error, hub),
            // The client had not seen the latest response yet. It will answer that one, too, and
            // name what it wants by then.
            (Some(nonce), Some(latest)) if nonce != latest => return Stale::Yes,
            (Some(_), Some(_)) => progress.answer(kind, nonce, error, hub),
            (Some(_), None) => {}
        }
        Stale::No
    }

    fn resubscribe(
        &self,
        state: &mut TypeState,
        kind: Kind,
        names: BTreeSet<Arc<str>>,
        wildcard: bool,
        hub: &Hub,
    ) {
        for name in state.subscribed.difference(&names) {
            hub.unsubscribe(self.seat.client, kind, name);
            state.due.remove(name);
            if is_whole(kind) {
                // Whoever is told the whole is told without it.
                state.due.insert(name.clone());
            } else {
                state.told.remove(name);
            }
        }
        for name in names.difference(&state.subscribed) {
            hub.subscribe(self.seat.client, kind, name);
            state.due.insert(name.clone());
        }
        if wildcard && !state.wildcard {
            hub.subscribe_all(self.seat.client, kind);
            state.due.insert(WILDCARD.into());
        } else if state.wildcard && !wildcard {
            hub.unsubscribe_all(self.seat.client, kind);
            state.due.insert(WILDCARD.into());
        }
        state.wildcard = wildcard;
        state.subscribed = names;
    }

    fn say(
        &mut self,
        kind: Kind,
        progress: &mut Progress,
        hub: &Hub,
    ) -> Option<discovery::DiscoveryResponse> {
        let state = progress.types.get_mut(&kind)?;
        // One response at a time: names in a request are of the state the client answers to.
        if state.due.is_empty() || !state.in_flight.is_empty() || !hub.is_synced() {
            return None;
        }
        let (said, changed) = if is_whole(kind) {
            whole(state, kind, self.seat.client, hub)?
        } else {
            let changed = changed(state, kind, self.seat.client, hub);
            (changed.clone(), changed)
        };
        let since = state.since.take();
        if said.is_empty() && !is_whole(kind) {
            return None;
        }
        let nonce = self.seat.nonce();
        for resource in &said {
            state.tell(&resource.name, What::Version(resource.version), nonce);
        }
        let names = said.iter().map(|resource| resource.name.clone()).collect();
        state.sent(nonce, names, since);
        if kind == Kind::Cluster {
            progress.endpoints_again(&changed);
        }
        hub.metrics().kind(kind, |counts| {
            counts.responses += 1;
            counts.resources += said.len() as u64;
        });
        let version = said
            .iter()
            .fold(Digest::of(b""), |digest, it| digest.resource(it));
        Some(discovery::DiscoveryResponse {
            type_url: kind.type_url().to_owned(),
            nonce: nonce.to_string(),
            version_info: version.version().to_string(),
            resources: said.iter().map(|resource| resource.body.clone()).collect(),
            ..discovery::DiscoveryResponse::default()
        })
    }
}

/// Whether all of a type is told at once.
fn is_whole(kind: Kind) -> bool {
    matches!(kind, Kind::Cluster | Kind::Listener)
}

type Resources = Vec<Arc<Resource>>;

/// All the client subscribed to, and the part of it that is news; `None` if it was told just that.
fn whole(
    state: &mut TypeState,
    kind: Kind,
    client: ClientId,
    hub: &Hub,
) -> Option<(Resources, Resources)> {
    state.due.clear();
    let mut names = state.subscribed.clone();
    if state.wildcard {
        let all = hub.subscribe_all(client, kind).into_iter();
        names.extend(all.map(Arc::from));
    }
    let mut digest = Digest::of(b"");
    let mut whole = Resources::new();
    for name in &names {
        match hub.current(client, kind, name) {
            Current::Present(resource) => {
                digest = digest.resource(&resource);
                whole.push(resource);
            }
            // Who asks for what is not there wants to be told so.
            Current::Absent | Current::Unknown => digest = digest.absent(name),
        }
    }
    if state.whole.replace(digest.version()) == Some(digest.version()) {
        return None;
    }
    let version = |resource: &Arc<Resource>| Some(What::Version(resource.version));
    let told = |name: &Arc<str>| state.told.get(name).map(|told| told.what);
    let changed = whole
        .iter()
        .filter(|it| told(&it.name) != version(it))
        .cloned()
        .collect();
    state.told.retain(|name, _| names.contains(name));
    for name in &state.subscribed.clone() {
        // What is there is told with the response.
        state.tell(name, What::Absent, 0);
    }
    Some((whole, changed))
}

/// The part of what is due that can be said.
fn changed(state: &mut TypeState, kind: Kind, client: ClientId, hub: &Hub) -> Resources {
    let mut changed = Vec::new();
    for name in std::mem::take(&mut state.due) {
        match state.news(&name, hub.current(client, kind, &name)) {
            News::Changed(resource) => changed.push(resource),
            News::Removed => state.tell(&name, What::Absent, 0),
            News::Nothing | News::Later => {}
        }
    }
    state.urgent.clear();
    changed
}
