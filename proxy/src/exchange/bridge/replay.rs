//! What is kept of a body for another attempt.

use super::Frame;

/// What a further attempt begins with.
#[derive(Default)]
pub(super) struct Replay {
    pub(super) kept: Option<Vec<Frame>>,
    bytes: u32,
    /// Bytes of payload that may be kept.
    pub(super) most: u32,
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
            let more = u32::try_from(data.len()).unwrap_or(u32::MAX);
            self.bytes = self.bytes.saturating_add(more);
        }
        if self.bytes > self.most {
            self.kept = None;
            return false;
        }
        kept.push(frame.clone());
        self.next = kept.len();
        true
    }
}
