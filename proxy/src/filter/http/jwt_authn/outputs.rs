//! What of a valid token is told to the endpoint and to other filters.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use crate::{
    config::http_filter::jwt_authn::{ClaimToHeader, JwtOutputs, JwtProvider},
    http::edits::Edits,
    jwt::{Status, Token},
};

/// Takes away what only the filter may say: a client might have said it.
pub(super) fn sanitize<'c>(providers: &'c [JwtProvider], edits: &mut Edits<'c>) {
    for outputs in providers.iter().map(|provider| &provider.outputs) {
        if !outputs.forward_payload_header.is_empty() {
            edits.drop(&*outputs.forward_payload_header);
        }
        for ClaimToHeader { header, .. } in &outputs.claim_to_headers {
            edits.drop(&**header);
        }
    }
}

/// Tells what is configured. Whether the route is to be chosen again.
pub(super) fn tell<'c>(
    token: &Token,
    outputs: &'c JwtOutputs,
    edits: &mut Edits<'c>,
    said: &mut Map<String, Value>,
) -> bool {
    if !outputs.forward_payload_header.is_empty() {
        let mut payload = token.encoded_payload().to_owned();
        while outputs.pad_forward_payload_header && !payload.len().is_multiple_of(4) {
            payload.push('=');
        }
        edits.add(&*outputs.forward_payload_header, payload);
    }
    let mut changed = false;
    for ClaimToHeader { header, path } in &outputs.claim_to_headers {
        let text = claim(&token.payload, path).and_then(as_header);
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            edits.add(&**header, text);
            changed = true;
        }
    }
    if !outputs.header_in_metadata.is_empty() {
        let header = Value::Object(token.header.clone());
        said.insert(outputs.header_in_metadata.clone(), header);
    }
    if !outputs.payload_in_metadata.is_empty() {
        let payload = Value::Object(normalized(token, &outputs.space_delimited_claims));
        said.insert(outputs.payload_in_metadata.clone(), payload);
        changed = true;
    }
    changed && outputs.clear_route_cache
}

/// Why a token was refused, for other filters.
pub(super) fn failure(status: Status) -> Value {
    json!({ "code": status.code(), "message": status.text() })
}

fn normalized(token: &Token, space_delimited: &[String]) -> Map<String, Value> {
    let mut payload = token.payload.clone();
    for claim in space_delimited {
        if let Some(value @ Value::String(_)) = payload.get_mut(claim)
            && let Value::String(text) = value
        {
            let words = text.split(' ').filter(|word| !word.is_empty());
            *value = words.map(Value::from).collect();
        }
    }
    payload
}

fn claim<'t>(payload: &'t Map<String, Value>, path: &[String]) -> Option<&'t Value> {
    let (first, rest) = path.split_first()?;
    let first = payload.get(first)?;
    rest.iter().try_fold(first, |value, key| value.get(key))
}

/// As Envoy writes a claim into a header; none for null, and for what no header can hold.
fn as_header(claim: &Value) -> Option<String> {
    let text = match claim {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => match number.as_f64() {
            Some(whole) if whole >= 0.0 && whole.fract() == 0.0 && whole < 1.8e19 => {
                (whole as u64).to_string()
            }
            number => format!("{:.6}", number?),
        },
        value => BASE64_STANDARD.encode(value.to_string()),
    };
    let is_sound = !text.bytes().any(|byte| matches!(byte, 0 | b'\r' | b'\n'));
    is_sound.then_some(text)
}
