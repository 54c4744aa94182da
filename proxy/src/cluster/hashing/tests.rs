use std::{collections::HashMap, net::SocketAddr};

use twox_hash::XxHash64;

use super::{super::fixture, *};
use crate::config::endpoint::Endpoint;

fn host(last: u8, hash_key: Option<&str>) -> Rc<Host> {
    let endpoint = Endpoint {
        hash_key: hash_key.map(Into::into),
        ..Endpoint::at(SocketAddr::from(([10, 0, 0, last], 8080)))
    };
    Rc::new(Host::new(&endpoint.into(), (0, 0)))
}

/// Hosts of equal weight, hashed as a cluster with these fields says.
fn hashed(hosts: &[Rc<Host>], fields: &str) -> Hashed {
    let config = fixture::config(fields);
    let by_hostname = config.load_balancing.consistent_hashing.by_hostname;
    let keyed = |host: &Rc<Host>| Keyed::new(host, by_hostname, 1.0 / hosts.len() as f64);
    let keyed: Vec<Keyed> = hosts.iter().map(keyed).collect();
    Hashed::new(&keyed, &config).expect("a policy that goes by a hash")
}

const RING: &str = "lb_policy: RING_HASH";
const MAGLEV: &str = "lb_policy: MAGLEV";

fn client(number: u16) -> u64 {
    XxHash64::oneshot(0, &number.to_be_bytes())
}

fn pick(hashed: &Hashed, hosts: &[Rc<Host>], client: u64) -> SocketAddr {
    let index = hashed.pick(hosts, (client, 0), 0).expect("a host");
    hosts[index].address
}

#[test]
fn most_clients_stay_where_they_are_when_a_host_goes() {
    for policy in [RING, MAGLEV] {
        let hosts: Vec<_> = (1..=5).map(|last| host(last, None)).collect();
        let (all, fewer) = (hashed(&hosts, policy), hashed(&hosts[..4], policy));
        let gone = hosts[4].address;
        let mut counts = HashMap::<SocketAddr, u32>::new();
        let (mut stayed, mut moved) = (0, 0);
        for client in (0..1000).map(client) {
            let before = pick(&all, &hosts, client);
            assert_eq!(pick(&all, &hosts, client), before);
            *counts.entry(before).or_default() += 1;
            if before != gone {
                let stays = pick(&fewer, &hosts[..4], client) == before;
                *[&mut moved, &mut stayed][usize::from(stays)] += 1;
            }
        }
        // The others get more points each, and some of those stand between.
        assert!(moved * 4 < stayed, "{policy}: {moved} of {stayed}");
        assert!(
            counts.len() == 5 && counts.values().all(|count| *count > 100),
            "{policy}: {counts:?}"
        );
    }
}

#[test]
fn another_host_is_found_while_there_is_one() {
    for policy in [RING, MAGLEV] {
        let hosts = [host(1, None), host(2, None)];
        let hashed = hashed(&hosts, policy);
        for client in (0..20).map(client) {
            let first = hashed.pick(&hosts, (client, 0), 0).expect("a host");
            assert_eq!(
                hashed.other(client, |index| index != first),
                Some(1 - first)
            );
            assert_eq!(hashed.other(client, |_| false), None);
        }
    }
}

#[test]
fn hosts_of_equal_keys_are_chosen_alike_whatever_their_addresses() {
    let keyed = |shift: u8| -> Vec<_> {
        let hosts = ["a", "b", "c"].iter().zip(shift..);
        hosts.map(|(key, last)| host(last, Some(key))).collect()
    };
    for policy in [RING, MAGLEV] {
        let (one, other) = (keyed(1), keyed(11));
        let (by_one, by_other) = (hashed(&one, policy), hashed(&other, policy));
        for client in (0..50).map(client) {
            let index = by_one.pick(&one, (client, 0), 0);
            assert_eq!(index, by_other.pick(&other, (client, 0), 0));
        }
    }
}

#[test]
fn who_has_more_than_its_share_passes_requests_on() {
    let hosts: Vec<_> = (1..=4).map(|last| host(last, None)).collect();
    let bounded =
        "common_lb_config: { consistent_hashing_lb_config: { hash_balance_factor: 150 } }";
    let hashed = hashed(&hosts, &format!("{MAGLEV}, {bounded}"));
    let first = hashed.pick(&hosts, (client(1), 0), 0).expect("a host");
    hosts[first].add_active(4);
    // Five requests may be 1.5 * 5 / 4, which is two for each host.
    let second = hashed.pick(&hosts, (client(1), 0), 4).expect("a host");
    assert_ne!(second, first);
    assert_eq!(hashed.pick(&hosts, (client(1), 0), 4), Some(second));
    // With sixteen in flight, seven for each.
    assert_eq!(hashed.pick(&hosts, (client(1), 0), 16), Some(first));
    // All have too much, the first most of all.
    hosts.iter().for_each(|host| host.add_active(9));
    assert_ne!(hashed.pick(&hosts, (client(1), 0), 4), Some(first));
}
