//! References to backends.

use serde_json::Value;

use super::{
    edits,
    fault::Faults,
    filters::{Context, header_edits},
    wire,
};
use crate::model::{Backend, HeaderEdits, WeightedBackend};

/// Most a weight may be.
const MOST_WEIGHT: u32 = 1_000_000;

/// A share of the requests.
pub(super) fn weighted(
    at: &str,
    value: &Value,
    context: &Context<'_>,
    faults: &mut Faults,
) -> Option<WeightedBackend> {
    let said: wire::BackendRef = faults.typed(at, value)?;
    let weight = said.weight.unwrap_or(1);
    if weight > MOST_WEIGHT {
        let reason = format!("{weight} is more than {MOST_WEIGHT}: write less");
        faults.malformed(&format!("{at}.weight"), reason);
    }
    let (mut request, mut response) = (HeaderEdits::default(), HeaderEdits::default());
    for (index, value) in said.filters.iter().flatten().enumerate() {
        let at = format!("{at}.filters[{index}]");
        let Some(filter) = faults.typed::<wire::Filter>(&at, value) else {
            continue;
        };
        if !header_edits(&at, &filter, context, (&mut request, &mut response), faults) {
            let reason = format!(
                "{:?} is honoured for a whole rule only, or not at all: write it in filters of the rule",
                filter.kind
            );
            faults.unsupported(&format!("{at}.type"), reason);
        }
    }
    edits::once(at, &said.filters, faults);
    Some(WeightedBackend {
        backend: backend(at, &said, context, faults)?,
        weight,
        request,
        response,
    })
}

/// Who gets copies.
pub(super) fn mirrored(
    at: &str,
    value: &Value,
    context: &Context<'_>,
    faults: &mut Faults,
) -> Option<Backend> {
    let said: wire::BackendRef = faults.typed(at, value)?;
    if said.weight.is_some() || said.filters.is_some() {
        faults.malformed(at, "has neither weight nor filters: leave them out");
    }
    backend(at, &said, context, faults)
}

/// What is referred to. What is no service is none to be found here, which is not the rule's fault.
fn backend(
    at: &str,
    said: &wire::BackendRef,
    context: &Context<'_>,
    faults: &mut Faults,
) -> Option<Backend> {
    let group = said.group.as_deref().unwrap_or_default();
    let kind = said.kind.as_deref().unwrap_or("Service");
    let place = context.place;
    let namespace = said.namespace.as_deref().unwrap_or(place.namespace);
    if (group, kind) != ("", "Service") {
        let slash = if group.is_empty() { "" } else { "/" };
        let what = format!("{group}{slash}{kind} {namespace}/{}", said.name);
        return Some(Backend::Other(what.into()));
    }
    let Some(port) = said.port.filter(|port| *port != 0) else {
        let reason = "a Service needs one (1 to 65535): write the Service's own port";
        faults.malformed(&format!("{at}.port"), reason);
        return None;
    };
    Some(Backend::Service {
        service: place.names.name(namespace, &said.name),
        port: Some(port),
        subset: None,
    })
}
