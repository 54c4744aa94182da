//! A call on a stream of an HTTP/2 connection.

use std::{future::poll_fn, rc::Rc};

use bytes::BytesMut;
use http::{HeaderMap, Version, header};

use super::{Answer, Call, CallError, PRIORITY, reason_of, under_way::UnderWay};
use crate::{
    cluster::{Clusters, Http2Lease},
    http::{codec::h2, message::http2_request},
    reason::Reason,
};

// === impl Call ===

impl Call {
    /// Sends the request and takes its answer.
    pub(super) async fn send_http2(
        mut self,
        under_way: &mut UnderWay,
        lease: Http2Lease,
    ) -> Result<Answer, CallError> {
        under_way.send();
        let failed = |error: h2::Error| CallError::from(reason_of(&error));
        self.head.version = Version::HTTP_2;
        // RFC 9113 section 8.3.1: the authority is said once.
        self.head.headers.remove(header::HOST);
        let has_no_body = self.body.is_empty() && self.trailers.is_none();
        let sent = lease.send(http2_request(self.head), has_no_body);
        let (response, mut stream) = sent.map_err(failed)?;
        if !has_no_body {
            // As much as the peer takes leaves at once, and the rest when it takes more.
            let sent = stream.send_data(self.body, self.trailers.is_none());
            sent.map_err(failed)?;
        }
        if let Some(trailers) = self.trailers {
            stream.send_trailers(trailers).map_err(failed)?;
        }
        let (head, mut body) = response.await.map_err(failed)?.into_parts();
        let mut data = BytesMut::new();
        while let Some(more) = poll_fn(|cx| body.poll_data(cx)).await {
            let more = more.map_err(failed)?;
            self.wanted.take(&mut data, &more)?;
            body.release_capacity(more.len());
        }
        let trailers: Option<HeaderMap> =
            poll_fn(|cx| body.poll_trailers(cx)).await.map_err(failed)?;
        Ok(Answer {
            head,
            body: data.freeze(),
            trailers,
        })
    }
}

/// A place on a connection to the host that was picked.
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
