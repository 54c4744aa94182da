//! When a head that has come in part is worth another look.

use std::cell::Cell;

/// Heads up to this size, bytes, are looked at whenever something comes, so that what is wrong with one is
/// said at once.
const SMALL: usize = 4096;

/// Memory that heads which are not whole yet may hold together, in one worker: bytes. Each is bounded by
/// itself; of thousands the sum is what counts.
const MAX_HELD: usize = 16 << 20;

/// Bytes of the large heads of a worker that are not whole yet.
#[derive(Debug, Default)]
pub(crate) struct HeldByHeads(Cell<usize>);

/// The part of one of them, given back when it is whole or gone.
pub(crate) struct Holding<'h> {
    all: &'h HeldByHeads,
    own: usize,
}

/// A head that was not whole when it was looked at last. Looking starts at its beginning each time: a
/// large one that comes in many pieces is looked at when its end has come, and else when it has doubled,
/// so that the work is in proportion to its size however it is cut.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PartialHead {
    /// Bytes at the last look.
    looked_at: usize,
    /// Bytes in which there is no end.
    searched: usize,
}

// === impl HeldByHeads ===

impl HeldByHeads {
    /// Of a head of which nothing has come.
    pub(crate) fn holding(&self) -> Holding<'_> {
        Holding { all: self, own: 0 }
    }
}

// === impl Holding ===

impl Holding<'_> {
    /// So many bytes have come, and it is not whole. False if that is more than there is room for.
    pub(crate) fn grow(&mut self, length: usize) -> bool {
        let own = if length > SMALL { length } else { 0 };
        let held = self.all.0.get() - self.own + own;
        self.all.0.set(held);
        self.own = own;
        own == 0 || held <= MAX_HELD
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.all.0.set(self.all.0.get() - self.own);
    }
}

// === impl PartialHead ===

impl PartialHead {
    /// Whether to look at these bytes now: all that have come of the head.
    pub(crate) fn is_due(&mut self, bytes: &[u8]) -> bool {
        let new = self.searched.saturating_sub(2);
        let ends = has_blank_line(&bytes[new.min(bytes.len())..]);
        self.searched = bytes.len();
        let is_due = ends || bytes.len() <= SMALL || bytes.len() / 2 >= self.looked_at;
        if is_due {
            self.looked_at = bytes.len();
        }
        is_due
    }
}

/// Whether a line ends and the next one is empty. A line may end without a carriage return (RFC 9112
/// section 2.2).
fn has_blank_line(bytes: &[u8]) -> bool {
    let mut ends = memchr::memchr_iter(b'\n', bytes);
    ends.any(|end| matches!(&bytes[end + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Looks at a head that comes in pieces of this size: how many bytes were looked at, and whether
    /// the last look was at all of them.
    fn looks(head: &[u8], piece: usize) -> (usize, bool) {
        let (mut partial, mut seen, mut whole) = (PartialHead::default(), 0, false);
        let cuts = (piece..head.len()).step_by(piece).chain([head.len()]);
        for length in cuts {
            whole = false;
            if partial.is_due(&head[..length]) {
                seen += length;
                whole = length == head.len();
            }
        }
        (seen, whole)
    }

    #[test]
    fn the_work_is_in_proportion_to_the_size_however_the_head_is_cut() {
        for end in ["\r\n\r\n", "\n\n"] {
            let head = format!("GET / HTTP/1.1\r\nx: {}{end}", "a".repeat(256 * 1024));
            for piece in [97, 1460, 16 * 1024] {
                let (seen, whole) = looks(head.as_bytes(), piece);
                assert!(whole, "{piece}");
                // The small part, the doubles, and the whole.
                let most = SMALL / piece.min(SMALL) * SMALL + 4 * head.len();
                assert!(seen <= most, "{piece}: {seen} of {most}");
            }
        }
    }

    #[test]
    fn large_heads_share_their_room_and_small_ones_need_none() {
        let all = HeldByHeads::default();
        let head = 256 * 1024;
        let mut held: Vec<_> = (0..64).map(|_| all.holding()).collect();
        assert!(held.iter_mut().all(|one| one.grow(head)));
        let mut more = all.holding();
        assert!(more.grow(SMALL));
        assert!(!more.grow(SMALL + 1));
        held.pop();
        assert!(more.grow(2 * SMALL));
        drop((held, more));
        assert_eq!(all.0.get(), 0);
    }

    proptest! {
        #[test]
        fn what_is_whole_is_looked_at(lines in prop::collection::vec("[a-z]{0,900}", 0..20), piece in 1_usize..4000, bare: bool) {
            let end = if bare { "\n" } else { "\r\n" };
            let mut head = lines.join(&format!("x{end}"));
            head.push_str(&format!("x{end}{end}"));
            prop_assert!(looks(head.as_bytes(), piece).1);
        }
    }
}
