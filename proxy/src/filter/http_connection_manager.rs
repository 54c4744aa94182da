//! `envoy.filters.network.http_connection_manager`

use std::{rc::Rc, sync::Arc};

use crate::{
    buffer::Buffer, config::HttpConnectionManager, listener::ConnectionContext, stats::Registry,
    transport_socket::Connection,
};

/// An HTTP connection manager in one worker.
pub(crate) struct ConnectionManager {
    _config: Arc<HttpConnectionManager>,
}

impl ConnectionManager {
    pub(crate) fn new(config: &Arc<HttpConnectionManager>, _registry: &Registry) -> Self {
        Self { _config: Arc::clone(config) }
    }

    pub(crate) async fn serve(
        self: Rc<Self>,
        _context: &mut ConnectionContext,
        _downstream: Connection,
        _buffer: Buffer,
    ) {
    }
}
