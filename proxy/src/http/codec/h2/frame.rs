//! Heads of frames (RFC 9113 section 4.1), and frames that are short.

use super::Reason;

/// Octets of a frame's head.
pub(super) const HEAD: usize = 9;
/// Largest payload that we take, which is what RFC 9113 section 4.2 begins with. Also the largest
/// that we send: larger ones keep others waiting.
pub(super) const MAX_PAYLOAD: usize = 16_384;
/// What a client's connection begins with.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 0x1;
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const WITH_PRIORITY: u8 = 0x20;

/// A frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

// === impl FrameHead ===

impl FrameHead {
    /// None if the octets are too few.
    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        let head = octets.first_chunk::<HEAD>()?;
        Some(Self {
            length: usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]),
            kind: head[3],
            flags: head[4],
            stream: number(&head[5..]) & (u32::MAX >> 1),
        })
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn octets(self) -> [u8; HEAD] {
        let [_, l0, l1, l2] = (self.length as u32).to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [l0, l1, l2, self.kind, self.flags, s0, s1, s2, s3]
    }
}

/// The number in the first four octets; missing ones count as zero.
pub(super) fn number(octets: &[u8]) -> u32 {
    octets
        .first_chunk()
        .map_or(0, |octets| u32::from_be_bytes(*octets))
}

/// Writes a frame.
pub(super) fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let head = FrameHead {
        length: payload.len(),
        kind,
        flags,
        stream,
    };
    out.extend_from_slice(&head.octets());
    out.extend_from_slice(payload);
}

/// Writes RST_STREAM.
pub(super) fn write_reset(out: &mut Vec<u8>, stream: u32, reason: Reason) {
    write(out, RST_STREAM, 0, stream, &u32::from(reason).to_be_bytes());
}

/// Writes WINDOW_UPDATE.
pub(super) fn write_window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    write(out, WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
}

/// Writes GOAWAY.
pub(super) fn write_goaway(out: &mut Vec<u8>, last: u32, reason: Reason) {
    let mut payload = [0; 8];
    payload[..4].copy_from_slice(&last.to_be_bytes());
    payload[4..].copy_from_slice(&u32::from(reason).to_be_bytes());
    write(out, GOAWAY, 0, 0, &payload);
}
