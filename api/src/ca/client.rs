//! The side that asks.

use tonic::{
    Request, Response, Status,
    body::Body,
    client::{Grpc, GrpcService},
    codegen::{Body as HttpBody, Bytes, StdError, http::uri::PathAndQuery},
};
use tonic_prost::ProstCodec;

use super::{CREATE, CertificateRequest, CertificateResponse};

/// Largest answer: a chain of a few certificates and a bundle of roots.
const LARGEST_ANSWER: usize = 1 << 20;

/// Asks an issuer for certificates.
#[derive(Debug, Clone)]
pub struct CertificateClient<T> {
    inner: Grpc<T>,
}

// === impl CertificateClient ===

impl<T> CertificateClient<T>
where
    T: GrpcService<Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    /// Over this channel.
    pub fn new(channel: T) -> Self {
        Self {
            inner: Grpc::new(channel).max_decoding_message_size(LARGEST_ANSWER),
        }
    }

    /// Asks for one certificate.
    ///
    /// # Errors
    /// What the issuer or the channel says.
    pub async fn create_certificate(
        &mut self,
        request: Request<CertificateRequest>,
    ) -> Result<Response<CertificateResponse>, Status> {
        self.inner.ready().await.map_err(|error| {
            let error: StdError = error.into();
            Status::unavailable(error.to_string())
        })?;
        let path = PathAndQuery::from_static(CREATE);
        let codec = ProstCodec::<CertificateRequest, CertificateResponse>::default();
        self.inner.unary(request, path, codec).await
    }
}
