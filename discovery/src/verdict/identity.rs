//! Whether a caller's identity is what a rule names.

use weir_api::spiffe::{DEFAULT_TRUST_DOMAIN, TrustDomain};

use super::condition::is_text;
use crate::model::Value;

/// `spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT`
pub(super) struct Identity<'a> {
    domain: &'a str,
    /// What is behind the domain's slash.
    path: &'a str,
}

/// Whether the whole identity is that value, which leaves the scheme out and may call our own trust
/// domain `cluster.local`.
pub(super) fn is_principal(principal: &str, value: &Value, own: &TrustDomain) -> bool {
    let said = |text: &str| {
        let ours = text
            .strip_prefix(DEFAULT_TRUST_DOMAIN)
            .filter(|rest| rest.starts_with('/'));
        match ours {
            Some(rest) => format!("spiffe://{own}{rest}"),
            None => format!("spiffe://{text}"),
        }
    };
    match value {
        Value::Exact(text) => principal == said(text),
        Value::Prefix(text) => principal.starts_with(&said(text)),
        other => is_text(principal, other),
    }
}

// === impl Identity ===

impl<'a> Identity<'a> {
    pub(super) fn parse(principal: &'a str) -> Option<Self> {
        let (domain, path) = principal.strip_prefix("spiffe://")?.split_once('/')?;
        (!domain.is_empty()).then_some(Self { domain, path })
    }

    pub(super) fn is_in_namespace(&self, value: &Value) -> bool {
        let Some(rest) = self.path.strip_prefix("ns/") else {
            return false;
        };
        let is_account = |rest: &str| {
            let account = rest.strip_prefix("/sa/");
            account.is_some_and(|account| !account.is_empty())
        };
        starts_with_segment(rest, value, &is_account)
    }

    pub(super) fn is_account(&self, value: &Value) -> bool {
        let Value::Exact(account) = value else {
            return false;
        };
        let said = account.split_once('/');
        said.is_some_and(|(namespace, account)| self.path == format!("ns/{namespace}/sa/{account}"))
    }

    pub(super) fn is_of_domain(&self, value: &Value, own: &TrustDomain) -> bool {
        match value {
            Value::Exact(text) if &**text == DEFAULT_TRUST_DOMAIN => {
                self.domain == own.as_str() && !self.path.is_empty()
            }
            value => !self.path.is_empty() && is_text(self.domain, value),
        }
    }
}

/// Whether a text begins with a segment that is that value, and what follows it is right.
fn starts_with_segment(text: &str, value: &Value, follows: &dyn Fn(&str) -> bool) -> bool {
    let segment = text.find('/').unwrap_or(text.len());
    match value {
        Value::Present => segment > 0 && follows(&text[segment..]),
        // A value may have a slash of its own.
        Value::Exact(said) => text.strip_prefix(&**said).is_some_and(follows),
        Value::Prefix(said) => text.strip_prefix(&**said).is_some_and(|rest| {
            let segment = rest.find('/').unwrap_or(rest.len());
            follows(&rest[segment..])
        }),
        Value::Suffix(said) => (0..=segment).any(|start| {
            let rest = text.get(start..);
            let rest = rest.and_then(|rest| rest.strip_prefix(&**said));
            rest.is_some_and(follows)
        }),
        Value::Template(_) | Value::Network(..) | Value::Port(_) => false,
    }
}
