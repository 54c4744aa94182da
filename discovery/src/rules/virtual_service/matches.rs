//! Conditions on requests.

use std::collections::BTreeMap;

use super::{
    is_of_mesh,
    wire::{HttpMatch, StringMatch},
};
use crate::{
    model::{PathMatch, Rank, RequestMatch, SourceMatch, Text, ValueMatch},
    rules::{
        Findings, Place,
        gateway::{edits::is_token, path::compiles},
        istio::{is_label, refuse},
    },
};

/// A condition that all requests fulfil.
pub(super) fn any(place: &Place<'_>) -> RequestMatch {
    RequestMatch {
        path: PathMatch::Start(place.names.text("")),
        ignores_case: false,
        headers: Vec::new(),
        query: Vec::new(),
        method: None,
        source: SourceMatch::default(),
        rank: Rank::written(),
    }
}

/// Whether it is about requests of sidecars.
pub(super) fn is_of_sidecars(said: &HttpMatch) -> bool {
    is_of_mesh(said.gateways.as_ref())
}

pub(super) fn read(
    at: &str,
    said: &HttpMatch,
    place: &Place<'_>,
    findings: &mut Findings,
) -> RequestMatch {
    let instead = "statistics are those of the cluster";
    refuse(at, &[("statPrefix", &said.stat_prefix)], instead, findings);
    if said.name.as_ref().is_some_and(String::is_empty) {
        findings.malformed(format!("{at}.name"), "is empty: leave it out, or write it");
    }
    let mut one = any(place);
    if let Some(uri) = &said.uri {
        one.path = path(&format!("{at}.uri"), uri, place, findings);
    }
    one.ignores_case =
        said.ignore_uri_case == Some(true) && !matches!(one.path, PathMatch::Regex(_));
    for (field, pseudo, value) in [
        ("scheme", ":scheme", &said.scheme),
        ("method", ":method", &said.method),
        ("authority", ":authority", &said.authority),
    ] {
        if let Some(value) = value {
            one.headers.push(ValueMatch {
                name: place.names.text(pseudo),
                value: text(&format!("{at}.{field}"), value, place, findings),
                inverted: false,
            });
        }
    }
    let (with, without) = (&said.headers, &said.without_headers);
    for (field, values, inverted) in [("headers", with, false), ("withoutHeaders", without, true)] {
        let at = format!("{at}.{field}");
        headers(
            &at,
            values.as_ref(),
            inverted,
            place,
            &mut one.headers,
            findings,
        );
    }
    for (name, value) in said.query_params.iter().flatten() {
        let at = format!("{at}.queryParams[{name}]");
        if name.is_empty() {
            findings.malformed(&at, "has no name: write it");
        }
        one.query.push(ValueMatch {
            name: place.names.text(name),
            value: text(&at, value, place, findings),
            inverted: false,
        });
    }
    one.source = source(
        at,
        (
            said.port,
            said.source_namespace.as_deref(),
            said.source_labels.as_ref(),
        ),
        place,
        findings,
    );
    one
}

/// Port, namespace and labels.
type Source<'a> = (
    Option<u16>,
    Option<&'a str>,
    Option<&'a BTreeMap<String, String>>,
);

/// Conditions on who sends, and to which port.
pub(super) fn source(
    at: &str,
    (port, namespace, labels): Source<'_>,
    place: &Place<'_>,
    findings: &mut Findings,
) -> SourceMatch {
    if port == Some(0) {
        findings.malformed(format!("{at}.port"), "0 is not a port (1 to 65535)");
    }
    if let Some(name) = namespace.filter(|it| !is_label(it)) {
        findings.malformed(
            format!("{at}.sourceNamespace"),
            format!("{name:?} is no namespace"),
        );
    }
    let labels = labels.into_iter().flatten();
    let labels = labels.map(|(key, value)| (place.names.text(key), place.names.text(value)));
    SourceMatch {
        port,
        namespace: namespace.map(|it| place.names.text(it)),
        labels: labels.collect(),
    }
}

fn headers(
    at: &str,
    said: Option<&BTreeMap<String, StringMatch>>,
    inverted: bool,
    place: &Place<'_>,
    all: &mut Vec<ValueMatch>,
    findings: &mut Findings,
) {
    for (name, value) in said.into_iter().flatten() {
        let at = format!("{at}[{name}]");
        // Beside headers of their own, people write those that HTTP/2 has of each request.
        let is_pseudo = matches!(
            name.as_str(),
            ":authority" | ":method" | ":scheme" | ":path"
        );
        if !is_pseudo && !is_token(name) {
            findings.malformed(&at, format!("{name:?} is no name of a header: write one"));
        }
        all.push(ValueMatch {
            name: place.names.text(&name.to_ascii_lowercase()),
            value: text(&at, value, place, findings),
            inverted,
        });
    }
}

fn path(at: &str, said: &StringMatch, place: &Place<'_>, findings: &mut Findings) -> PathMatch {
    match text(at, said, place, findings) {
        Text::Exact(path) => PathMatch::Exact(path),
        Text::Prefix(path) => PathMatch::Start(path),
        Text::Regex(expression) => PathMatch::Regex(expression),
        Text::Present => {
            let reason = "says neither exact nor prefix nor regex: write one, or leave it out";
            findings.malformed(at, reason);
            PathMatch::Start(place.names.text(""))
        }
    }
}

/// A condition on a text. What says nothing asks that the text is there.
pub(super) fn text(
    at: &str,
    said: &StringMatch,
    place: &Place<'_>,
    findings: &mut Findings,
) -> Text {
    let StringMatch {
        exact,
        prefix,
        regex,
    } = said;
    let names = |text: &String| place.names.text(text);
    match (exact, prefix, regex) {
        (Some(text), None, None) => Text::Exact(names(text)),
        (None, Some(text), None) => {
            if text.is_empty() {
                findings.malformed(format!("{at}.prefix"), "is empty: leave it out");
            }
            Text::Prefix(names(text))
        }
        (None, None, Some(text)) => {
            // As Istio takes it.
            if text == "*" {
                return Text::Present;
            }
            if let Err(reason) = compiles(text) {
                findings.malformed(format!("{at}.regex"), reason);
            }
            Text::Regex(names(text))
        }
        (None, None, None) => Text::Present,
        _ => {
            findings.malformed(at, "says several of exact, prefix and regex: write one");
            Text::Present
        }
    }
}
