//! The filters of a rule.

use serde_json::Value;

use super::{backend::mirrored, cors::cors, edits, fault::Faults, path, wire};
use crate::{
    model::{Cors, HeaderEdits, Mirror, Redirect, RedirectPort, Rewrite, Speech},
    rules::Place,
};

/// What the filters of a rule come to.
#[derive(Debug, Default)]
pub(super) struct Filters {
    pub(super) request: HeaderEdits,
    pub(super) response: HeaderEdits,
    pub(super) redirect: Option<Redirect>,
    pub(super) rewrite: Rewrite,
    pub(super) mirrors: Vec<Mirror>,
    pub(super) cors: Option<Cors>,
}

/// What the meaning of a filter depends on.
pub(super) struct Context<'a> {
    pub(super) place: &'a Place<'a>,
    pub(super) speech: Speech,
    /// Every match of the rule is on a prefix.
    pub(super) all_prefix: bool,
}

// === impl Filters ===

impl Filters {
    pub(super) fn read(
        at: &str,
        said: &Option<Vec<Value>>,
        context: &Context<'_>,
        faults: &mut Faults,
    ) -> Self {
        let mut filters = Self::default();
        for (index, value) in said.iter().flatten().enumerate() {
            let at = format!("{at}.filters[{index}]");
            if let Some(filter) = faults.typed(&at, value) {
                filters.take(&at, &filter, context, faults);
            }
        }
        edits::once(at, said, faults);
        let rewrites = filters.rewrite != Rewrite::default();
        if filters.redirect.is_some() && rewrites {
            let reason =
                "a request is either redirected or rewritten: leave out one of the filters";
            faults.incompatible(&format!("{at}.filters"), reason);
        }
        filters
    }

    fn take(
        &mut self,
        at: &str,
        filter: &wire::Filter,
        context: &Context<'_>,
        faults: &mut Faults,
    ) {
        let both = (&mut self.request, &mut self.response);
        if header_edits(at, filter, context, both, faults) {
            return;
        }
        let place = context.place;
        match (filter.kind.as_str(), context.speech) {
            ("RequestMirror", _) => {
                let at = format!("{at}.requestMirror");
                let said = wire::part(faults, &at, filter.request_mirror.as_ref());
                let mirror = said.and_then(|it| mirror(&at, &it, context, faults));
                self.mirrors.extend(mirror);
            }
            ("RequestRedirect", Speech::Http) => {
                let at = format!("{at}.requestRedirect");
                let said = wire::part(faults, &at, filter.request_redirect.as_ref());
                self.redirect = said.map(|it| redirect(&at, &it, context, faults));
            }
            ("URLRewrite", Speech::Http) => {
                let at = format!("{at}.urlRewrite");
                let said = wire::part(faults, &at, filter.url_rewrite.as_ref());
                if let Some(said) = said {
                    self.rewrite = rewrite(&at, &said, context, faults);
                }
            }
            ("CORS", Speech::Http) => {
                let at = format!("{at}.cors");
                let said = wire::part(faults, &at, filter.cors.as_ref());
                self.cors = said.map(|it| cors(&at, &it, place, faults));
            }
            (other, _) => {
                let reason = format!("filters of type {other:?} are not supported");
                faults.unsupported(&format!("{at}.type"), reason);
            }
        }
    }
}

/// Takes a filter that changes headers, if it is one.
pub(super) fn header_edits(
    at: &str,
    filter: &wire::Filter,
    context: &Context<'_>,
    (request, response): (&mut HeaderEdits, &mut HeaderEdits),
    faults: &mut Faults,
) -> bool {
    let (field, said, edits) = match filter.kind.as_str() {
        "RequestHeaderModifier" => {
            let said = filter.request_header_modifier.as_ref();
            ("requestHeaderModifier", said, request)
        }
        "ResponseHeaderModifier" => {
            let said = filter.response_header_modifier.as_ref();
            ("responseHeaderModifier", said, response)
        }
        _ => return false,
    };
    let at = format!("{at}.{field}");
    if let Some(said) = wire::part(faults, &at, said) {
        *edits = edits::edits(&at, &said, context.place, faults);
    }
    true
}

fn mirror(
    at: &str,
    said: &wire::RequestMirror,
    context: &Context<'_>,
    faults: &mut Faults,
) -> Option<Mirror> {
    let (numerator, denominator) = match (&said.percent, &said.fraction) {
        (None, None) => (100, 100),
        (Some(percent), None) => (*percent, 100),
        (None, Some(fraction)) => (fraction.numerator, fraction.denominator.unwrap_or(100)),
        (Some(_), Some(_)) => {
            faults.malformed(at, "has both percent and fraction: leave out one of them");
            return None;
        }
    };
    if denominator == 0 || numerator > denominator {
        let reason = format!("{numerator} of {denominator} is no share of the requests");
        faults.malformed(at, reason);
    }
    let at = format!("{at}.backendRef");
    Some(Mirror {
        backend: mirrored(&at, &said.backend_ref, context, faults)?,
        numerator,
        denominator,
    })
}

fn redirect(
    at: &str,
    said: &wire::RequestRedirect,
    context: &Context<'_>,
    faults: &mut Faults,
) -> Redirect {
    let place = context.place;
    if let Some(scheme) = said
        .scheme
        .as_deref()
        .filter(|it| !["http", "https"].contains(it))
    {
        let reason = format!("{scheme:?} is neither http nor https");
        faults.unsupported(&format!("{at}.scheme"), reason);
    }
    let status = said.status_code.unwrap_or(302);
    if ![301, 302, 303, 307, 308].contains(&status) {
        let reason = format!("{status} is none of 301, 302, 303, 307 and 308");
        faults.unsupported(&format!("{at}.statusCode"), reason);
    }
    if said.port == Some(0) {
        faults.malformed(&format!("{at}.port"), "0 is not a port (1 to 65535)");
    }
    let path = said.path.as_ref();
    Redirect {
        scheme: said.scheme.as_deref().map(|it| place.names.text(it)),
        host: host(at, said.hostname.as_deref(), place, faults),
        path: path.and_then(|it| change(at, it, context, faults)),
        port: RedirectPort::Derived(said.port),
        status,
    }
}

fn rewrite(
    at: &str,
    said: &wire::UrlRewrite,
    context: &Context<'_>,
    faults: &mut Faults,
) -> Rewrite {
    let path = said.path.as_ref();
    Rewrite {
        host: host(at, said.hostname.as_deref(), context.place, faults),
        path: path.and_then(|it| change(at, it, context, faults)),
    }
}

fn change(
    at: &str,
    said: &wire::PathModifier,
    context: &Context<'_>,
    faults: &mut Faults,
) -> Option<crate::model::PathChange> {
    let at = format!("{at}.path");
    path::change(&at, said, context.all_prefix, context.place, faults)
}

fn host(
    at: &str,
    host: Option<&str>,
    place: &Place<'_>,
    faults: &mut Faults,
) -> Option<std::sync::Arc<str>> {
    let host = host?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_plain) {
        let reason = format!("{host:?} is no name of a host: write one, without a port");
        faults.malformed(&format!("{at}.hostname"), reason);
        return None;
    }
    Some(place.names.text(host))
}
