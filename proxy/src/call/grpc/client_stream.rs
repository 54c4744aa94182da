//! A stream of messages to a server, which answers at its end or not at all, as access log services
//! have it.

use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{GrpcError, head, status_of};
use crate::{
    call::{CallError, http2, reason_of, under_way::UnderWay},
    cluster::{Clusters, Http2Lease, LoadBalancerContext, Tried},
    config::service::GrpcService,
    format::Values,
    http::{
        codec::h2::{self, RecvStream, ResponseFuture, SendStream},
        grpc::framed,
        message::http2_request,
    },
};

/// A stream that takes messages. Dropping it cancels it.
pub(crate) struct ClientStream {
    sink: SendStream,
    response: Response,
    _lease: Http2Lease,
    _under_way: UnderWay,
}

/// How far the server's answer has come.
enum Response {
    /// Its head is to come.
    Awaited(ResponseFuture),
    /// Its body is.
    Headed(Box<http::response::Parts>, RecvStream),
}

// === impl ClientStream ===

impl ClientStream {
    /// Opens a stream to the method at `path`. It has no deadline; that of the connection is the
    /// cluster's.
    pub(crate) async fn open(
        clusters: &Rc<Clusters>,
        service: &GrpcService,
        path: &'static str,
        values: &dyn Values,
    ) -> Result<Self, GrpcError> {
        let cluster = clusters.choose(&service.cluster);
        let cluster = cluster.ok_or(CallError::NoCluster)?;
        let head = head(service, path, None, values).ok_or(GrpcError::Malformed)?;
        let mut under_way = UnderWay::new(&cluster);
        let tried = Tried::default();
        let opened = async {
            under_way.begin(&LoadBalancerContext::new(None, &tried))?;
            http2::lease(&under_way, clusters).await
        };
        let lease = match opened.await {
            Ok(lease) => lease,
            Err(reason) => {
                under_way.finish(&Err(reason.into()));
                return Err(CallError::from(reason).into());
            }
        };
        under_way.send();
        let sent = lease.send(http2_request(head), false);
        let (response, sink) = sent.map_err(failed)?;
        Ok(Self {
            sink,
            response: Response::Awaited(response),
            _lease: lease,
            _under_way: under_way,
        })
    }

    /// Sends a message. Waits while the server takes no more: whoever has more messages meanwhile
    /// bounds how many it keeps. An error is the end of the stream, also if the server ended it
    /// without one.
    pub(crate) async fn send(&mut self, message: &[u8]) -> Result<(), GrpcError> {
        let mut left = framed(message);
        while !left.is_empty() {
            self.sink.reserve_capacity(left.len());
            let room = poll_fn(|cx| {
                if let Poll::Ready(ended) = self.poll_ended(cx) {
                    return Poll::Ready(Err(ended.err().unwrap_or(GrpcError::Malformed)));
                }
                self.sink.poll_capacity(cx).map(|room| match room {
                    Some(Ok(room)) => Ok(room),
                    Some(Err(error)) => Err(failed(error)),
                    None => Err(GrpcError::Malformed),
                })
            })
            .await?;
            let part = left.split_to(room.min(left.len()));
            self.sink.send_data(part, false).map_err(failed)?;
        }
        Ok(())
    }

    /// Waits until the server ends the stream, and says how it did.
    pub(crate) async fn ended(&mut self) -> Result<(), GrpcError> {
        poll_fn(|cx| self.poll_ended(cx)).await
    }

    /// Says that there are no more messages, and waits for the server's last word.
    pub(crate) async fn finish(mut self) -> Result<(), GrpcError> {
        self.sink.send_data(Bytes::new(), true).map_err(failed)?;
        self.ended().await
    }

    /// What the server says before it ends the stream is of no interest.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), GrpcError>> {
        loop {
            match &mut self.response {
                Response::Awaited(response) => match Pin::new(response).poll(cx) {
                    Poll::Ready(Ok(response)) => {
                        let (head, body) = response.into_parts();
                        self.response = Response::Headed(Box::new(head), body);
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(failed(error))),
                    Poll::Pending => return Poll::Pending,
                },
                Response::Headed(head, body) => match body.poll_data(cx) {
                    Poll::Ready(Some(Ok(data))) => body.release_capacity(data.len()),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(failed(error))),
                    Poll::Ready(None) => {
                        let trailers = body.poll_trailers(cx);
                        return trailers.map(|trailers| match trailers {
                            Ok(trailers) => status_of(head, trailers.as_ref()),
                            Err(error) => Err(failed(error)),
                        });
                    }
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }
}

fn failed(error: h2::Error) -> GrpcError {
    CallError::from(reason_of(&error)).into()
}
