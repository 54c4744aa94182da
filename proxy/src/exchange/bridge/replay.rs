//! What is kept of a body for another attempt.

use super::Frame;

/// Payload that is kept for another attempt at most, bytes. Most requests that are worth
/// repeating are smaller; what is larger is sent once.
const REPLAYABLE: usize = 64 * 1024;

/// What a further attempt begins with.
#[derive(Default)]
pub(super) struct Replay {
    pub(super) kept: Option<Vec<Frame>>,
    bytes: usize,
    /// Of `kept`: the next to be sent again.
    pub(super) next: usize,
}

// === impl Replay ===

impl Replay {
    /// The next frame to be sent again.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let frame = self.kept.as_ref()?.get(self.next)?.clone();
        self.next += 1;
        Some(frame)
    }

    /// Whether the frame is kept.
    pub(super) fn keep(&mut self, frame: &Frame) -> bool {
        let Some(kept) = &mut self.kept else {
            return false;
        };
        if let Frame::Data(data, _) = frame {
            self.bytes += data.len();
        }
        if self.bytes > REPLAYABLE {
            self.kept = None;
            return false;
        }
        kept.push(frame.clone());
        self.next = kept.len();
        true
    }
}
