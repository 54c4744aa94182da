//! Which virtual host serves which `Host`.

use std::collections::HashMap;

/// Which virtual host serves which `Host`, by Envoy's order: exact, then the longest suffix
/// wildcard (`*.example.com`), then the longest prefix wildcard (`example.*`), then `*`.
///
/// <https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto>
#[derive(Debug, Default)]
pub struct DomainIndex {
    exact: HashMap<Box<str>, usize>,
    /// Without the `*`, longest first.
    suffixes: Vec<(Box<str>, usize)>,
    /// Without the `*`, longest first.
    prefixes: Vec<(Box<str>, usize)>,
    any: Option<usize>,
}

/// Two virtual hosts claim one domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("domain {0:?} appears more than once")]
pub struct DuplicateDomain(pub String);

// === impl DomainIndex ===

impl DomainIndex {
    /// Builds the index from the domains of each virtual host, in order. Domains are compared
    /// without case.
    pub fn new<'a>(
        virtual_hosts: impl IntoIterator<Item = &'a [String]>,
    ) -> Result<Self, DuplicateDomain> {
        let mut index = Self::default();
        for (host, domains) in virtual_hosts.into_iter().enumerate() {
            for domain in domains {
                index.insert(&domain.to_ascii_lowercase(), host)?;
            }
        }
        index
            .suffixes
            .sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        index
            .prefixes
            .sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(index)
    }

    /// The virtual host that serves `host`, which must be lower case.
    #[must_use]
    pub fn find(&self, host: &str) -> Option<usize> {
        if self.exact.is_empty() && self.suffixes.is_empty() && self.prefixes.is_empty() {
            return self.any;
        }
        // A wildcard stands for at least one character.
        let longer = |part: &str| host.len() > part.len();
        let by_suffix = || {
            self.suffixes
                .iter()
                .find(|(s, _)| longer(s) && host.ends_with(&**s))
        };
        let by_prefix = || {
            self.prefixes
                .iter()
                .find(|(p, _)| longer(p) && host.starts_with(&**p))
        };
        let exact = self.exact.get(host).copied();
        exact
            .or_else(|| by_suffix().or_else(by_prefix).map(|(_, host)| *host))
            .or(self.any)
    }

    fn insert(&mut self, domain: &str, host: usize) -> Result<(), DuplicateDomain> {
        let taken = if domain == "*" {
            self.any.replace(host).is_some()
        } else if let Some(suffix) = domain.strip_prefix('*') {
            push(&mut self.suffixes, suffix, host)
        } else if let Some(prefix) = domain.strip_suffix('*') {
            push(&mut self.prefixes, prefix, host)
        } else {
            self.exact.insert(domain.into(), host).is_some()
        };
        if taken {
            Err(DuplicateDomain(domain.to_owned()))
        } else {
            Ok(())
        }
    }
}

fn push(list: &mut Vec<(Box<str>, usize)>, part: &str, host: usize) -> bool {
    let taken = list.iter().any(|(known, _)| &**known == part);
    list.push((part.into(), host));
    taken
}
