//! What is kept of a body for another attempt.

use super::Frame;

/// What a further attempt begins with. On the heap, since most bodies are sent once.
#[derive(Default)]
pub(super) struct Replay(Option<Box<Recording>>);

/// What has left of a body.
#[derive(Default)]
struct Recording {
    /// None: it has become larger than what is kept.
    frames: Option<Vec<Frame>>,
    bytes: u32,
    /// Bytes of payload that may be kept.
    most: u32,
    /// Of `frames`: the next to be sent again.
    next: usize,
}

// === impl Replay ===

impl Replay {
    /// Keeps so many bytes of payload at most from now on.
    pub(super) fn begin(&mut self, most: u32) {
        let recording = self.0.get_or_insert_default();
        recording.frames.get_or_insert_default();
        recording.most = most;
    }

    /// Whether the body has become larger than what is kept.
    pub(super) fn has_outgrown(&self) -> bool {
        let recording = self.0.as_ref();
        recording.is_some_and(|recording| recording.frames.is_none())
    }

    /// What is kept, if it is all that has left.
    pub(super) fn frames(&self) -> Option<&[Frame]> {
        self.0.as_ref()?.frames.as_deref()
    }

    /// It is sent from its beginning.
    pub(super) fn rewind(&mut self) {
        if let Some(recording) = &mut self.0 {
            recording.next = 0;
        }
    }

    /// The next frame to be sent again.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let recording = self.0.as_mut()?;
        let frame = recording.frames.as_ref()?.get(recording.next)?.clone();
        recording.next += 1;
        Some(frame)
    }

    /// Whether the frame is kept.
    pub(super) fn keep(&mut self, frame: &Frame) -> bool {
        let Some(recording) = &mut self.0 else {
            return false;
        };
        let Some(frames) = &mut recording.frames else {
            return false;
        };
        if let Frame::Data(data, _) = frame {
            let more = u32::try_from(data.len()).unwrap_or(u32::MAX);
            recording.bytes = recording.bytes.saturating_add(more);
        }
        if recording.bytes > recording.most {
            recording.frames = None;
            return false;
        }
        frames.push(frame.clone());
        recording.next = frames.len();
        true
    }
}
