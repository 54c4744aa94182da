//! Requests, as what keeps a connection in use.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    service::Service,
};
use tokio::time::timeout;

use crate::{InUse, Slot};

type BoxError = Box<dyn Error + Send + Sync>;

/// A service that keeps the slot of its connection in use while a request of it is, up to the end of the
/// response. A response that does not begin in time fails its request.
#[derive(Debug, Clone)]
pub struct Requests<S> {
    service: S,
    slot: Arc<Slot>,
}

/// The body of a response; the request lasts as long as it.
#[derive(Debug)]
pub struct InUseBody<B> {
    body: B,
    _in_use: InUse,
}

// === impl Requests ===

impl<S> Requests<S> {
    /// Requests to this service, on the connection of this slot.
    pub fn new(service: S, slot: Arc<Slot>) -> Self {
        Self { service, slot }
    }
}

impl<S, B> Service<Request<Incoming>> for Requests<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body,
{
    type Response = Response<InUseBody<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_use = self.slot.use_it();
        let limit = self.slot.limits().response;
        let response = self.service.call(request);
        Box::pin(async move {
            let response = timeout(limit, response).await;
            let response = response.map_err(|_| "no response in time")?;
            let response = response.map_err(Into::into)?;
            Ok(response.map(|body| InUseBody {
                body,
                _in_use: in_use,
            }))
        })
    }
}

// === impl InUseBody ===

impl<B: Body + Unpin> Body for InUseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
