//! Methods of gRPC, as the paths of the requests that call them.

use super::{fault::Faults, path, wire};
use crate::{model::PathMatch, rules::Place};

/// Any service, or any method.
const ANY: &str = "[^/]+";

/// The path of the requests that call a method.
pub(super) fn called(
    at: &str,
    said: &wire::GrpcMethod,
    place: &Place<'_>,
    faults: &mut Faults,
) -> Option<PathMatch> {
    let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let parts = (named(&said.service), named(&said.method));
    if parts == (None, None) {
        let reason = "names neither service nor method: name one, or leave it out";
        faults.malformed(at, reason);
        return None;
    }
    for (field, text) in [("service", &parts.0), ("method", &parts.1)] {
        if let Some(text) = text {
            check(&format!("{at}.{field}"), text, said, faults);
        }
    }
    match said.kind.as_deref().unwrap_or("Exact") {
        "Exact" => Some(exact(parts, place)),
        "RegularExpression" => {
            let [service, method] = [parts.0, parts.1].map(|it| it.unwrap_or_else(|| ANY.into()));
            let path = format!("/(?:{service})/(?:{method})");
            Some(PathMatch::Regex(place.names.text(&path)))
        }
        other => {
            let reason = format!("{other:?} is neither Exact nor RegularExpression");
            faults.unsupported(&format!("{at}.type"), reason);
            None
        }
    }
}

fn check(at: &str, text: &str, said: &wire::GrpcMethod, faults: &mut Faults) {
    if said.kind.as_deref() == Some("RegularExpression") {
        path::regex(at, text, faults);
        return;
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
    if !text.bytes().all(is_name) {
        let reason = format!("{text:?} is no name: letters, digits, _ and .");
        faults.malformed(at, reason);
    }
}

fn exact(parts: (Option<String>, Option<String>), place: &Place<'_>) -> PathMatch {
    let text = |path: String| place.names.text(&path);
    match parts {
        (Some(service), Some(method)) => PathMatch::Exact(text(format!("/{service}/{method}"))),
        (Some(service), None) => PathMatch::Prefix(text(format!("/{service}"))),
        (None, method) => {
            let method = method.map_or_else(|| ANY.to_owned(), |method| regex::escape(&method));
            PathMatch::Regex(text(format!("/{ANY}/{method}")))
        }
    }
}
