//! Bounded loads: a host that has more than its share of the requests in flight passes the next ones on.
//! The order in which others are asked follows from the hash, and is Envoy's.
//!
//! <https://arxiv.org/abs/1608.01350>, <https://arxiv.org/abs/1908.08762>

use std::{cell::RefCell, rc::Rc};

use super::Host;

/// Numbers in the state of the generator.
const STATE: usize = 624;
/// How far apart numbers of the state are that make a new one.
const APART: usize = 397;

/// What each host may have in flight.
pub(super) struct Bounds {
    shares: Box<[f64]>,
    /// Percent.
    factor: u32,
    /// Indexes of hosts, for the order in which they are asked.
    order: RefCell<Vec<u32>>,
}

/// The Mersenne Twister of 32 bits (Matsumoto, Nishimura 1998), which C++ calls `mt19937`.
struct Mersenne {
    state: [u32; STATE],
    next: usize,
}

// === impl Bounds ===

impl Bounds {
    pub(super) fn new(shares: impl Iterator<Item = f64>, factor: u32) -> Self {
        Self {
            shares: shares.collect(),
            factor,
            order: RefCell::default(),
        }
    }

    /// The host at `index`, which `hash` leads to, or another one if it is overloaded; of those that all
    /// are, the one that is so least.
    pub(super) fn relieve(
        &self,
        hosts: &[Rc<Host>],
        (index, hash): (usize, u64),
        in_flight: u32,
    ) -> usize {
        let first = self.overload(hosts, index, in_flight);
        if first <= 1.0 {
            return index;
        }
        let (mut least, mut best) = (first, index);
        let count = hosts.len();
        let mut order = self.order.borrow_mut();
        order.clear();
        order.extend(0..u32::try_from(count).unwrap_or(u32::MAX));
        let mut random = Mersenne::new(hash as u32);
        for at in 0..order.len() {
            let left = order.len() - at;
            order.swap(at, at + random.below(left as u32) as usize);
            let other = order[at] as usize;
            if other == index {
                continue;
            }
            let load = self.overload(hosts, other, in_flight);
            if load <= 1.0 {
                return other;
            }
            if load < least {
                (least, best) = (load, other);
            }
        }
        best
    }

    /// What a host has in flight, divided by what it may have.
    fn overload(&self, hosts: &[Rc<Host>], index: usize, in_flight: u32) -> f64 {
        let (Some(host), Some(share)) = (hosts.get(index), self.shares.get(index)) else {
            return 0.0;
        };
        let all = (u64::from(in_flight) + 1) * u64::from(self.factor);
        let own = (all.div_ceil(100) as f64 * share).ceil().max(1.0);
        f64::from(host.active()) / own
    }
}

// === impl Mersenne ===

impl Mersenne {
    fn new(seed: u32) -> Self {
        let mut state = [seed; STATE];
        for at in 1..STATE {
            let before = state[at - 1];
            let mixed = (before ^ (before >> 30)).wrapping_mul(1_812_433_253);
            state[at] = mixed.wrapping_add(at as u32);
        }
        Self { state, next: STATE }
    }

    fn draw(&mut self) -> u32 {
        if self.next == STATE {
            self.renew();
        }
        let mut drawn = self.state[self.next];
        self.next += 1;
        drawn ^= drawn >> 11;
        drawn ^= (drawn << 7) & 0x9d2c_5680;
        drawn ^= (drawn << 15) & 0xefc6_0000;
        drawn ^ (drawn >> 18)
    }

    fn renew(&mut self) {
        for at in 0..STATE {
            let high = self.state[at] & 0x8000_0000;
            let low = self.state[(at + 1) % STATE] & 0x7fff_ffff;
            let odd = if low & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[at] = self.state[(at + APART) % STATE] ^ ((high | low) >> 1) ^ odd;
        }
        self.next = 0;
    }

    /// One below `bound`, each as likely.
    fn below(&mut self, bound: u32) -> u32 {
        let width = (1_u64 << 32) / u64::from(bound.max(1));
        loop {
            let drawn = u64::from(self.draw()) / width;
            if drawn < u64::from(bound.max(1)) {
                return drawn as u32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_standard() {
        // ISO C++ [rand.predef]: the 10000th number of a default-constructed mt19937.
        let mut random = Mersenne::new(5489);
        let last = (0..10_000).map(|_| random.draw()).last();
        assert_eq!(last, Some(4_123_659_995));
    }
}
