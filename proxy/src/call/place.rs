//! Where a call finds its connection.

use std::rc::Rc;

use super::{PRIORITY, under_way::UnderWay};
use crate::{
    cluster::{Clusters, Http2Lease, Place},
    config::cluster::UpstreamProtocol,
    reason::Reason,
};

/// A place on a connection to the host that was picked. `is_http2`: whoever it is sent for speaks HTTP/2.
pub(super) async fn place(
    under_way: &UnderWay,
    clusters: &Rc<Clusters>,
    is_http2: bool,
) -> Result<Place, Reason> {
    let (cluster, host) = (&under_way.cluster, under_way.host()?);
    let speaks_http2 = match cluster.config.protocol {
        UpstreamProtocol::Http1 => false,
        UpstreamProtocol::Http2 => true,
        UpstreamProtocol::UseDownstream => is_http2,
        UpstreamProtocol::Auto => {
            return cluster.place(host, PRIORITY, clusters).await;
        }
    };
    if speaks_http2 {
        return lease(under_way, clusters).await.map(Place::Http2);
    }
    let acquired = cluster.acquire(host, PRIORITY).await;
    acquired.map(Place::Http1).map_err(|error| error.reason())
}

/// A place on a connection of HTTP/2.
pub(super) async fn lease(
    under_way: &UnderWay,
    clusters: &Rc<Clusters>,
) -> Result<Http2Lease, Reason> {
    let (cluster, host) = (&under_way.cluster, under_way.host()?);
    match cluster.lease_http2(host) {
        Some(lease) => Ok(lease),
        None => cluster.acquire_http2(host, PRIORITY, clusters).await,
    }
}
