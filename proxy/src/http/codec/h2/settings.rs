//! Settings (RFC 9113 section 6.5.2).

use super::{Reason, floods::FloodLimits, frame, frame::number};
use crate::buffer::BufferLimit;

/// The largest window there can be (RFC 9113 section 6.9.1).
pub(super) const MAX_WINDOW: u32 = u32::MAX >> 1;
/// The window before anybody says otherwise.
pub(super) const DEFAULT_WINDOW: u32 = 65_535;

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;
const OCTETS: usize = 6;

/// What this side wants.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Bytes of a stream that may be under way to us.
    pub initial_window_size: u32,
    /// Bytes of all streams that may be under way to us.
    pub initial_connection_window_size: u32,
    /// Streams that the peer may have open.
    pub max_concurrent_streams: u32,
    /// Size of a field section that is taken, as RFC 9113 section 6.5.2 counts it.
    pub max_header_list_size: u32,
    /// Streams that we open before the peer has said how many it allows.
    pub initial_max_send_streams: usize,
    /// How much of what brings nothing is taken.
    pub flood_limits: FloodLimits,
    /// How much it may hold.
    pub buffer_limit: BufferLimit,
}

/// What the peer wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerSettings {
    pub(super) header_table_size: Option<u32>,
    pub(super) max_concurrent_streams: Option<u32>,
    pub(super) initial_window_size: u32,
    pub(super) max_frame_size: usize,
    /// They have arrived.
    pub(super) are_known: bool,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            initial_window_size: DEFAULT_WINDOW,
            initial_connection_window_size: DEFAULT_WINDOW,
            max_concurrent_streams: 100,
            max_header_list_size: 64 * 1024,
            initial_max_send_streams: 100,
            flood_limits: FloodLimits::default(),
            buffer_limit: BufferLimit::default(),
        }
    }
}

impl Config {
    /// Writes SETTINGS as the first frame of a connection.
    pub(super) fn write(&self, out: &mut Vec<u8>, is_client: bool) {
        let streams = match is_client {
            true => (ENABLE_PUSH, 0),
            false => (MAX_CONCURRENT_STREAMS, self.max_concurrent_streams),
        };
        let all = [
            streams,
            (
                INITIAL_WINDOW_SIZE,
                self.initial_window_size.min(MAX_WINDOW),
            ),
            (MAX_HEADER_LIST_SIZE, self.max_header_list_size),
        ];
        let mut payload = [0; 3 * OCTETS];
        for (octets, (name, value)) in payload.chunks_exact_mut(OCTETS).zip(all) {
            octets[..2].copy_from_slice(&name.to_be_bytes());
            octets[2..].copy_from_slice(&value.to_be_bytes());
        }
        frame::write(out, frame::SETTINGS, 0, 0, &payload);
    }
}

// === impl PeerSettings ===

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            header_table_size: None,
            max_concurrent_streams: None,
            initial_window_size: DEFAULT_WINDOW,
            max_frame_size: frame::MAX_PAYLOAD,
            are_known: false,
        }
    }
}

impl PeerSettings {
    /// Takes in what SETTINGS says. `from_server`: the peer is one.
    pub(super) fn read(&mut self, payload: &[u8], from_server: bool) -> Result<(), Reason> {
        if !payload.len().is_multiple_of(OCTETS) {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        self.are_known = true;
        for setting in payload.chunks_exact(OCTETS) {
            let value = number(&setting[2..]);
            match u16::from_be_bytes([setting[0], setting[1]]) {
                HEADER_TABLE_SIZE => self.header_table_size = Some(value),
                // A server may only say 0 (section 6.5.2).
                ENABLE_PUSH if value > 1 || (from_server && value == 1) => {
                    return Err(Reason::PROTOCOL_ERROR);
                }
                MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = Some(value),
                INITIAL_WINDOW_SIZE if value > MAX_WINDOW => {
                    return Err(Reason::FLOW_CONTROL_ERROR);
                }
                INITIAL_WINDOW_SIZE => self.initial_window_size = value,
                MAX_FRAME_SIZE => match usize::try_from(value) {
                    Ok(size @ 16_384..=16_777_215) => self.max_frame_size = size,
                    _ => return Err(Reason::PROTOCOL_ERROR),
                },
                _ => {}
            }
        }
        Ok(())
    }
}
