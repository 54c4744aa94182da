//! `HTTPRoute`.

use super::{
    matches,
    route::{Dialect, ReadMatch},
};
use crate::model::Speech;

/// Routes of HTTP requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Http;

impl Dialect for Http {
    const KIND: &'static str = "HTTPRoute";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1"];
    const PATH: &'static str = "/apis/gateway.networking.k8s.io/v1/httproutes";
    const SPEECH: Speech = Speech::Http;
    const HAS_TIMEOUTS: bool = true;
    // One that matches everything and has no backend, as the CRD has it.
    const DEFAULT_RULES: usize = 1;
    const READ_MATCH: ReadMatch = |at, value, place, faults| {
        let said = faults.typed(at, value)?;
        matches::http(at, &said, place, faults)
    };
}
