//! What a cluster draws.

use std::cell::Cell;

/// Random numbers of one cluster in one worker.
pub(super) struct Random(Cell<u64>);

// === impl Random ===

impl Default for Random {
    /// Begins anywhere, or every sidecar would send its first request to the same endpoint.
    fn default() -> Self {
        Self(Cell::new(crate::random::seed()))
    }
}

impl Random {
    /// Any number.
    pub(super) fn draw(&self) -> u64 {
        let mut state = self.0.get();
        let drawn = crate::random::next(&mut state);
        self.0.set(state);
        drawn
    }

    /// One below `bound`; 0 if that is 0.
    pub(super) fn below(&self, bound: usize) -> usize {
        // As many numbers lead to each, but for a share of 1 in 2^64 / bound.
        ((u128::from(self.draw()) * bound as u128) >> 64) as usize
    }

    /// One from 0 to 1.
    pub(super) fn fraction(&self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
