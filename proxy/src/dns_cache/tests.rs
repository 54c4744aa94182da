use std::time::Duration;

use super::*;
use crate::config::dns::DnsLookupFamily;

fn cache(max_hosts: u32, max_pending_requests: u32) -> Arc<DnsCache> {
    let config = DnsCacheConfig {
        name: "names".to_owned(),
        family: DnsLookupFamily::V4Only,
        refresh_rate: Duration::from_secs(60),
        min_refresh_rate: Duration::from_secs(5),
        failure: None,
        forgets_failures: false,
        host_ttl: Duration::from_secs(300),
        max_hosts,
        max_pending_requests,
        preresolve: Vec::new(),
        query_timeout: None,
        resolver: None,
        filter: None,
    };
    DnsCaches::default().get(&Arc::new(config), &Registry::default())
}

fn key(name: &str) -> Key {
    Key::of_authority(name, None, 80).expect("a port")
}

#[test]
fn a_name_without_a_port_has_that_of_its_protocol() {
    let text = |host, port| Key::of_authority(host, port, 443).map(|key| key.to_string());
    assert_eq!(text("a.test", None).as_deref(), Some("a.test:443"));
    assert_eq!(text("a.test", Some("")).as_deref(), Some("a.test:443"));
    assert_eq!(text("A.test", Some("8")).as_deref(), Some("A.test:8"));
    assert_eq!(text("[::1]", None).as_deref(), Some("[::1]:443"));
    assert_eq!(text("a.test", Some("65536")), None);
}

#[test]
fn what_is_no_name_is_not_asked_for() {
    let cache = cache(1024, 1024);
    let long = "a".repeat(256);
    for name in ["", "[]", &long] {
        let load = cache.load(&key(name), Asker::Cluster);
        assert!(matches!(load, Load::Known(Answer::Failed(_))), "{load:?}");
    }
    assert_eq!(cache.stats.host_added.get(), 0);
}

#[test]
fn however_many_names_come_no_more_are_held_than_may_be() {
    let cache = cache(10, 1024);
    for index in 0..10_000 {
        let load = cache.load(&key(&format!("n{index}.test")), Asker::Cluster);
        assert_eq!(index < 10, matches!(load, Load::Loading(_)), "{load:?}");
    }
    let state = cache.lock();
    assert_eq!(
        (state.hosts.len(), state.asked.len(), state.pending),
        (10, 10, 0)
    );
    assert_eq!(cache.stats.host_overflow.get(), 9990);
}

#[test]
fn who_waits_counts_until_they_go() {
    let cache = cache(1024, 2);
    let ask = || cache.load(&key("a.test"), Asker::Cluster);
    let (one, other) = (ask(), ask());
    assert!(matches!(
        (&one, &other),
        (Load::Loading(_), Load::Loading(_))
    ));
    assert!(matches!(ask(), Load::PendingOverflow));
    assert_eq!(cache.breaker.rq_pending_open.get(), 1);
    drop(one);
    assert_eq!(cache.breaker.rq_pending_remaining.get(), 1);
    assert!(matches!(ask(), Load::Loading(_)));
    drop(other);
    assert_eq!(cache.stats.dns_rq_pending_overflow.get(), 1);
    assert_eq!(cache.stats.host_added.get(), 1, "it is looked up once");
}

#[test]
fn caches_are_shared_by_those_who_say_the_same() {
    let (caches, registry) = (DnsCaches::default(), Registry::default());
    let config = |max_hosts| Arc::clone(&cache(max_hosts, 1).config);
    let one = caches.get(&config(1), &registry);
    assert!(Arc::ptr_eq(&one, &caches.get(&config(1), &registry)));
    assert!(!Arc::ptr_eq(&one, &caches.get(&config(2), &registry)));
}
