//! Who is checked: the hosts of a cluster, as they come and go.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::AbortHandle, time::sleep};

use super::{
    event::EventLog,
    probe::{Context, watch},
};
use crate::{
    boundary::Boundary,
    cluster::{
        health::{CheckTarget, ClusterHealth, Healths},
        transport_socket::UpstreamSockets,
    },
    secrets::Secrets,
    singletons::Singletons,
    stats::Registry,
};

/// Checks that may be under way at a time, each of which has a socket: others wait.
const AT_A_TIME: usize = 1024;
/// What checks have changed is made known at once, and then not again for so long a host: a change
/// has every worker look at every host.
const PAUSE: Duration = Duration::from_micros(100);

/// What checks need of the process.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) healths: Arc<Healths>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) singletons: Arc<Singletons>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) boundary: Boundary,
    pub(crate) events: Arc<EventLog>,
    pub(crate) places: Arc<Semaphore>,
}

/// A host that is checked. Dropping it ends that.
struct Running {
    target: Arc<CheckTarget>,
    task: AbortHandle,
}

/// Checks the hosts of a cluster for as long as it is polled.
pub(crate) async fn keep(health: Arc<ClusterHealth>, surroundings: Surroundings) {
    let Surroundings {
        healths,
        registry,
        singletons,
        secrets,
        boundary,
        events,
        places,
    } = surroundings;
    let context = Arc::new(Context {
        sockets: UpstreamSockets::new(health.config(), &registry, &singletons, &secrets),
        health: Arc::clone(&health),
        boundary,
        events,
        places,
    });
    let mut running: HashMap<SocketAddr, Running> = HashMap::new();
    loop {
        let targets = health.check_targets();
        let pause = PAUSE.saturating_mul(u32::try_from(targets.len()).unwrap_or(u32::MAX));
        bring_in_line(&mut running, targets, &context);
        let was_warm = health.is_warm();
        health.settle_checks();
        if health.is_warm() && !was_warm {
            healths.warmed.notify_one();
        }
        health.changed.notified().await;
        sleep(pause).await;
    }
}

/// Ends checks of hosts that are gone, and begins those of new ones.
fn bring_in_line(
    running: &mut HashMap<SocketAddr, Running>,
    targets: Vec<CheckTarget>,
    context: &Arc<Context>,
) {
    let mut before = std::mem::take(running);
    for target in targets {
        let known = before.remove(&target.host);
        let known = known.filter(|known| known.target.is(&target));
        let host = target.host;
        let begin = || Running::begin(target, context);
        running.insert(host, known.unwrap_or_else(begin));
    }
}

// === impl Surroundings ===

impl Surroundings {
    pub(crate) fn new(
        healths: &Arc<Healths>,
        registry: &Arc<Registry>,
        singletons: &Arc<Singletons>,
        secrets: &Arc<Secrets>,
        boundary: &Boundary,
    ) -> Self {
        Self {
            healths: Arc::clone(healths),
            registry: Arc::clone(registry),
            singletons: Arc::clone(singletons),
            secrets: Arc::clone(secrets),
            boundary: boundary.clone(),
            events: Arc::default(),
            places: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }
}

// === impl Running ===

impl Running {
    fn begin(target: CheckTarget, context: &Arc<Context>) -> Self {
        let target = Arc::new(target);
        let (of_task, context) = (Arc::clone(&target), Arc::clone(context));
        let boundary = context.boundary.clone();
        let start = move || watch(Arc::clone(&context), Arc::clone(&of_task));
        let task = tokio::spawn(boundary.keep(start)).abort_handle();
        Self { target, task }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;
