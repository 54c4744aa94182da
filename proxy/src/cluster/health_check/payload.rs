//! Looking for bytes in what a host sends, as it comes.

/// Looks for each of several byte strings, one behind the other, in a stream of any length. It keeps
/// no more than the part of a string that was seen.
#[derive(Debug)]
pub(super) struct Search<'p> {
    /// What is left to be found.
    wanted: &'p [Vec<u8>],
    /// The end of what has come, shorter than the first of these.
    tail: Vec<u8>,
}

// === impl Search ===

impl<'p> Search<'p> {
    pub(super) fn new(wanted: &'p [Vec<u8>]) -> Self {
        Self {
            wanted,
            tail: Vec::new(),
        }
    }

    /// More has come. Whether all was found.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> bool {
        if self.is_found() {
            return true;
        }
        self.tail.extend_from_slice(bytes);
        let mut start = 0;
        while let Some((first, others)) = self.wanted.split_first() {
            let Some(found) = memchr::memmem::find(&self.tail[start..], first) else {
                let kept = first.len().saturating_sub(1);
                start = start.max(self.tail.len().saturating_sub(kept));
                break;
            };
            start += found + first.len();
            self.wanted = others;
        }
        self.tail.drain(..start);
        if self.is_found() {
            self.tail = Vec::new();
        }
        self.is_found()
    }

    pub(super) fn is_found(&self) -> bool {
        self.wanted.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As Envoy does it, once all is there.
    fn is_in(wanted: &[Vec<u8>], all: &[u8]) -> bool {
        let mut start = 0;
        wanted.iter().all(|one| {
            let found = (start..=all.len()).find(|at| all[*at..].starts_with(one));
            start = found.map_or(0, |at| at + one.len());
            found.is_some()
        })
    }

    proptest! {
        #[test]
        fn how_bytes_are_split_does_not_matter(
            wanted in prop::collection::vec(prop::collection::vec(0_u8..3, 1..4), 0..4),
            parts in prop::collection::vec(prop::collection::vec(0_u8..3, 0..5), 0..8),
        ) {
            let mut search = Search::new(&wanted);
            for part in &parts {
                search.feed(part);
                prop_assert!(search.tail.len() < 8);
            }
            prop_assert_eq!(search.is_found(), is_in(&wanted, &parts.concat()));
        }
    }
}
