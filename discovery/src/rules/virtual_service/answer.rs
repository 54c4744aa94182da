//! What becomes of requests that go nowhere, and what is changed of where others ask.

use super::wire::{self, DerivePort};
use crate::{
    model::{Body, PathChange, Redirect, RedirectPort, Rewrite, RuleAction},
    rules::{Findings, Place, gateway::path::compiles, istio::is_label},
};

/// Most bytes of an answer, as sidecars take it.
const MOST_BODY: usize = 4096;

pub(super) fn redirect(
    at: &str,
    said: &wire::Redirect,
    place: &Place<'_>,
    findings: &mut Findings,
) -> RuleAction {
    if let Some(scheme) = said
        .scheme
        .as_deref()
        .filter(|it| !["http", "https"].contains(it))
    {
        let reason = format!("{scheme:?} is neither http nor https");
        findings.malformed(format!("{at}.scheme"), reason);
    }
    let status = said.redirect_code.filter(|it| *it != 0).unwrap_or(301);
    if ![301, 302, 303, 307, 308].contains(&status) {
        let reason = format!("{status} is none of 301, 302, 303, 307 and 308");
        findings.malformed(format!("{at}.redirectCode"), reason);
    }
    if said.port.is_some() && said.derive_port.is_some() {
        findings.malformed(at, "has both port and derivePort: write one of them");
    }
    if said.uri.is_some() && said.prefix_rewrite.is_some() {
        findings.malformed(at, "has both uri and prefixRewrite: write one of them");
    }
    let text = |it: &Option<String>| it.as_deref().map(|it| place.names.text(it));
    let full = |it: &Option<String>| text(it).filter(|it| !it.is_empty());
    for (field, path) in [("uri", &said.uri), ("prefixRewrite", &said.prefix_rewrite)] {
        path_of(&format!("{at}.{field}"), path.as_deref(), findings);
    }
    let prefix = full(&said.prefix_rewrite).map(PathChange::Start);
    RuleAction::Redirect(Redirect {
        scheme: full(&said.scheme),
        host: full(&said.authority),
        path: full(&said.uri).map(PathChange::Whole).or(prefix),
        port: match said.derive_port {
            Some(DerivePort::FromRequestPort) => RedirectPort::Asked,
            Some(DerivePort::FromProtocolDefault) | None => {
                RedirectPort::Said(said.port.filter(|it| *it != 0))
            }
        },
        status,
    })
}

pub(super) fn respond(
    at: &str,
    said: &wire::DirectResponse,
    place: &Place<'_>,
    findings: &mut Findings,
) -> RuleAction {
    if !(200..600).contains(&said.status) {
        let reason = format!("{} is no status of an answer (200 to 599)", said.status);
        findings.malformed(format!("{at}.status"), reason);
    }
    let body = said.body.as_ref();
    let text = body.and_then(|it| it.string.as_deref());
    if text.is_some_and(|it| it.len() > MOST_BODY) {
        let reason = format!("is longer than {MOST_BODY} bytes, which is the most: shorten it");
        findings.malformed(format!("{at}.body.string"), reason);
    }
    if body.is_some_and(|it| it.bytes.is_some()) {
        findings.malformed(
            format!("{at}.body.bytes"),
            "is not honoured here: write string",
        );
    }
    RuleAction::Respond {
        status: said.status,
        body: text.map(|it| Body::Text(place.names.text(it))),
    }
}

pub(super) fn delegate(
    at: &str,
    said: &wire::Delegate,
    rewrite: Rewrite,
    place: &Place<'_>,
    findings: &mut Findings,
) -> RuleAction {
    let namespace = said.namespace.as_deref().filter(|it| !it.is_empty());
    let namespace = namespace.unwrap_or(place.namespace);
    let is_itself = Some(&said.name) == place.meta.name.as_ref() && namespace == place.namespace;
    if said.name.is_empty() || !is_label(namespace) {
        findings.malformed(
            format!("{at}.name"),
            "names no VirtualService: write its name",
        );
    } else if is_itself {
        findings.malformed(format!("{at}.name"), "is the rule itself: name another one");
    }
    RuleAction::Delegate {
        to: place.names.name(namespace, &said.name),
        rewrite,
    }
}

pub(super) fn rewrite(
    at: &str,
    said: &wire::Rewrite,
    place: &Place<'_>,
    findings: &mut Findings,
) -> Rewrite {
    let text = |it: &str| place.names.text(it);
    let host = said.authority.as_deref().filter(|it| !it.is_empty());
    if let Some(host) = host {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
        if !host.bytes().all(is_plain) {
            findings.malformed(format!("{at}.authority"), format!("{host:?} is no host"));
        }
    }
    let uri = said.uri.as_deref().filter(|it| !it.is_empty());
    path_of(&format!("{at}.uri"), uri, findings);
    let regex = said.uri_regex_rewrite.as_ref();
    if uri.is_some() && regex.is_some() {
        findings.malformed(at, "has both uri and uriRegexRewrite: write one of them");
    }
    if let Some(regex) = regex
        && let Err(reason) = compiles(&regex.pattern)
    {
        findings.malformed(format!("{at}.uriRegexRewrite.match"), reason);
    }
    let by_regex = regex.map(|it| PathChange::Regex(text(&it.pattern), text(&it.rewrite)));
    Rewrite {
        host: host.map(text),
        path: uri.map(|it| PathChange::Start(text(it))).or(by_regex),
    }
}

fn path_of(at: &str, path: Option<&str>, findings: &mut Findings) {
    let is_plain = |byte: u8| (b'!'..=b'~').contains(&byte) && byte != b'#';
    if let Some(path) = path.filter(|it| !it.bytes().all(is_plain)) {
        findings.malformed(
            at,
            format!("{path:?} is no path: printable ASCII without #"),
        );
    }
}
