use serde_json::json;
use tokio::task::JoinHandle;

use super::*;
use crate::kubernetes::fake::FakeApi;

const AT: &str = "namespaces/weir-system/leases/weir-control-leader";

fn candidate(api: &FakeApi, me: &str) -> (watch::Receiver<bool>, JoinHandle<()>) {
    let candidate = Candidate::new(api.client(), "weir-system", me);
    (candidate.leads(), tokio::spawn(candidate.run()))
}

async fn until(leads: &mut watch::Receiver<bool>, wanted: bool) {
    leads.wait_for(|it| *it == wanted).await.expect("it runs");
}

fn holder(api: &FakeApi) -> String {
    let lease = api.get(AT).expect("a lease");
    lease["spec"]["holderIdentity"]
        .as_str()
        .expect("one")
        .to_owned()
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_another_takes_over_once_it_is_gone() {
    let api = FakeApi::new();
    let (mut first, task) = candidate(&api, "a");
    until(&mut first, true).await;
    let (mut second, _task) = candidate(&api, "b");
    tokio::time::sleep(LASTS * 10).await;
    assert!(*first.borrow() && !*second.borrow());
    assert_eq!(holder(&api), "a");

    task.abort();
    let gone = Instant::now();
    until(&mut second, true).await;
    assert!(gone.elapsed() + LOOK >= LASTS, "{:?}", gone.elapsed());
    assert_eq!(holder(&api), "b");
    assert_eq!(api.get(AT).expect("a lease")["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_renew_leads_no_more_and_leads_again() {
    let api = FakeApi::new();
    let (mut leads, _task) = candidate(&api, "a");
    until(&mut leads, true).await;
    api.fail(Some(("PUT leases", 500)));
    let since = Instant::now();
    until(&mut leads, false).await;
    assert!(since.elapsed() < LASTS, "before another may take over");
    api.fail(None);
    until(&mut leads, true).await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_holds_is_taken_at_once_and_what_somebody_renews_is_not() {
    let api = FakeApi::new();
    api.put(AT, json!({"spec": {}}));
    let (mut leads, task) = candidate(&api, "a");
    until(&mut leads, true).await;
    task.abort();
    let (leads, _task) = candidate(&api, "b");
    for renewed in 0..20 {
        let time = format!("2026-01-01T00:00:{renewed:02}.000000Z");
        api.put(
            AT,
            json!({"spec": {"holderIdentity": "c", "renewTime": time}}),
        );
        tokio::time::sleep(LASTS / 2).await;
        assert!(!*leads.borrow());
    }
}
