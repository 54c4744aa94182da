//! `GRPCRoute`.

use serde_json::Value;

use super::{fault::Faults, matches, route::Dialect};
use crate::{
    model::{RequestMatch, Speech},
    rules::Place,
};

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

    fn read_match(
        at: &str,
        value: &Value,
        place: &Place<'_>,
        faults: &mut Faults,
    ) -> Option<RequestMatch> {
        let said = faults.typed(at, value)?;
        matches::grpc(at, &said, place, faults)
    }
}
