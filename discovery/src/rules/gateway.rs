//! Gateway API: routes whose parents are services, and who may refer to services of other namespaces.
//!
//! A route of which a part cannot be honoured is honoured in the rest of its rules. A rule fails the
//! requests that match it where anything else of it cannot be honoured, and is dropped where it is not
//! known what it matches. What a route says to gateways is none of ours.

mod backend;
mod cors;
mod duration;
pub(super) mod edits;
mod fault;
mod filters;
mod grpc_route;
mod http_route;
mod matches;
mod method;
mod parent;
pub(super) mod path;
mod reader;
mod reference_grant;
mod route;
mod verdict;
mod wire;

pub use fault::{Fault, Faults, Gravity};
pub use grpc_route::Grpc;
pub use http_route::Http;
pub use parent::ReadParent;
pub use reader::ReadRule;
pub use reference_grant::{ReferenceGrant, Spec as ReferenceGrantSpec};
pub use route::{Dialect, ReadMatch, ReadRoute, Spec};
pub use verdict::{
    CONDITIONS, CONTROLLER_NAME, Condition, ROUTE_GROUP, ROUTE_KINDS, ROUTE_VERSION, RouteKind,
    Verdict,
};

use super::RuleObject;

/// A route of HTTP requests.
pub type HttpRoute = RuleObject<Spec<Http>>;
/// A route of gRPC requests.
pub type GrpcRoute = RuleObject<Spec<Grpc>>;

/// The API group.
const GROUP: &str = "gateway.networking.k8s.io";
