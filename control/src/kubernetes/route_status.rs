//! What becomes of routes, in their status: for each parent that is a Service, whether callers are routed
//! by it. Entries of other controllers stay as they are.

mod parents;

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde_json::{Value, json};
use tokio::sync::watch;
use weir_discovery::{
    model::Snapshot,
    rules::{
        self,
        gateway::{ROUTE_GROUP, ROUTE_KINDS, ROUTE_VERSION, RouteKind},
    },
    xds::Hub,
};

use super::{Shared, failure, metrics::increment};

/// Time in which changes are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// Time until writes that failed are tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Writes under way at a time: few enough for the API server not to notice.
const WRITES: usize = 8;
/// Changes taken in at once.
const BATCH: usize = 256;
/// Parents that an API server takes in a status.
const MOST_PARENTS: usize = 32;

/// Keeps the status of all routes right, while it leads.
pub(crate) struct RouteStatusKeeper {
    pub(crate) client: Client,
    pub(crate) hub: Arc<Hub>,
    pub(crate) rules: rules::Settings,
    pub(crate) shared: Shared,
    /// Whether we lead.
    pub(crate) leads: watch::Receiver<bool>,
}

/// Tells routes apart: the place of their kind, namespace, name.
type Key = (usize, String, String);

/// All routes, and those of listings under way.
#[derive(Default)]
struct Routes {
    known: BTreeMap<Key, DynamicObject>,
    listing: BTreeMap<Key, DynamicObject>,
}

/// A status to write.
struct Write {
    api: Api<DynamicObject>,
    name: String,
    patch: Value,
}

// === impl RouteStatusKeeper ===

impl RouteStatusKeeper {
    /// Never returns.
    pub(crate) async fn run(mut self) {
        loop {
            if self.leads.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            let mut leads = self.leads.clone();
            tokio::select! {
                () = self.lead() => return,
                _ = leads.wait_for(|leads| !*leads) => {}
            }
        }
    }

    async fn lead(&self) {
        let kinds = ROUTE_KINDS.iter().enumerate();
        let kinds = kinds.map(|(at, kind)| self.watch(at, kind).boxed());
        let mut events = pin!(stream::select_all(kinds).ready_chunks(BATCH));
        let mut routes = Routes::default();
        let mut routed = self.hub.routed();
        let mut retry = false;
        loop {
            tokio::select! {
                Some(batch) = events.next() => {
                    batch.into_iter().for_each(|(at, event)| routes.see(at, event));
                }
                Ok(()) = routed.changed() => {}
                () = tokio::time::sleep(RETRY), if retry => {}
            }
            tokio::time::sleep(GATHER).await;
            retry = !self.put_right(&routes).await;
        }
    }

    fn watch(
        &self,
        at: usize,
        kind: &RouteKind,
    ) -> impl Stream<Item = (usize, watcher::Result<Event<DynamicObject>>)> + use<> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource(kind));
        let events = watcher::watcher(api, watcher::Config::default()).default_backoff();
        events.map(move |event| (at, event))
    }

    /// Writes each status that is not what it should be. Says whether all are right then.
    async fn put_right(&self, routes: &Routes) -> bool {
        // Before everything was read, nothing can be said of it.
        let Some(snapshot) = self.hub.snapshot() else {
            return true;
        };
        let wrong = routes.known.iter().filter_map(|((at, ..), route)| {
            let kind = &ROUTE_KINDS[*at];
            let parents = self.wanted(kind, route, &snapshot)?;
            Some(Write::new(self.client.clone(), kind, route, &parents))
        });
        let wrong: Vec<_> = wrong.collect();
        let writes = stream::iter(wrong).map(Write::send);
        let written: Vec<_> = writes.buffer_unordered(WRITES).collect().await;
        let mut all = true;
        for written in written {
            match written {
                Ok(()) => increment(&self.shared.metrics.route_status_writes),
                Err(reason) => {
                    tracing::warn!(reason, "cannot write the status of a route");
                    all = false;
                }
            }
        }
        all
    }

    /// `status.parents` as they should be, if they are not.
    fn wanted(
        &self,
        kind: &RouteKind,
        route: &DynamicObject,
        snapshot: &Snapshot,
    ) -> Option<Vec<Value>> {
        let object = json!({"metadata": route.metadata, "spec": route.data["spec"]});
        let verdicts = kind.judge(&object, snapshot, &self.rules)?;
        let now = (self.shared.clock)();
        let mut wanted = parents::wanted(route, &verdicts, now)?;
        wanted.truncate(MOST_PARENTS);
        Some(wanted)
    }
}

// === impl Write ===

impl Write {
    fn new(client: Client, kind: &RouteKind, route: &DynamicObject, parents: &[Value]) -> Self {
        let namespace = route.namespace().unwrap_or_default();
        Self {
            name: route.name_any(),
            api: Api::namespaced_with(client, &namespace, &resource(kind)),
            patch: json!({
                // Who writes at the same time is not undone: the watch will tell.
                "metadata": {"resourceVersion": route.resource_version()},
                "status": {"parents": parents},
            }),
        }
    }

    /// An error is why it failed, with the object. One that came too late is none.
    async fn send(self) -> Result<(), String> {
        let params = PatchParams {
            field_manager: Some(super::FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let Self { api, name, patch } = self;
        match api.patch_status(&name, &params, &Patch::Merge(patch)).await {
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(()),
            Err(error) => {
                let reason = failure(&error);
                Err(format!("{}/{name}: {reason}", api.resource_url()))
            }
            Ok(_) => Ok(()),
        }
    }
}

// === impl Routes ===

impl Routes {
    fn see(&mut self, at: usize, event: watcher::Result<Event<DynamicObject>>) {
        let key =
            |route: &DynamicObject| (at, route.namespace().unwrap_or_default(), route.name_any());
        match event {
            Ok(Event::Init) => self.listing.retain(|(of, ..), _| *of != at),
            Ok(Event::InitApply(route)) => {
                self.listing.insert(key(&route), route);
            }
            Ok(Event::InitDone) => {
                self.known.retain(|(of, ..), _| *of != at);
                let listed = self.listing.extract_if(.., |(of, ..), _| *of == at);
                self.known.extend(listed);
            }
            Ok(Event::Apply(route)) => {
                self.known.insert(key(&route), route);
            }
            Ok(Event::Delete(route)) => {
                self.known.remove(&key(&route));
            }
            // Where the kind is not there, nobody has routes; who follows them says what else is wrong.
            Err(error) => {
                let (kind, reason) = (ROUTE_KINDS[at].kind, failure(&error));
                tracing::debug!(kind, reason, "cannot watch routes for their status");
            }
        }
    }
}

fn resource(kind: &RouteKind) -> ApiResource {
    let named = GroupVersionKind::gvk(ROUTE_GROUP, ROUTE_VERSION, kind.kind);
    ApiResource::from_gvk_with_plural(&named, kind.plural)
}

#[cfg(test)]
mod tests;
