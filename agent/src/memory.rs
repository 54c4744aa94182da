//! Gives memory back that connections needed which have left.

use std::time::Duration;

use weir_proxy::server::Handle;

/// How often it is looked for such memory: well within the minute that a burst may be seen for.
const PERIOD: Duration = Duration::from_secs(15);
/// Connections that must have left: those of a quiet sidecar are not worth the locks of the allocator.
const WORTH: u64 = 64;

/// Gives memory back until the process ends. The allocator keeps what was freed between allocations that
/// are in use, which after a burst is most of it.
pub(crate) async fn give_back(handle: Handle) {
    let mut ended = 0;
    // Buffers that are kept for the next connections are given up a while after the last.
    let mut after = false;
    loop {
        tokio::time::sleep(PERIOD).await;
        let now = handle.ended_connections();
        // Fewer than before where a listener has gone, and its counts with it.
        let many = now.abs_diff(ended) >= WORTH;
        if many || after {
            let trimmed = weir_sys::trim_heap();
            tracing::debug!(trimmed, "gave free memory back");
            (ended, after) = (now, many);
        }
    }
}
