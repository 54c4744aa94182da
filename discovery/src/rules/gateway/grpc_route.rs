//! `GRPCRoute`.

use super::{
    matches,
    route::{Dialect, ReadMatch},
};
use crate::model::Speech;

/// Routes of gRPC requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grpc;

impl Dialect for Grpc {
    const KIND: &'static str = "GRPCRoute";
    const VERSIONS: &'static [&'static str] = &["v1", "v1alpha2"];
    const PATH: &'static str = "/apis/gateway.networking.k8s.io/v1/grpcroutes";
    const SPEECH: Speech = Speech::Grpc;
    const HAS_TIMEOUTS: bool = false;
    const DEFAULT_RULES: usize = 0;
    const READ_MATCH: ReadMatch = |at, value, place, faults| {
        let said = faults.typed(at, value)?;
        matches::grpc(at, &said, place, faults)
    };
}
