//! Turns by weight: earliest deadline first, as Envoy takes them. Who has had a turn has the next one
//! after a time that is the shorter the more it weighs, so weights may change from turn to turn.

use std::{cmp::Ordering, collections::BinaryHeap};

/// Who is next.
pub(super) struct Edf {
    turns: BinaryHeap<Turn>,
    /// Turns that were taken, so that those of equal deadlines come in their order.
    taken: u64,
}

struct Turn {
    deadline: f64,
    order: u64,
    index: u32,
}

// === impl Edf ===

impl Edf {
    /// The turns of all whose weight is above 0. `fraction` gives numbers from 0 to 1: as much of the
    /// first turn is over already, so that not everybody begins with the same.
    pub(super) fn new(weights: impl Iterator<Item = f64>, fraction: impl Fn() -> f64) -> Self {
        let weighty = (0_u32..).zip(weights).filter(|(_, weight)| *weight > 0.0);
        let turns: BinaryHeap<Turn> = weighty
            .map(|(index, weight)| Turn {
                deadline: (1.0 - fraction()) / weight,
                order: index.into(),
                index,
            })
            .collect();
        let taken = u32::MAX.into();
        Self { turns, taken }
    }

    /// Whose turn it is; `weight` is what they weigh from now on.
    pub(super) fn pick(&mut self, weight: impl FnOnce(usize) -> f64) -> Option<usize> {
        let mut turn = self.turns.peek_mut()?;
        let index = turn.index as usize;
        self.taken += 1;
        turn.order = self.taken;
        turn.deadline += 1.0 / weight(index);
        // It finds its new place as `turn` is dropped.
        Some(index)
    }
}

// === impl Turn ===

impl Ord for Turn {
    /// The heap has the greatest in front: the one that is due first.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_deadline = other.deadline.total_cmp(&self.deadline);
        by_deadline.then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Turn {}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn each_has_the_share_of_its_weight(
            weights in vec(1_u32..1_000_000, 1..40),
            begin in vec(0.0_f64..1.0, 40),
        ) {
            let begin = std::cell::RefCell::new(begin.into_iter().cycle());
            let weight = |index: usize| f64::from(weights[index]);
            let mut edf = Edf::new((0..weights.len()).map(weight), || {
                begin.borrow_mut().next().expect("a cycle")
            });
            let total: f64 = weights.iter().copied().map(f64::from).sum();
            let turns = 20_000;
            let mut counts = vec![0_u32; weights.len()];
            for _ in 0..turns {
                counts[edf.pick(weight).expect("someone")] += 1;
            }
            for (index, count) in counts.into_iter().enumerate() {
                let share = weight(index) / total;
                let found = f64::from(count) / f64::from(turns);
                prop_assert!((found - share).abs() < 0.01, "{found} for {share}");
            }
        }
    }

    #[test]
    fn nobody_without_weight_has_a_turn() {
        let mut edf = Edf::new([0.0, 2.0].into_iter(), || 0.5);
        assert!((0..9).all(|_| edf.pick(|_| 2.0) == Some(1)));
        assert_eq!(Edf::new([0.0].into_iter(), || 0.5).pick(|_| 1.0), None);
    }
}
