//! One HTTP connection within the deadlines of its slot.

use std::{error::Error, pin::pin, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::Service,
};
use hyper_util::{rt::TokioIo, server::graceful::GracefulConnection};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{Closed, Requests, Slot};

type BoxError = Box<dyn Error + Send + Sync>;

/// Bytes of a request's head, and of what is read ahead: more than any client here sends.
const HEAD_BYTES: usize = 16 * 1024;
/// Time for an idle connection to take leave.
const LEAVE: Duration = Duration::from_secs(1);

/// Serves HTTP/1.1 on a connection until it ends, its slot is over, or `stopping` completes and what
/// was under way is done.
pub async fn http1<S, B>(
    io: impl AsyncRead + AsyncWrite + Unpin + 'static,
    slot: Arc<Slot>,
    service: S,
    stopping: impl Future<Output = ()>,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let service = Requests::new(service, Arc::clone(&slot));
    let connection = http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(io), service);
    drive(connection, &slot, stopping).await;
}

/// Serves HTTP/2 and HTTP/1.1, as [`http1`] does.
#[cfg(feature = "http2")]
pub async fn http<S, B>(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    slot: Arc<Slot>,
    service: S,
    stopping: impl Future<Output = ()>,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    use hyper_util::{rt::TokioExecutor, server::conn::auto};

    /// Requests of one connection at a time: an API server opens another beyond it.
    const STREAMS: u32 = 100;

    let service = Requests::new(service, Arc::clone(&slot));
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().max_buf_size(HEAD_BYTES);
    let mut http2 = server.http2();
    http2.max_concurrent_streams(STREAMS);
    http2.max_header_list_size(HEAD_BYTES as u32);
    let connection = server
        .serve_connection(TokioIo::new(io), service)
        .into_owned();
    drive(connection, &slot, stopping).await;
}

async fn drive<C>(connection: C, slot: &Slot, stopping: impl Future<Output = ()>)
where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    let mut connection = pin!(connection);
    let closed = tokio::select! {
        done = connection.as_mut() => return debug(done),
        closed = slot.over() => Some(closed),
        () = stopping => None,
    };
    match closed {
        // What is under way ends, within its own deadlines.
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                done = connection => debug(done),
                _ = slot.over() => {}
            }
        }
        // The peer is told that it is over, so that it does not take it for a failure.
        Some(Closed::Idle) => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(LEAVE, connection).await;
        }
        // Nothing is under way, or nothing gets on: there is nobody to tell.
        Some(closed) => tracing::debug!(%closed, "closed a connection"),
    }
}

fn debug<E: std::fmt::Display>(done: Result<(), E>) {
    if let Err(error) = done {
        tracing::debug!(%error, "a connection failed");
    }
}

#[cfg(test)]
mod tests;
