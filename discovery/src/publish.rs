//! From events of a registry to snapshots in the hub, debounced.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use crate::{
    model::{Event, Index},
    xds::Hub,
};

/// Quiet time after which changes are published.
pub const DEBOUNCE_QUIET: Duration = Duration::from_millis(100);
/// Time after which changes are published however busy it is.
pub const DEBOUNCE_MAX: Duration = Duration::from_secs(10);

/// Publishes what the registry says at first, at once: who asks after that is told. What is returned
/// follows the registry until it ends.
pub fn publish(
    initial: Vec<Event>,
    events: mpsc::Receiver<Vec<Event>>,
    hub: Arc<Hub>,
) -> impl Future<Output = ()> {
    let mut index = Index::default();
    initial.into_iter().for_each(|event| index.apply(event));
    commit(&mut index, &hub, Instant::now());
    follow(index, events, hub)
}

/// Publishes nothing before `synced`, by when the registry has sent all it has to say at first:
/// until then nobody may be told that something does not exist. Follows it from there.
pub async fn publish_when(
    synced: impl Future<Output = ()>,
    mut events: mpsc::Receiver<Vec<Event>>,
    hub: Arc<Hub>,
) {
    let mut index = Index::default();
    let mut synced = pin!(synced);
    loop {
        tokio::select! {
            batch = events.recv() => match batch {
                Some(batch) => batch.into_iter().for_each(|event| index.apply(event)),
                None => return,
            },
            () = &mut synced => break,
        }
    }
    while let Ok(batch) = events.try_recv() {
        batch.into_iter().for_each(|event| index.apply(event));
    }
    commit(&mut index, &hub, Instant::now());
    follow(index, events, hub).await;
}

async fn follow(mut index: Index, mut events: mpsc::Receiver<Vec<Event>>, hub: Arc<Hub>) {
    while let Some(batch) = events.recv().await {
        let since = Instant::now();
        batch.into_iter().for_each(|event| index.apply(event));
        settle(&mut events, since, &mut index).await;
        commit(&mut index, &hub, since);
    }
}

/// Takes in more events until it is quiet, or has been busy for long enough.
async fn settle(events: &mut mpsc::Receiver<Vec<Event>>, since: Instant, index: &mut Index) {
    let latest = since + DEBOUNCE_MAX;
    loop {
        let deadline = latest.min(Instant::now() + DEBOUNCE_QUIET);
        match timeout_at(deadline, events.recv()).await {
            Ok(Some(batch)) => batch.into_iter().for_each(|event| index.apply(event)),
            Ok(None) | Err(_) => return,
        }
        if Instant::now() >= latest {
            return;
        }
    }
}

fn commit(index: &mut Index, hub: &Hub, since: Instant) {
    let first = !hub.is_synced();
    let (snapshot, changes) = match index.commit() {
        Some(news) => news,
        None if first => (index.snapshot(), crate::model::Changes::default()),
        None => return,
    };
    let (services, addresses) = (changes.services.len(), changes.addresses.len());
    tracing::debug!(services, addresses, "publishing");
    hub.publish(&snapshot, &changes, since.into_std());
    hub.metrics().published();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{
            InternalTrafficPolicy, NamespacedName, Object, Service, ServiceKind, SessionAffinity,
            TrafficDistribution,
        },
        xds::Generator,
    };

    fn batch(number: u32) -> Vec<Event> {
        vec![Event::Applied(Object::Service(Service {
            name: NamespacedName::new("shop", &format!("s{number}")),
            created: None,
            kind: ServiceKind::ClusterIp,
            addresses: Vec::new(),
            ports: Vec::new(),
            internal_traffic_policy: InternalTrafficPolicy::Cluster,
            traffic_distribution: TrafficDistribution::Any,
            session_affinity: SessionAffinity::None,
            entry: None,
        }))]
    }

    /// Services the hub knows.
    fn known(hub: &Hub) -> usize {
        hub.snapshot()
            .map_or(0, |snapshot| snapshot.service_count())
    }

    #[tokio::test(start_paused = true)]
    async fn changes_wait_for_quiet_but_not_for_ever() {
        let hub = Arc::new(Hub::new(Generator::default()));
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(publish(batch(0), receiver, hub.clone()));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(known(&hub), 1, "the first at once");

        sender.send(batch(1)).await.expect("send");
        tokio::time::sleep(Duration::from_millis(90)).await;
        assert_eq!(known(&hub), 1);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(known(&hub), 2);

        let began = Instant::now();
        let mut number = 2;
        while known(&hub) == 2 {
            sender.send(batch(number)).await.expect("send");
            number += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let waited = began.elapsed();
        assert!(
            waited >= DEBOUNCE_MAX && waited < DEBOUNCE_MAX + DEBOUNCE_QUIET,
            "{waited:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_registry_is_a_registry_that_was_read() {
        let hub = Arc::new(Hub::new(Generator::default()));
        let (_sender, receiver) = mpsc::channel(1);
        tokio::spawn(publish(Vec::new(), receiver, hub.clone()));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(hub.is_synced());
    }
}
