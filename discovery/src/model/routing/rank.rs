//! Which of several matches counts.

use super::{PathMatch, ValueMatch};

/// How special a match is; of several that hold the greatest counts. Those of HTTP and those of gRPC are
/// never compared with each other. The order of the fields is that of the specifications of
/// [HTTPRoute](https://gateway-api.sigs.k8s.io/reference/spec/#httprouterule) and GRPCRoute; of regular
/// expressions the first says nothing, and they come behind whole paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    path: (PathKind, usize),
    method: usize,
    headers: usize,
    query: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PathKind {
    Written,
    Prefix,
    Regex,
    Exact,
}

// === impl Rank ===

impl Rank {
    /// Of a match on these.
    #[must_use]
    pub fn of_http(
        path: &PathMatch,
        method: Option<&str>,
        headers: &[ValueMatch],
        query: &[ValueMatch],
    ) -> Self {
        Self {
            path: match path {
                PathMatch::Exact(path) => (PathKind::Exact, characters(path)),
                PathMatch::Prefix(path) | PathMatch::Start(path) => {
                    (PathKind::Prefix, characters(path))
                }
                PathMatch::Regex(path) => (PathKind::Regex, characters(path)),
            },
            method: usize::from(method.is_some()),
            headers: headers.len(),
            query: query.len(),
        }
    }

    /// Of any match, where the first that is written counts.
    #[must_use]
    pub fn written() -> Self {
        Self {
            path: (PathKind::Written, 0),
            method: 0,
            headers: 0,
            query: 0,
        }
    }

    /// Of a match on a service and a method of gRPC, which are empty where any will do.
    #[must_use]
    pub fn of_grpc(service: &str, method: &str, headers: &[ValueMatch]) -> Self {
        Self {
            path: (PathKind::Exact, characters(service)),
            method: characters(method),
            headers: headers.len(),
            query: 0,
        }
    }
}

fn characters(text: &str) -> usize {
    text.chars().count()
}
