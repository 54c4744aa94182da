//! `HTTPRoute`.

use serde_json::Value;

use super::{fault::Faults, matches, route::Dialect};
use crate::{
    model::{RequestMatch, Speech},
    rules::Place,
};

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

    fn read_match(
        at: &str,
        value: &Value,
        place: &Place<'_>,
        faults: &mut Faults,
    ) -> Option<RequestMatch> {
        let said = faults.typed(at, value)?;
        matches::http(at, &said, place, faults)
    }
}
