//! The side that answers.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;

use super::{CREATE, CertificateRequest, CertificateResponse, SERVICE};

/// Largest request: a signing request of 16 KiB and something about it.
const LARGEST_REQUEST: usize = 64 << 10;

/// Issues certificates.
#[tonic::async_trait]
pub trait CertificateService: Send + Sync + 'static {
    /// Issues one certificate.
    async fn create_certificate(
        &self,
        request: Request<CertificateRequest>,
    ) -> Result<Response<CertificateResponse>, Status>;
}

/// Carries a [`CertificateService`] over gRPC.
#[derive(Debug)]
pub struct CertificateServer<T> {
    inner: Arc<T>,
}

struct Create<T>(Arc<T>);

// === impl CertificateServer ===

impl<T> CertificateServer<T> {
    /// Carries this service.
    pub fn new(inner: Arc<T>) -> Self {
        Self { inner }
    }
}

impl<T> Clone for CertificateServer<T> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone())
    }
}

impl<T> NamedService for CertificateServer<T> {
    const NAME: &'static str = SERVICE;
}

impl<T: CertificateService> Service<http::Request<Body>> for CertificateServer<T> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let create = Create(self.inner.clone());
        Box::pin(async move {
            if request.uri().path() != CREATE {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            let codec = ProstCodec::<CertificateResponse, CertificateRequest>::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(LARGEST_REQUEST);
            Ok(grpc.unary(create, request).await)
        })
    }
}

// === impl Create ===

impl<T: CertificateService> UnaryService<CertificateRequest> for Create<T> {
    type Response = CertificateResponse;
    type Future = BoxFuture<Response<CertificateResponse>, Status>;

    fn call(&mut self, request: Request<CertificateRequest>) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move { inner.create_certificate(request).await })
    }
}
