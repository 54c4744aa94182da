//! Two control planes that die, come back and hear of events in different orders, streams that are
//! cut, and a real `weir-agent` under traffic in front of it all: no request fails for it, and in the
//! end everybody has the same.

mod balancer;
mod replica;
mod sidecar;
mod traffic;
mod world;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use balancer::Balancer;
use replica::Replica;
use sidecar::Sidecar;
use traffic::{Backend, Traffic};
use weir_tests::skip;
use world::{Dice, World};

/// What happens one after the other, each while so many requests are served.
const STEPS: usize = 80;
const REQUESTS: u64 = 25;
/// Chaos ends after that, however slow the machine is.
const LIMIT: Duration = Duration::from_secs(12);
/// Far longer than anything takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(call).await.expect("no panic")
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn no_request_fails_and_everybody_ends_up_with_the_same() {
    let Some(program) = skip::built("weir-agent") else {
        return;
    };
    let backends: Vec<_> = (0..3).map(|_| Backend::start()).collect();
    let mut world = World::new(backends.iter().map(|backend| backend.port).collect());
    let mut dice = Dice(0x5eed);
    let balancer = Balancer::start().await;
    let mut replicas = [None, None];
    for replica in &mut replicas {
        *replica = Some(Replica::start(world.everything(&mut dice)).await);
    }
    point(&balancer, &replicas);
    let sidecar = Sidecar::start(&program, balancer.address);
    let listener = sidecar.listener;
    let began = Instant::now();
    // Blocking calls are made elsewhere: the control planes are served on this thread.
    while blocking(move || traffic::get(listener)).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "the sidecar does not answer");
    }

    let traffic = Traffic::start(listener, 4);
    let began = Instant::now();
    for step in 0..STEPS {
        match dice.roll(6) {
            // One of them dies and forgets everything, or comes back.
            0 => {
                let at = dice.roll(2);
                replicas[at] = match replicas[at].take() {
                    Some(_) => None,
                    None => Some(Replica::start(world.everything(&mut dice)).await),
                };
                point(&balancer, &replicas);
            }
            1 => balancer.cut(),
            _ => {
                let events = world.change(&mut dice);
                for replica in replicas.iter_mut().flatten() {
                    replica.apply(&events, &mut dice);
                }
            }
        }
        let target = traffic.served() + REQUESTS;
        until("requests", || {
            traffic.served() >= target || traffic.failed().is_some()
        })
        .await;
        assert_eq!(traffic.failed(), None, "at step {step}");
        if began.elapsed() > LIMIT {
            break;
        }
    }
    assert_eq!(blocking(|| traffic.stop()).await, None);

    for replica in &mut replicas {
        if replica.is_none() {
            *replica = Some(Replica::start(world.everything(&mut dice)).await);
        }
    }
    point(&balancer, &replicas);
    let replicas = replicas.map(|replica| Arc::new(replica.expect("it was started")));
    assert_eq!(replicas[0].versions(), replicas[1].versions());
    until("the sidecar is up to date", || {
        replicas
            .iter()
            .any(|replica| replica.has_one_up_to_date_client())
    })
    .await;
    assert_eq!(
        blocking(move || sidecar.endpoints()).await,
        world.endpoints()
    );
}

/// Sends clients to those that are alive.
fn point(balancer: &Balancer, replicas: &[Option<Replica>]) {
    let alive = replicas.iter().flatten();
    balancer.point(alive.map(|replica| replica.address).collect());
}
