//! `envoy.filters.network.http_connection_manager`: one codec a connection, and an exchange a
//! request.

mod http1;
mod http2;
mod place;
mod premature_resets;

use crate::info::Detected;
use std::{rc::Rc, sync::Arc};

use crate::{
    buffer::Buffer,
    config::http::CodecType,
    exchange::{ConnectionManager, HttpStats},
    info::ConnectionInfo,
    net::transport_socket::Connection,
    stats::Gauge,
};

/// A connection on the gauges, whatever ends it.
struct Open {
    stats: Arc<HttpStats>,
    version: Option<fn(&HttpStats) -> &Gauge>,
}

/// Serves a connection until it ends. What it holds beside that of every connection is on the heap.
pub(crate) async fn serve(
    manager: Rc<ConnectionManager>,
    context: &mut ConnectionInfo,
    downstream: Connection,
    buffer: Buffer,
) {
    let mut open = Open::new(&manager.stats);
    let http2 = match codec(&manager, context) {
        CodecType::Http2 => Some((downstream, buffer)),
        CodecType::Auto | CodecType::Http1 => {
            open.speaks(|stats| &stats.downstream_cx_http1_active);
            let manager = Rc::clone(&manager);
            Box::pin(http1::serve(manager, context, downstream, buffer)).await
        }
    };
    if let Some((downstream, buffer)) = http2 {
        open.stats.downstream_cx_http2_total.inc();
        open.speaks(|stats| &stats.downstream_cx_http2_active);
        Box::pin(http2::serve(manager, context, downstream, buffer)).await;
    }
    open.stats
        .downstream_cx_length_ms
        .record_us(context.elapsed_us());
}

fn codec(manager: &ConnectionManager, context: &ConnectionInfo) -> CodecType {
    match manager.config.codec {
        CodecType::Auto if context.negotiated_protocol() == Some("h2") => CodecType::Http2,
        CodecType::Auto if context.protocol == Detected::H2c => CodecType::Http2,
        codec => codec,
    }
}

// === impl Open ===

impl Open {
    fn new(stats: &Arc<HttpStats>) -> Self {
        stats.downstream_cx_total.inc();
        stats.downstream_cx_active.inc();
        Self {
            stats: Arc::clone(stats),
            version: None,
        }
    }

    /// Moves the connection to the gauge of a version of HTTP.
    fn speaks(&mut self, version: fn(&HttpStats) -> &Gauge) {
        version(&self.stats).inc();
        if let Some(before) = self.version.replace(version) {
            before(&self.stats).dec();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(version) = self.version {
            version(&self.stats).dec();
        }
        self.stats.downstream_cx_active.dec();
        self.stats.downstream_cx_destroy.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes an HTTP/1 connection holds until its close, beside those of every connection: 2128 when
    /// this was written. What is seldom needed belongs on the heap.
    const LIMIT: usize = 2136;

    fn size_of_future<'c, F>(
        _: impl FnOnce(Rc<ConnectionManager>, &'c mut ConnectionInfo, Connection, Buffer) -> F,
    ) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_future_of_an_http1_connection_stays_small() {
        let size = size_of_future(http1::serve);
        assert!(size <= LIMIT, "{size} bytes");
    }
}
