//! The Secret as an object: its data, and what is asked for by its annotations.

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{ResourceExt, api::ObjectMeta};

use crate::{
    certificates::{
        rotation::Asked,
        stored::{Data, Stored},
    },
    kubernetes,
};

/// Asks for something to be replaced before its time: `serving-certificate` or `ca`.
const ROTATE: &str = "weir.dev/rotate";

/// A Secret that holds these certificates, made from the one that is there. What was asked for by
/// its annotation is done with it.
pub(super) fn holding(stored: &Stored, object: Option<Secret>, name: &str) -> Secret {
    let mut secret = object.unwrap_or_else(|| Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(kubernetes::labels()),
            ..ObjectMeta::default()
        },
        ..Secret::default()
    });
    let mut data = data(&secret);
    stored.write(&mut data);
    let bytes = data
        .into_iter()
        .map(|(name, mut value)| (name, ByteString(std::mem::take(&mut value))));
    secret.data = Some(bytes.collect());
    secret.annotations_mut().remove(ROTATE);
    secret
}

/// The data of a Secret.
pub(super) fn data(secret: &Secret) -> Data {
    let data = secret.data.iter().flatten();
    data.map(|(name, value)| (name.clone(), value.0.clone().into()))
        .collect()
}

/// What somebody asks for.
pub(super) fn asked(secret: &Secret) -> Option<Asked> {
    match secret.annotations().get(ROTATE)?.as_str() {
        "serving-certificate" => Some(Asked::ServingCertificate),
        "ca" => Some(Asked::Authority),
        other => {
            let expected = "serving-certificate or ca";
            tracing::warn!(
                annotation = ROTATE,
                value = other,
                expected,
                "unknown request"
            );
            None
        }
    }
}
