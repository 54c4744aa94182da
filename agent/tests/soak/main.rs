//! A day of traffic in ten minutes: HTTP/1, HTTP/2, gRPC and TCP through `weir-agent proxy` with
//! access logs on, and random resets from both sides. No panic, and memory stays flat.
//!
//! `make soak` runs it for SOAK_SECONDS; `cargo test` alone does not.

mod clients;
mod endpoints;
mod sidecar;

use std::{
    env,
    time::{Duration, Instant},
};

use sidecar::Sidecar;

/// Load goes on for so long, then all connections end and memory is read.
const ROUND: Duration = Duration::from_secs(10);
/// Rounds after which everything that is kept has been made once.
const WARM_UP: usize = 2;
/// How much more memory may be held at the end than after the warm-up, KiB.
const FLAT: u64 = 1024;

/// Draws the same numbers each time.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// Once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

#[expect(clippy::print_stderr, reason = "a person waits for it")]
#[test]
#[ignore = "takes minutes; `make soak` runs it"]
fn a_day_of_traffic_leaves_memory_as_it_was() {
    let seconds = env::var("SOAK_SECONDS").map_or(60, |text| text.parse().expect("SOAK_SECONDS"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let sidecar = Sidecar::start(endpoints::start());
    let (mut held, mut done) = (Vec::new(), clients::Done::default());
    while held.len() <= WARM_UP || Instant::now() < end {
        let round = clients::run(&sidecar, ROUND, held.len() as u64);
        done.add(&round);
        held.push(sidecar.memory_at_rest());
        eprintln!(
            "round {}: {round:?}, {} KiB held",
            held.len(),
            held[held.len() - 1]
        );
        assert_eq!(sidecar.panics(), 0, "{}", sidecar.log());
    }
    assert!(done.is_mixed(), "{done:?}");
    let (before, after) = (held[WARM_UP - 1], held[held.len() - 1]);
    assert!(
        after <= before + FLAT,
        "KiB held after each round: {held:?}"
    );
}
