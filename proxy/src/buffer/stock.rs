//! Things that a worker keeps to use again, and gives up when it has not needed them for a while.

/// Kept things of a kind, the one used last at the end.
#[derive(Debug)]
pub(crate) struct Stock<T> {
    items: Vec<T>,
    most: usize,
    /// The fewest there were since [`Stock::age`]: so many were not needed.
    fewest: usize,
}

impl<T> Stock<T> {
    /// Keeps `most` at most.
    pub(crate) const fn new(most: usize) -> Self {
        Self {
            items: Vec::new(),
            most,
            fewest: 0,
        }
    }

    pub(crate) fn take(&mut self) -> Option<T> {
        let item = self.items.pop();
        self.fewest = self.fewest.min(self.items.len());
        item
    }

    pub(crate) fn keep(&mut self, item: T) {
        if self.items.len() < self.most {
            self.items.push(item);
        }
    }

    /// Gives up what was not needed since this was last called.
    pub(crate) fn age(&mut self) {
        self.items.drain(..self.fewest.min(self.items.len()));
        self.fewest = self.items.len();
        if self.items.is_empty() {
            self.items.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_needed_for_a_period_is_given_up() {
        let mut stock = Stock::new(3);
        (0..5).for_each(|item| stock.keep(item));
        stock.age();
        assert_eq!(stock.items, [0, 1, 2], "no period has passed");
        let taken = stock.take();
        stock.keep(taken.expect("one"));
        stock.age();
        assert_eq!(stock.items, [2], "one was needed");
        stock.age();
        assert!(stock.items.is_empty());
        assert_eq!(stock.take(), None);
    }
}
