//! A ring of hashes: the same client comes to the same host, and where hosts come and go most clients
//! stay where they are. Points and hashes are Envoy's, so both choose alike.

use std::{fmt::Write as _, io::Write as _, net::IpAddr, rc::Rc};

use twox_hash::XxHash64;

use super::Host;
use crate::config::cluster::{HashPolicy, RingHash};

/// Longest text of an IPv6 address, with a scope.
const ADDRESS: usize = 64;

/// Hosts on a ring, each with points by its weight.
pub(super) struct Ring {
    hosts: Vec<Rc<Host>>,
    /// Hashes, ascending, and the index of the host each belongs to.
    points: Vec<(u64, u32)>,
}

/// The hash of a client, if the policies give one.
pub(crate) fn hash_of(policies: &[HashPolicy], source: IpAddr) -> Option<u64> {
    policies.iter().fold(None, |before: Option<u64>, policy| {
        let HashPolicy::SourceIp = policy;
        let hash = hash_of_address(source);
        // As Envoy: of two that are equal something remains.
        Some(before.map_or(hash, |before| before.rotate_left(1) ^ hash))
    })
}

/// Of the address as people write it, without a port.
fn hash_of_address(address: IpAddr) -> u64 {
    let mut text = [0; ADDRESS];
    let mut rest = &mut text[..];
    // No address is longer than there is room for.
    let _ = write!(rest, "{}", address.to_canonical());
    let length = ADDRESS - rest.len();
    XxHash64::oneshot(0, &text[..length])
}

// === impl Ring ===

impl Ring {
    pub(super) fn new(hosts: &[Rc<Host>], size: RingHash) -> Self {
        let weight = |host: &Rc<Host>| f64::from(host.weight);
        let total: f64 = hosts.iter().map(weight).sum();
        let least = hosts.iter().map(weight).fold(f64::INFINITY, f64::min) / total;
        // So many that the host of the least weight has whole points.
        let wanted = (least * f64::from(size.minimum_size)).ceil() / least;
        let scale = wanted.min(f64::from(size.maximum_size));
        let (mut points, mut key) = (Vec::new(), String::new());
        let (mut placed, mut target) = (0.0, 0.0);
        for (index, host) in (0_u32..).zip(hosts) {
            target += scale * weight(host) / total;
            for number in 0_u32.. {
                if placed >= target {
                    break;
                }
                key.clear();
                // Writing to a string cannot fail.
                let _ = match &host.hash_key {
                    Some(own) => write!(key, "{own}_{number}"),
                    None => write!(key, "{}_{number}", host.address),
                };
                points.push((XxHash64::oneshot(0, key.as_bytes()), index));
                placed += 1.0;
            }
        }
        points.sort_unstable();
        Self {
            hosts: hosts.to_vec(),
            points,
        }
    }

    /// The host that `hash` leads to, or the next on the ring that has not `failed`.
    pub(super) fn pick(&self, hash: u64, failed: impl Fn(&Rc<Host>) -> bool) -> Option<&Rc<Host>> {
        let start = self.points.partition_point(|(point, _)| *point < hash);
        let (before, after) = self.points.split_at(start);
        let mut round = after.iter().chain(before).map(|(_, index)| *index);
        let first = self.hosts.get(usize::try_from(round.next()?).ok()?)?;
        if !failed(first) || self.hosts.len() == 1 {
            return Some(first);
        }
        let mut others = round.filter_map(|index| self.hosts.get(usize::try_from(index).ok()?));
        Some(others.find(|host| !failed(host)).unwrap_or(first))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, net::SocketAddr};

    use super::*;
    use crate::config::endpoint::Endpoint;

    fn host(last: u8, weight: u32, hash_key: Option<&str>) -> Rc<Host> {
        let endpoint = Endpoint {
            weight,
            hash_key: hash_key.map(Into::into),
            ..Endpoint::at(SocketAddr::from(([10, 0, 0, last], 8080)))
        };
        Rc::new(Host::new(&endpoint, 0))
    }

