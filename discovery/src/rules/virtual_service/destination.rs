//! Where requests go, and what is changed of their headers.

use std::sync::Arc;

use super::wire::{Destination, HeaderOperations, Headers, HttpDestination, HttpRoute, Percent};
use crate::{
    model::{
        Backend, HeaderEdits, HostScope, Mirror, NamespacedName, Share, WeightedBackend,
    },
    rules::{
        Findings, Place,
        gateway::edits::{FIXED, is_token, is_value},
        istio::{Host, is_label, service},
    },
};

/// Most that weights may come to.
const MOST_WEIGHT: u64 = u32::MAX as u64;

pub(super) fn backends<'a>(
    at: &str,
    said: impl Iterator<Item = &'a HttpDestination>,
    place: &Place<'_>,
    findings: &mut Findings,
) -> Vec<WeightedBackend> {
    let said: Vec<_> = said.collect();
    let only = said.len() == 1;
    let weight = |it: &HttpDestination| weight(it.weight, only);
    check_weights(
        &format!("{at}.route"),
        said.iter().map(|it| weight(it)),
        findings,
    );
    let backends = said.iter().enumerate().filter_map(|(index, it)| {
        let at = format!("{at}.route[{index}]");
        let (request, response) = edits(&at, it.headers.as_ref(), place, findings);
        let at = format!("{at}.destination");
        Some(WeightedBackend {
            backend: backend(&at, it.destination.as_ref(), place, findings)?,
            weight: weight(it),
            request,
            response,
        })
    });
    backends.collect()
}

/// Without a word a single destination gets all, and one of several nothing.
pub(super) fn weight(said: Option<u32>, only: bool) -> u32 {
    match (said, only) {
        (Some(0) | None, true) => 1,
        (said, _) => said.unwrap_or_default(),
    }
}

pub(super) fn check_weights(at: &str, weights: impl Iterator<Item = u32>, findings: &mut Findings) {
    match weights.map(u64::from).sum::<u64>() {
        0 => findings.malformed(at, "has weights that come to 0: write them"),
        all if all > MOST_WEIGHT => {
            findings.malformed(
                at,
                format!("has weights that come to more than {MOST_WEIGHT}"),
            );
        }
        _ => {}
    }
}

/// What a destination is. One that is not there gets no requests, which is not the rule's fault.
pub(super) fn backend(
    at: &str,
    said: Option<&Destination>,
    place: &Place<'_>,
    findings: &mut Findings,
) -> Option<Backend> {
    let Some(said) = said.filter(|it| !it.host.is_empty()) else {
        findings.malformed(
            format!("{at}.host"),
            "is missing: write the name of a Service",
        );
        return None;
    };
    if said.port.is_some_and(|port| port.number == 0) {
        findings.malformed(format!("{at}.port.number"), "0 is not a port (1 to 65535)");
    }
    let subset = said.subset.as_deref().filter(|it| !it.is_empty());
    if let Some(name) = subset.filter(|it| !is_label(it)) {
        findings.malformed(
            format!("{at}.subset"),
            format!("{name:?} is no name of a subset"),
        );
    }
    if !said.host.split('.').all(is_label) {
        let reason = format!("{:?} is no host: write the name of a Service", said.host);
        findings.malformed(format!("{at}.host"), reason);
        return None;
    }
    let host = match Host::read(&said.host, place) {
        Host::Services(HostScope::Host(host)) => Some(NamespacedName {
            namespace: Arc::default(),
            name: host,
        }),
        _ => service(&said.host, place),
    };
    let Some(name) = host else {
        let reason = format!(
            "{:?} is no name of a Service: what would go there is answered 503; write NAME, or \
             NAME.NAMESPACE.svc.{}",
            said.host, place.settings.cluster_domain
        );
        findings.warned(format!("{at}.host"), reason);
        return Some(Backend::Other(place.names.text(&said.host)));
    };
    Some(Backend::Service {
        service: name,
        port: said.port.map(|it| it.number),
        subset: subset.map(|it| place.names.text(it)),
    })
}

