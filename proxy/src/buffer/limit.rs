//! How much of what has not gone on yet a connection may hold.

/// Payload of a request that is kept for another attempt where nothing else is said, bytes: forms
/// and calls of APIs, not uploads. Envoy keeps 1 MiB.
const KEPT: u32 = 64 * 1024;
/// From this limit on a connection may use all that makes much move fast, bytes: its buffers may
/// be large, and a pipe in the kernel holds as much.
const AMPLE: u32 = 256 * 1024;

/// `per_connection_buffer_limit_bytes` of a listener or a cluster: a soft limit, as in Envoy. What
/// one read brings may be beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BufferLimit(Option<u32>);

// === impl BufferLimit ===

impl BufferLimit {
    /// So many bytes; none and 0: ours.
    pub fn new(bytes: Option<u32>) -> Self {
        Self(bytes.filter(|bytes| *bytes > 0))
    }

    /// Whether what is read at a time stays small.
    pub(crate) fn is_tight(self) -> bool {
        self.0.is_some_and(|bytes| bytes < AMPLE)
    }

    /// Bytes of a request's payload that may be kept, so that it can be sent again.
    pub(crate) fn kept(self) -> u32 {
        self.0.unwrap_or(KEPT)
    }

    /// As `kept`, where a route says `per_request_buffer_limit_bytes`.
    pub(crate) fn kept_at_most(self, bytes: u32) -> u32 {
        self.0.map_or(bytes, |limit| limit.min(bytes))
    }
}
