//! `envoy.filters.network.sni_dynamic_forward_proxy`: has the name in SNI looked up, and says at which port
//! it is dialled. `tcp_proxy` waits for the name, and closes the connection where it is not found.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/sni_dynamic_forward_proxy_filter>

use std::{rc::Rc, sync::Arc};

use super::Status;
use crate::{
    config::network_filter::SniDynamicForwardProxy,
    dns_cache::{Asker, DnsCache, Key, Load},
    factory_context::FactoryContext,
    info::ConnectionInfo,
    metadata::UPSTREAM_DYNAMIC_PORT,
    reason::Reason,
};

/// The port of a name where nobody says one: of TLS, as SNI is.
const DEFAULT_PORT: u16 = 443;

/// The filter in one worker.
pub(crate) struct SniForwardProxy {
    cache: Arc<DnsCache>,
    port: u16,
}

// === impl SniForwardProxy ===

impl SniForwardProxy {
    pub(super) fn new(config: &SniDynamicForwardProxy, context: &Rc<FactoryContext>) -> Self {
        let caches = &context.clusters.dns_caches;
        Self {
            cache: caches.get(&config.cache, &context.registry),
            port: config.port.unwrap_or(DEFAULT_PORT),
        }
    }

    /// A connection without SNI is none of its business.
    pub(super) fn on_new_connection(&self, connection: &mut ConnectionInfo) -> Status {
        let Some(name) = &connection.server_name else {
            return Status::Continue;
        };
        let key = Key::new(name, self.port);
        let state = &mut connection.filter_state;
        state.set(UPSTREAM_DYNAMIC_PORT, &self.port.to_string());
        let refused = match self.cache.load(&key, Asker::Filter) {
            Load::Known(_) | Load::Loading(_) => return Status::Continue,
            Load::HostOverflow => Reason::DnsCacheOverflow,
            Load::PendingOverflow => Reason::DnsPendingOverflow,
        };
        connection.outcome.reason = Some(refused);
        Status::Close(None)
    }
}
