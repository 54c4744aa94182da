//! Who a workload is to other workloads: `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`, the identity
//! that its certificate names (SPIFFE ID, sections 2 and 2.2).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Longest SPIFFE ID, bytes.
const LONGEST_ID: usize = 2048;
/// Longest trust domain, bytes.
const LONGEST_DOMAIN: usize = 255;
/// Trust domain where nobody says otherwise, as Istio has it.
pub const DEFAULT_TRUST_DOMAIN: &str = "cluster.local";

/// Within what certificates of one authority name workloads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustDomain(String);

/// The identity of a service account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId(String);

/// Why a text is no part of a SPIFFE ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    /// Of a trust domain.
    #[error(
        "{0:?} is no trust domain: up to {LONGEST_DOMAIN} lower-case letters, digits, dots, dashes \
         and underscores"
    )]
    TrustDomain(String),
    /// Of a namespace or a service account.
    #[error("{0:?} is no name of a namespace or a service account")]
    Name(String),
    /// The whole is too long.
    #[error("an identity of {0} bytes is too long")]
    Long(usize),
}

// === impl TrustDomain ===

impl TrustDomain {
    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the identities of the domain begin with.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("spiffe://{self}/")
    }

    /// The identity of a service account.
    ///
    /// # Errors
    /// A name has other characters than names of Kubernetes have.
    pub fn id(&self, namespace: &str, service_account: &str) -> Result<SpiffeId, SpiffeError> {
        for name in [namespace, service_account] {
            let dots = name.bytes().all(|byte| byte == b'.');
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if dots || !name.bytes().all(known) {
                return Err(SpiffeError::Name(name.to_owned()));
            }
        }
        let id = format!("{}ns/{namespace}/sa/{service_account}", self.prefix());
        match id.len() {
            0..=LONGEST_ID => Ok(SpiffeId(id)),
            length => Err(SpiffeError::Long(length)),
        }
    }
}

impl Default for TrustDomain {
    fn default() -> Self {
        Self(DEFAULT_TRUST_DOMAIN.to_owned())
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        let known =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if text.is_empty() || text.len() > LONGEST_DOMAIN || !text.bytes().all(known) {
            return Err(SpiffeError::TrustDomain(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for TrustDomain {
    type Error = SpiffeError;

    fn try_from(text: String) -> Result<Self, SpiffeError> {
        text.parse()
    }
}

impl From<TrustDomain> for String {
    fn from(domain: TrustDomain) -> Self {
        domain.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl SpiffeId ===

impl SpiffeId {
    /// As a certificate has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_of_names_that_cannot_say_more_than_one() {
        let domain = TrustDomain::default();
        let id = domain.id("shop", "web.v1_a-b").expect("an identity");
        assert_eq!(id.as_str(), "spiffe://cluster.local/ns/shop/sa/web.v1_a-b");
        for (namespace, account) in [
            ("", "web"),
            ("shop", ""),
            ("shop/sa/admin", "web"),
            ("..", "web"),
            (".", "web"),
            ("shop", "we b"),
            ("shop", "wéb"),
            ("shop", "web%2f"),
            ("shop", "web?x"),
        ] {
            assert!(
                domain.id(namespace, account).is_err(),
                "{namespace}/{account}"
            );
        }
        assert!(domain.id("shop", &"a".repeat(LONGEST_ID)).is_err());
    }

    #[test]
    fn a_trust_domain_has_the_characters_that_spiffe_allows() {
        for good in ["cluster.local", "a", "my_mesh-1.example"] {
            assert_eq!(good.parse::<TrustDomain>().expect("good").as_str(), good);
        }
        let long = "a".repeat(LONGEST_DOMAIN + 1);
        for bad in ["", "Cluster.local", "a/b", "a:1", "a b", "é", &long] {
            assert!(bad.parse::<TrustDomain>().is_err(), "{bad}");
        }
    }
}
