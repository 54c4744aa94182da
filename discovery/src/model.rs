//! Services, their endpoints and every address that stands for them.
//!
//! Registries describe what they see as [`Event`]s. [`Index`] keeps the objects, resolves each
//! service that an event touched, and hands out an immutable [`Snapshot`] with the [`Changes`] since
//! the one before. A destination is always an address and a port, never a name: one table answers
//! which service it is, so two services on one port, headless services and addresses of pods cannot
//! collide.

mod attachment;
mod authorization;
mod changes;
mod destination;
mod endpoint;
mod entries;
mod entry;
mod host;
mod hosts;
mod index;
mod interner;
mod name;
mod node;
mod object;
mod pod;
mod protocol;
mod resolve;
mod routing;
mod service;
mod shards;
mod snapshot;

pub use attachment::{Attachment, Attachments, Effect, InboundTlsRule, Labels, RuleName, Target};
pub use authorization::{
    Action as AuthorizationAction, Attribute, AuthorizationRule, Clause, Condition, Value,
};
pub use changes::{AddressChange, Changes, ServiceChange};
pub use destination::{
    Balancing, ClientTls, ConnectionPool, Destination as DestinationRule, DestinationRules,
    HttpPool, InForce, Keepalive, OutlierDetection, PortPolicies, SimpleBalancing, Subset, TcpPool,
    TlsOrigination, TrafficPolicy, UpstreamHttp,
};
pub use endpoint::{
    Endpoint, EndpointPort, EndpointSlice, Hints, Locality, Readiness, SliceEndpoint,
};
pub use entries::Entries;
pub use entry::{
    EndpointPlace, EntryEndpoint, EntryPort, Resolution, ServiceEntry, Told,
};
pub use host::{Caller, Exports, HostScope};
pub use index::Index;
pub use interner::Interner;
pub use name::NamespacedName;
pub use node::Node;
pub use object::{Event, Object, ObjectKey};
pub use pod::{Pod, Probe, Question, Workload};
pub use protocol::{Hint, HintSource, Protocol};
pub use resolve::ResolvedService;
pub use routing::{
    Abort, Backend, Body, Cors, Fault, Grammar, Grant, HeaderEdits, Mirror, Parent, PathChange,
    PathMatch, Rank, Redirect, RedirectPort, Referrer, RequestMatch, Retry, Rewrite, Routing,
    RoutingRule, Routings, RuleAction, Share, SourceMatch, Speech, StreamMatch, StreamRule, Text,
    Unresolved, ValueMatch, WeightedBackend,
};
pub use service::{
    InternalTrafficPolicy, Service, ServiceKind, ServicePort, SessionAffinity, TrafficDistribution,
};
pub use snapshot::{Claim, ClaimKind, Conflict, Destination, Snapshot};
pub use weir_api::inbound_tls::{InboundTls, TlsMode};
