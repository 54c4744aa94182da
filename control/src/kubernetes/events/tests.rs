use std::sync::atomic::Ordering;

use super::*;
use crate::kubernetes::fake::FakeApi;

fn note(name: &str) -> Note {
    Note {
        about: ObjectReference {
            kind: Some("ReplicaSet".to_owned()),
            namespace: Some("shop".to_owned()),
            name: Some(name.to_owned()),
            uid: Some("u-1".to_owned()),
            ..ObjectReference::default()
        },
        kind: Kind::Warning,
        reason: "NotInjected",
        action: "Admission",
        text: "not injected: the pod uses the node's network".to_owned(),
    }
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn written(api: &FakeApi) -> usize {
    api.writes().len()
}

#[tokio::test(start_paused = true)]
async fn the_same_is_said_once_by_all_replicas() {
    let api = FakeApi::new();
    let metrics = Arc::new(Metrics::default());
    let (first, writer) = channel(api.client(), "weir-control-1", metrics.clone());
    tokio::spawn(writer.run());
    let (second, writer) = channel(api.client(), "weir-control-2", metrics.clone());
    tokio::spawn(writer.run());
    for _ in 0..5 {
        first.say(note("web"));
        second.say(note("web"));
    }
    settle().await;
    assert_eq!(metrics.events.load(Ordering::Relaxed), 1);
    // Each replica asked once.
    assert_eq!(written(&api), 2);
    first.say(note("cart"));
    settle().await;
    assert_eq!(metrics.events.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_limited_and_counted() {
    let api = FakeApi::new();
    let metrics = Arc::new(Metrics::default());
    let (events, writer) = channel(api.client(), "", metrics.clone());
    tokio::spawn(writer.run());
    for number in 0..1000 {
        events.say(note(&format!("web-{number}")));
    }
    settle().await;
    assert_eq!(metrics.events.load(Ordering::Relaxed), u64::from(BURST));
    assert_eq!(
        metrics.events_dropped.load(Ordering::Relaxed),
        1000 - u64::from(BURST)
    );
    tokio::time::sleep(INTERVAL * 3).await;
    for number in 0..10 {
        events.say(note(&format!("cart-{number}")));
    }
    settle().await;
    assert_eq!(metrics.events.load(Ordering::Relaxed), u64::from(BURST) + 3);
}

#[tokio::test(start_paused = true)]
async fn an_event_has_what_people_look_for() {
    let api = FakeApi::new();
    let (events, writer) = channel(api.client(), "weir-control-1", Arc::default());
    tokio::spawn(writer.run());
    let note = Note {
        text: "ä".repeat(2000),
        ..note("web")
    };
    let path = format!("namespaces/shop/events/web.{:016x}", note.key());
    events.say(note);
    let event = api.until(&path, |event| event.is_some()).await;
    assert_eq!(event["regarding"]["kind"], "ReplicaSet");
    assert_eq!(event["reason"], "NotInjected");
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["reportingInstance"], "weir-control-1");
    assert_eq!(event["note"].as_str().expect("a note").len(), NOTE_BYTES);
}
