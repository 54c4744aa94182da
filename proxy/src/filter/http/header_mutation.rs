//! `envoy.filters.http.header_mutation`: adds and removes headers, query parameters and trailers.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/header_mutation_filter>

pub(super) mod query;

use super::{Decoding, Encoding, Step, Trailers};
use crate::{
    config::{
        format::Format,
        http_filter::{
            HeaderMutation, Mutations, RouteSpecificFilterConfig, header_mutation::FieldMutation,
        },
    },
    format::WithMetadata,
    http::{
        edits::{Edited, Edits, HeadValues},
        head::{Fields, RequestHead},
        route::Matched,
    },
};

/// The filter in one request.
pub(super) struct HeaderMutationFilter<'c> {
    config: &'c HeaderMutation,
    /// Trailers are changed, as far as is known. Bodies need not be looked at for those that are not.
    pub(super) changes_request_trailers: bool,
    pub(super) changes_response_trailers: bool,
}

// === impl HeaderMutationFilter ===

impl<'c> HeaderMutationFilter<'c> {
    pub(super) fn new(config: &'c HeaderMutation) -> Self {
        Self {
            config,
            changes_request_trailers: !config.mutations.request_trailers.is_empty(),
            changes_response_trailers: !config.mutations.response_trailers.is_empty(),
        }
    }

    pub(super) fn on_request_headers(&mut self, name: &str, d: &mut Decoding<'_, 'c>) -> Step {
        let route = d.route();
        let head = d.head;
        let info = &WithMetadata {
            info: d.stream.info,
            metadata: d.stream.metadata,
        };
        let render = |format: &Format, edits: &Edits<'_>| {
            let request = Edited::new(head, edits);
            let values = HeadValues {
                info,
                request: Some(&request),
                response: None,
            };
            text(format, &values)
        };
        for mutations in self.levels(name, route) {
            self.changes_request_trailers |= !mutations.request_trailers.is_empty();
            self.changes_response_trailers |= !mutations.response_trailers.is_empty();
            apply(&mutations.request, d.edits, head, &render);
            if !mutations.query.is_empty() {
                let before = Edited::new(head, &*d.edits).path().to_owned();
                let path =
                    query::mutate(&before, &mutations.query, &|format| render(format, d.edits));
                if path != before {
                    d.edits.set_path(path);
                }
            }
        }
        Step::Continue
    }

    pub(super) fn on_response_headers(&self, name: &str, e: &mut Encoding<'_, 'c>) {
        let (head, request) = (e.head, e.request);
        let info = &WithMetadata {
            info: e.stream.info,
            metadata: e.stream.metadata,
        };
        let render = |format: &Format, edits: &Edits<'_>| {
            let response = Edited::new(head, edits);
            let values = HeadValues {
                info,
                request: Some(request),
                response: Some(&response),
            };
            text(format, &values)
        };
        for mutations in self.levels(name, e.route) {
            apply(&mutations.response, e.edits, head, &render);
        }
    }

    pub(super) fn on_request_trailers(&self, name: &str, trailers: &mut Trailers<'_, 'c>) {
        self.on_trailers(name, trailers, |mutations| &mutations.request_trailers);
    }

    pub(super) fn on_response_trailers(&self, name: &str, trailers: &mut Trailers<'_, 'c>) {
        self.on_trailers(name, trailers, |mutations| &mutations.response_trailers);
    }

    fn on_trailers(
        &self,
        name: &str,
        trailers: &mut Trailers<'_, 'c>,
        which: fn(&Mutations) -> &Vec<FieldMutation>,
    ) {
        let values = HeadValues {
            info: &WithMetadata {
                info: trailers.stream.info,
                metadata: trailers.stream.metadata,
            },
            request: Some(trailers.request),
            response: trailers.response,
        };
        let render = |format: &Format, _: &Edits<'_>| text(format, &values);
        for mutations in self.levels(name, trailers.route) {
            apply(which(mutations), trailers.edits, trailers.fields, &render);
        }
    }

    /// The filter's own mutations, then those of the route's levels, the one that wins last.
    fn levels(&self, name: &str, route: Option<Matched<'c>>) -> Vec<&'c Mutations> {
        let mut levels = vec![&self.config.mutations];
        if let Some(route) = route {
            let specific_first = route
                .filter_configs(name)
                .filter_map(|config| match config {
                    RouteSpecificFilterConfig::HeaderMutation(mutations) => Some(&**mutations),
                    _ => None,
                });
            levels.extend(specific_first);
        }
        if self.config.most_specific_header_mutations_wins {
            levels[1..].reverse();
        }
        levels
    }
}

/// Whether a field is written for each hop, so that it cannot be taken out.
fn is_of_the_hop(name: &str) -> bool {
    matches!(
        name,
        "host" | "connection" | "content-length" | "transfer-encoding"
    )
}

fn text(format: &Format, values: &HeadValues<'_>) -> String {
    let mut text = String::new();
    format.render(values, "", &mut text);
    text
}

/// Works mutations into `edits`, in order.
fn apply<'c>(
    mutations: &'c [FieldMutation],
    edits: &mut Edits<'c>,
    came: &dyn Fields,
    render: &dyn Fn(&Format, &Edits<'_>) -> String,
) {
    for mutation in mutations {
        match mutation {
            FieldMutation::Remove(name) => edits.drop(name.as_str()),
            FieldMutation::RemoveOnMatch(matcher) => {
                let mut names = Vec::new();
                Edited::new(came, &*edits).any_name(&mut |name| {
                    if matcher.matches(&name) && !is_of_the_hop(&name) {
                        names.push(name.into_owned());
                    }
                    false
                });
                names.into_iter().for_each(|name| edits.drop(name));
            }
            FieldMutation::Append(addition) => edits.append(addition, came, render),
        }
    }
}