    fn ring(hosts: &[Rc<Host>]) -> Ring {
        Ring::new(hosts, RingHash::default())
    }

    fn client(number: u16) -> u64 {
        let [high, low] = number.to_be_bytes();
        hash_of(&[HashPolicy::SourceIp], [10, 1, high, low].into()).expect("a hash")
    }

    fn picked(ring: &Ring, client: u64) -> SocketAddr {
        ring.pick(client, |_| false).expect("a host").address
    }

    #[test]
    fn the_hash_is_that_of_the_address_as_text() {
        // XXH64 of the text with seed 0, as `xxhsum -H64` prints it.
        assert_eq!(
            hash_of_address([10, 0, 0, 1].into()),
            XxHash64::oneshot(0, b"10.0.0.1")
        );
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().expect("an address");
        assert_eq!(
            hash_of_address(mapped),
            hash_of_address([10, 0, 0, 1].into())
        );
        assert_eq!(hash_of(&[], mapped), None);
        let policies = [HashPolicy::SourceIp; 2];
        assert_ne!(hash_of(&policies, mapped), hash_of(&policies[..1], mapped));
    }

    #[test]
    fn each_host_has_points_by_its_weight() {
        let points = |hosts: &[Rc<Host>]| {
            let mut counts = HashMap::new();
            for (_, index) in ring(hosts).points {
                *counts.entry(index).or_insert(0) += 1;
            }
            (0..)
                .map_while(|index: u32| counts.get(&index).copied())
                .collect::<Vec<u32>>()
        };
        assert_eq!(
            points(&[host(1, 1, None), host(2, 1, None), host(3, 1, None)]),
            [342; 3]
        );
        assert_eq!(points(&[host(1, 3, None), host(2, 1, None)]), [768, 256]);
        assert_eq!(points(&[]), [0_u32; 0]);
    }

    #[test]
    fn most_clients_stay_where_they_are_when_a_host_goes() {
        let hosts: Vec<_> = (1..=5).map(|last| host(last, 1, None)).collect();
        let (all, fewer) = (ring(&hosts), ring(&hosts[..4]));
        let gone = hosts[4].address;
        let mut counts = HashMap::<SocketAddr, u32>::new();
        let (mut stayed, mut moved) = (0, 0);
        for client in (0..1000).map(client) {
            let before = picked(&all, client);
            assert_eq!(picked(&all, client), before);
            *counts.entry(before).or_default() += 1;
            if before != gone {
                let stays = picked(&fewer, client) == before;
                *[&mut moved, &mut stayed][usize::from(stays)] += 1;
            }
        }
        // The others get more points each, and some of those stand between.
        assert!(moved * 4 < stayed, "{moved} of {stayed}");
        assert!(
            counts.len() == 5 && counts.values().all(|count| *count > 100),
            "{counts:?}"
        );
    }

    #[test]
    fn a_host_that_failed_is_passed_over_while_there_is_another() {
        let hosts = [host(1, 1, None), host(2, 1, None)];
        let ring = ring(&hosts);
        for client in (0..20).map(client) {
            let first = picked(&ring, client);
            let other = ring
                .pick(client, |host| host.address == first)
                .expect("a host");
            assert_ne!(other.address, first);
            assert_eq!(ring.pick(client, |_| true).expect("a host").address, first);
        }
        assert!(
            Ring::new(&[], RingHash::default())
                .pick(7, |_| false)
                .is_none()
        );
    }

    #[test]
    fn hosts_of_equal_keys_are_chosen_alike_whatever_their_addresses() {
        let keyed = |shift: u8| {
            let hosts = ["a", "b", "c"].iter().zip(shift..);
            hosts
                .map(|(key, last)| host(last, 1, Some(key)))
                .collect::<Vec<_>>()
        };
        let (one, two) = (ring(&keyed(1)), ring(&keyed(11)));
        let last = |address: SocketAddr| match address.ip() {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(_) => 0,
        };
        for client in (0..50).map(client) {
            assert_eq!(last(picked(&one, client)) + 10, last(picked(&two, client)));
        }
    }
}
