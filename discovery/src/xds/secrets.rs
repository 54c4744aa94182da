//! What SDS serves: certificates to trust, under well-known names. Private keys never travel: a
//! client that asks for one is told that there is none.

use std::{collections::BTreeMap, sync::Arc};

use weir_api::xds::{
    codec,
    envoy::{
        config::core::v3::{DataSource, data_source::Specifier},
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, Secret, secret::Type,
        },
    },
};

use super::resource::{Digest, Resource};

/// Name of the secret with the certificates of the mesh's own authority, as Istio has it.
pub const ROOT_CA: &str = "ROOTCA";

/// Validation contexts by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Secrets(BTreeMap<String, Arc<Resource>>);

// === impl Secrets ===

impl Secrets {
    /// Of trusted certificates, PEM, by name.
    pub(super) fn new(trusted: BTreeMap<String, Vec<u8>>) -> Self {
        let resources = trusted.into_iter().map(|(name, pem)| {
            let message = validation_context(&name, pem);
            let body = codec::pack_secret(&message);
            let resource = Resource {
                name: name.as_str().into(),
                version: Digest::of(&body.value).version(),
                body,
            };
            (name, Arc::new(resource))
        });
        Self(resources.collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Resource>> {
        self.0.get(name).cloned()
    }
}

fn validation_context(name: &str, pem: Vec<u8>) -> Secret {
    let trusted = DataSource {
        specifier: Some(Specifier::InlineBytes(pem)),
        ..DataSource::default()
    };
    Secret {
        name: name.to_owned(),
        r#type: Some(Type::ValidationContext(CertificateValidationContext {
            trusted_ca: Some(trusted),
            ..CertificateValidationContext::default()
        })),
    }
}
