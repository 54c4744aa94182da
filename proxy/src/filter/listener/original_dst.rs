//! `envoy.filters.listener.original_dst`: where a redirected connection wanted to go.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::Status;
use crate::{
    factory_context::FactoryContext, info::ConnectionInfo, net::original_dst::original_destination,
    stat_set, stats::Scope,
};

stat_set! {
    /// `listener.<address>.*`, of the original destination filter.
    pub(crate) struct OriginalDstStats {
        /// Connections without an original destination: they were not redirected.
        original_dst_missing: Counter,
    }
}

pub(super) struct OriginalDst {
    stats: Arc<OriginalDstStats>,
}

// === impl OriginalDst ===

impl OriginalDst {
    pub(super) fn new(stat_prefix: &str, context: &FactoryContext) -> Self {
        Self {
            stats: context.registry.register(Scope::listener(stat_prefix)),
        }
    }

    pub(super) fn run(
        &self,
        connection: &mut ConnectionInfo,
        socket: Option<&TcpStream>,
    ) -> Status {
        let found = socket.and_then(|socket| original_destination(socket, connection.local));
        match found {
            Some(destination) => connection.original_destination = destination,
            None => self.stats.original_dst_missing.inc(),
        }
        Status::Continue
    }
}
