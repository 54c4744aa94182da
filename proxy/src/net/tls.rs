//! TLS on a connection: contexts, which follow the secrets that they are made of; handshakes; and
//! the record layer.
//!
//! rustls runs the handshake. What it agrees on is then taken out of it, and records are sealed
//! from and opened into the buffers that the rest of the data plane uses.

mod client;
pub mod client_hello;
mod handshake;
mod output;
mod peer;
mod record;
mod server;
mod stats;
mod stream;
mod tickets;
mod verify;

pub(crate) use client::{ClientContext, Destination};
pub(crate) use handshake::HandshakeError;
pub(crate) use output::age_stock;
pub use peer::TlsInfo;
pub(crate) use peer::{Fingerprint, Names, url_encoded_pem};
pub(crate) use server::ServerContext;
pub(crate) use stats::SslStats;
pub(crate) use stream::TlsStream;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::crypto::{CryptoProvider, aws_lc_rs::default_provider};

use crate::{
    config::tls::{
        Secret, SecretRef, SecretValue, TlsCertificate, TlsParameters, ValidationContext,
    },
    secrets::{SecretHandle, Secrets},
};

/// The secrets of a context, where they come from.
struct Sources(Vec<SecretHandle>);

/// What is made of secrets, once for as long as they are the same.
struct Built<T>(ArcSwapOption<(Vec<Arc<Secret>>, Arc<T>)>);

/// Why nothing can be made of secrets.
#[derive(Debug)]
enum Unusable {
    NotReady,
    Wrong(rustls::Error),
}

// === impl Sources ===

impl Sources {
    fn new<'r>(references: impl Iterator<Item = &'r SecretRef>, secrets: &Secrets) -> Self {
        Self(references.map(|one| secrets.resolve(one)).collect())
    }

    /// All of them as they are now; none unless all are there.
    fn get(&self) -> Option<Vec<Arc<Secret>>> {
        self.0.iter().map(SecretHandle::get).collect()
    }
}

// === impl Built ===

impl<T> Built<T> {
    fn empty() -> Self {
        Self(ArcSwapOption::empty())
    }

    /// What there is now, built anew if a secret is another than it was.
    fn of<const N: usize>(
        &self,
        sources: [&Sources; N],
        build: impl FnOnce(&[Vec<Arc<Secret>>; N]) -> Result<T, Unusable>,
    ) -> Result<Arc<T>, Unusable> {
        let now = sources.map(Sources::get);
        if now.iter().any(Option::is_none) {
            return Err(Unusable::NotReady);
        }
        let now = now.map(Option::unwrap_or_default);
        let secrets = now.concat();
        if let Some(before) = self.0.load().as_deref()
            && is_same(&before.0, &secrets)
        {
            return Ok(Arc::clone(&before.1));
        }
        let built = Arc::new(build(&now)?);
        self.0.store(Some(Arc::new((secrets, Arc::clone(&built)))));
        Ok(built)
    }
}

fn is_same(before: &[Arc<Secret>], now: &[Arc<Secret>]) -> bool {
    before.len() == now.len()
        && before
            .iter()
            .zip(now)
            .all(|(before, now)| Arc::ptr_eq(before, now))
}

fn wrong(reason: impl Into<String>) -> Unusable {
    Unusable::Wrong(rustls::Error::General(reason.into()))
}

/// The provider, with what is configured of it.
fn provider(parameters: &TlsParameters) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: parameters.cipher_suites.clone(),
        kx_groups: parameters.groups.clone(),
        ..default_provider()
    })
}

fn certificate(secret: &Secret) -> Result<&TlsCertificate, Unusable> {
    match &secret.value {
        SecretValue::Certificate(certificate) => Ok(certificate),
        _ => Err(wrong(format!("secret {:?} is no certificate", secret.name))),
    }
}

/// What one after the other adds; none of none.
fn validation(secrets: &[Arc<Secret>]) -> Result<Option<ValidationContext>, Unusable> {
    let mut merged: Option<ValidationContext> = None;
    for secret in secrets {
        let SecretValue::Validation(context) = &secret.value else {
            return Err(wrong(format!(
                "secret {:?} is no validation context",
                secret.name
            )));
        };
        merged = Some(match merged {
            None => context.clone(),
            Some(before) => before.merged(context),
        });
    }
    Ok(merged)
}

// === impl Unusable ===

impl From<Unusable> for HandshakeError {
    fn from(reason: Unusable) -> Self {
        match reason {
            Unusable::NotReady => Self::SecretsNotReady,
            Unusable::Wrong(error) => Self::Tls(error),
        }
    }
}
