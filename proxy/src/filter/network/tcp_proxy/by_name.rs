//! Connections to clusters whose hosts are the names that clients ask for, which SNI says.

use std::{rc::Rc, sync::Arc};

use super::{DialFailure, TcpProxy};
use crate::{
    cluster::{Cluster, Upstream},
    info::ConnectionInfo,
    metadata::UPSTREAM_DYNAMIC_PORT,
    reason::Reason,
};

impl TcpProxy {
    /// Dials the name in SNI, as often as configured.
    pub(super) async fn dial_by_name(
        &self,
        cluster: &Rc<Cluster>,
        connection: &ConnectionInfo,
    ) -> Result<Upstream, DialFailure> {
        let failure = |reason, host| DialFailure {
            reason,
            cluster: Some(Arc::clone(&cluster.config)),
            host,
        };
        let name = connection.server_name.as_deref().unwrap_or_default();
        let port = connection.filter_state.get(UPSTREAM_DYNAMIC_PORT);
        let found = cluster.resolve(name, port).await;
        let host = found.map_err(|_| failure(Reason::NoHealthyUpstream, None))?;
        let host = cluster.of_client(host, connection);
        let mut reason = Reason::NoHealthyUpstream;
        for _ in 0..self.config.max_connect_attempts.max(1) {
            match Upstream::dial_from(cluster, &host, connection.source).await {
                Ok(upstream) => return Ok(upstream),
                Err(error) => {
                    reason = error.reason();
                    if let Some(outcome) = error.outcome() {
                        cluster.report(&host, outcome);
                    }
                }
            }
        }
        Err(failure(reason, Some(host.address)))
    }
}
