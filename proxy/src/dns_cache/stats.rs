//! Stats of a cache of names.

use crate::stat_set;

stat_set! {
    /// `dns_cache.<name>.*`, with Envoy's names.
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/dynamic_forward_proxy_filter#statistics>
    pub(super) struct DnsCacheStats {
        /// Lookups begun.
        dns_query_attempt: Counter,
        /// Lookups that were answered, also with no address.
        dns_query_success: Counter,
        /// Lookups that were not answered. The last addresses stay.
        dns_query_failure: Counter,
        /// Of these, those that took longer than they may.
        dns_query_timeout: Counter,
        /// Addresses in answers that count as none.
        dns_address_filter_out: Counter,
        /// Names that were asked for first.
        host_added: Counter,
        /// Names that nobody used for so long that they were forgotten, or that were not found.
        host_removed: Counter,
        /// Names that were found elsewhere than before.
        host_address_changed: Counter,
        /// Requests for a name beyond those that may be known. They are refused.
        host_overflow: Counter,
        /// Requests beyond those that may wait for a name. They are refused.
        dns_rq_pending_overflow: Counter,
        /// Names that are known.
        num_hosts: Gauge,
    }
}

stat_set! {
    /// `dns_cache.<name>.circuit_breakers.*`, with Envoy's names.
    pub(super) struct BreakerStats {
        /// Whether as many requests wait for a name as may.
        rq_pending_open: Gauge,
        /// Requests that may still wait for a name.
        rq_pending_remaining: Gauge,
    }
}