pub(super) fn mirrors(
    at: &str,
    said: &HttpRoute,
    place: &Place<'_>,
    findings: &mut Findings,
) -> Vec<Mirror> {
    if said.mirror.is_some() && said.mirrors.is_some() {
        findings.malformed(at, "has both mirror and mirrors: write one of them");
    }
    let of_all = said.mirror_percent.map(|it| Percent { value: it.into() });
    let of_all = said.mirror_percentage.or(of_all);
    let one = said
        .mirror
        .iter()
        .map(|it| ("mirror".to_owned(), Some(it), of_all));
    let several = said.mirrors.iter().flatten().enumerate();
    let several = several.map(|(index, it)| {
        let at = format!("mirrors[{index}].destination");
        (at, it.destination.as_ref(), it.percentage)
    });
    let all = one
        .chain(several)
        .filter_map(|(field, destination, percent)| {
            let at = format!("{at}.{field}");
            let share = share(&at, percent, findings);
            Some(Mirror {
                backend: backend(&at, destination, place, findings)?,
                numerator: share.0,
                denominator: Share::ALL.0,
            })
        });
    all.collect()
}

/// How many of a million; all where nothing is said.
pub(super) fn share(at: &str, said: Option<Percent>, findings: &mut Findings) -> Share {
    let Some(Percent { value }) = said else {
        return Share::ALL;
    };
    if !(0.0..=100.0).contains(&value) {
        findings.malformed(at, format!("{value} is no percentage (0 to 100)"));
        return Share(0);
    }
    // Within bounds, and so exact to a millionth.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Share((value * 10_000.0).round() as u32)
}

/// Changes of requests and of responses.
pub(super) fn edits(
    at: &str,
    said: Option<&Headers>,
    place: &Place<'_>,
    findings: &mut Findings,
) -> (HeaderEdits, HeaderEdits) {
    let at = format!("{at}.headers");
    let mut of = |field: &str, said: Option<&HeaderOperations>| {
        let at = format!("{at}.{field}");
        said.map(|it| operations(&at, it, place, findings))
            .unwrap_or_default()
    };
    let request = of("request", said.and_then(|it| it.request.as_ref()));
    let response = of("response", said.and_then(|it| it.response.as_ref()));
    (request, response)
}

fn operations(
    at: &str,
    said: &HeaderOperations,
    place: &Place<'_>,
    findings: &mut Findings,
) -> HeaderEdits {
    let mut edits = HeaderEdits::default();
    for (field, all) in [("set", &said.set), ("add", &said.add)] {
        for (name, value) in all.iter().flatten() {
            let at = format!("{at}.{field}[{name}]");
            let good = is_changed(&at, name, findings);
            if value.contains('%') {
                let reason = format!(
                    "{value:?} is not honoured here, for signs of percent stand for \
                    what Envoy looks up: leave it out; the header is left as it is"
                );
                findings.warned(at, reason);
                continue;
            }
            if !is_value(value) {
                findings.malformed(at, "is no value of a header: write printable ASCII");
            }
            if !good {
                continue;
            }
            let named = (
                place.names.text(&name.to_ascii_lowercase()),
                place.names.text(value),
            );
            match field {
                "set" => edits.set.push(named),
                _ => edits.add.push(named),
            }
        }
    }
    for (index, name) in said.remove.iter().flatten().enumerate() {
        if is_changed(&format!("{at}.remove[{index}]"), name, findings) {
            edits
                .remove
                .push(place.names.text(&name.to_ascii_lowercase()));
        }
    }
    edits
}

/// Whether a header can be changed.
fn is_changed(at: &str, name: &str, findings: &mut Findings) -> bool {
    let lower = name.to_ascii_lowercase();
    if lower == ":authority" || FIXED.contains(&lower.as_str()) {
        let reason = "is not honoured here: use rewrite.authority for the host, and leave others alone; \
                      the header is left as it is";
        findings.warned(at, reason);
        return false;
    }
    let good = is_token(name);
    if !good {
        findings.malformed(at, format!("{name:?} is no name of a header: write one"));
    }
    good
}
