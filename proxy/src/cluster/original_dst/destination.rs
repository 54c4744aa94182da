//! Where an `ORIGINAL_DST` cluster leads: where the client meant to go, or where a header or metadata
//! say.

use std::net::SocketAddr;

use serde_json::Value;

use super::super::Cluster;
use crate::{
    config::{listener_filter::ListenerFilterKind, original_dst::MetadataKey},
    info::ConnectionInfo,
    metadata::Metadata,
};

/// The first value of the header of a name, lower case.
pub(crate) type Header<'r> = &'r dyn Fn(&str) -> Option<String>;

/// What a request says of where it goes.
#[derive(Default)]
pub(crate) struct Said<'r> {
    /// Its dynamic metadata.
    pub(crate) metadata: Option<&'r Metadata>,
    /// Its headers.
    pub(crate) header: Option<Header<'r>>,
}

// === impl Cluster ===

impl Cluster {
    /// Where a connection, or a request on it, goes. None: nobody says.
    pub(crate) fn destination(
        &self,
        connection: &ConnectionInfo,
        said: &Said<'_>,
    ) -> Option<SocketAddr> {
        let original = connection.original_destination.0;
        let Some(lb) = &self.config.original_dst else {
            return Some(original);
        };
        let of_metadata = |key: &MetadataKey| {
            let each = said.metadata.into_iter().chain([&connection.metadata]);
            let mut values = each.filter_map(|all| all.value(&key.namespace, &key.path));
            self.address(values.find_map(text)?)
        };
        let of_header = |name: &String| self.address(&(said.header?)(name)?);
        let chosen = lb.metadata.as_ref().and_then(of_metadata);
        let chosen = chosen.or_else(|| lb.header.as_ref().and_then(of_header));
        let chosen = chosen.or_else(|| is_restored(connection).then_some(original));
        chosen.map(|address| match lb.port {
            Some(port) => SocketAddr::new(address.ip(), port),
            None => address,
        })
    }

    fn address(&self, text: &str) -> Option<SocketAddr> {
        let address = text.parse().ok();
        if address.is_none() {
            self.stats.original_dst_host_invalid.inc();
        }
        address
    }
}

/// Text, also where it is the first of a list.
fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Array(values) => values.first()?.as_str(),
        value => value.as_str(),
    }
}

/// Whether the connection went elsewhere before it came here, as Envoy sees it: the address of a
/// listener that says nothing of that leads nowhere but back.
fn is_restored(connection: &ConnectionInfo) -> bool {
    let listener = &connection.listener;
    let mut filters = listener.listener_filters.iter();
    connection.original_destination.0 != connection.local.0
        || listener.use_original_dst
        || !listener.bind_to_port
        || filters.any(|filter| matches!(filter.kind, ListenerFilterKind::OriginalDst))
}
