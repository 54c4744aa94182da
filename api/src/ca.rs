//! The protocol by which a workload asks for its certificate: Istio's
//! `istio.v1.auth.IstioCertificateService`, so that agents of one mesh can ask the issuer of another.
//!
//! Two messages and one method are written out here; Envoy's API, from which all other messages
//! come, does not have them.

mod client;
mod server;

use prost::Message;

pub use client::CertificateClient;
pub use server::{CertificateServer, CertificateService};

use crate::xds::google::protobuf::Struct;

/// Name of the service.
pub const SERVICE: &str = "istio.v1.auth.IstioCertificateService";
/// Path of the method.
const CREATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

/// Asks for a certificate.
#[derive(Clone, PartialEq, Message)]
pub struct CertificateRequest {
    /// A certificate signing request (RFC 2986), PEM.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// Seconds that the certificate should live; 0 leaves it to the issuer.
    #[prost(int64, tag = "3")]
    pub validity_duration: i64,
    /// More about the certificate.
    #[prost(message, optional, tag = "4")]
    pub metadata: Option<Struct>,
}

/// The certificate.
#[derive(Clone, PartialEq, Message)]
pub struct CertificateResponse {
    /// PEM: the certificate, those of the authorities between it and the root, and at the end
    /// what is to be trusted.
    #[prost(string, repeated, tag = "1")]
    pub cert_chain: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xds::google::protobuf::{Value, value::Kind};

    /// Fields and types as `security/v1alpha1/ca.proto` of Istio numbers them: what other
    /// implementations send and read.
    #[test]
    fn messages_are_on_the_wire_as_others_have_them() {
        let signer = Value {
            kind: Some(Kind::StringValue("s".to_owned())),
        };
        let request = CertificateRequest {
            csr: "csr".to_owned(),
            validity_duration: 86_400,
            metadata: Some(Struct {
                fields: [("CertSigner".to_owned(), signer)].into(),
            }),
        };
        let bytes = [
            b"\x0a\x03csr".as_slice(),
            b"\x18\x80\xa3\x05",
            b"\x22\x13\x0a\x11\x0a\x0aCertSigner\x12\x03\x1a\x01s",
        ];
        assert_eq!(request.encode_to_vec(), bytes.concat());
        assert_eq!(
            CertificateRequest::decode(bytes.concat().as_slice()),
            Ok(request)
        );
        let response = CertificateResponse {
            cert_chain: vec!["leaf".to_owned(), "root".to_owned()],
        };
        let bytes = b"\x0a\x04leaf\x0a\x04root".as_slice();
        assert_eq!(response.encode_to_vec(), bytes);
        assert_eq!(CertificateResponse::decode(bytes), Ok(response));
    }
}
