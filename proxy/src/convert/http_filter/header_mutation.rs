//! `envoy.filters.http.header_mutation`.

use weir_api::xds::{
    codec,
    envoy::{
        config::{
            common::mutation_rules::v3::{self as rules, header_mutation::Action},
            core::v3::{self as core, key_value_append::KeyValueAppendAction},
        },
        extensions::filters::http::header_mutation::v3 as pb,
    },
    google::protobuf::{Any, value::Kind},
};

use super::super::{
    at::{At, take},
    header::{addition, modifiable},
    matcher::string_matcher,
    value::{enumeration, non_empty, unpack},
};
use crate::config::{
    format::Format,
    header::AppendAction,
    http_filter::{
        HeaderMutation, HttpFilterConfig, Mutations, RouteSpecificFilterConfig,
        header_mutation::{FieldMutation, QueryMutation},
    },
};

/// Envoy's bound on what a query mutation names, bytes.
const MAX_KEY: usize = 16_384;

pub(super) fn filter(at: &At<'_>, any: &Any) -> Option<HttpFilterConfig> {
    let message = unpack(at, any, codec::unpack_header_mutation)?;
    take!(at, message => pb::HeaderMutation {
        supported: mutations, most_specific_header_mutations_wins;
    });
    Some(HttpFilterConfig::HeaderMutation(Box::new(HeaderMutation {
        mutations: self::mutations(&at.field("mutations"), mutations.unwrap_or_default()),
        most_specific_header_mutations_wins,
    })))
}

pub(super) fn per_route(at: &At<'_>, any: &Any) -> Option<RouteSpecificFilterConfig> {
    let message = unpack(at, any, codec::unpack_header_mutation_per_route)?;
    take!(at, message => pb::HeaderMutationPerRoute { supported: mutations; });
    let mutations = self::mutations(&at.field("mutations"), mutations.unwrap_or_default());
    Some(RouteSpecificFilterConfig::HeaderMutation(Box::new(
        mutations,
    )))
}

fn mutations(at: &At<'_>, message: pb::Mutations) -> Mutations {
    take!(at, message => pb::Mutations {
        supported: request_mutations, query_parameter_mutations, response_mutations,
            response_trailers_mutations, request_trailers_mutations;
    });
    let at_query = at.field("query_parameter_mutations");
    let query = query_parameter_mutations.into_iter().enumerate();
    let of_fields = |name: &str, messages: Vec<rules::HeaderMutation>| {
        let at = at.field(name);
        let messages = messages.into_iter().enumerate();
        messages
            .filter_map(|(index, message)| field_mutation(&at.index(index), message))
            .collect()
    };
    Mutations {
        request: of_fields("request_mutations", request_mutations),
        query: query
            .filter_map(|(index, message)| query_mutation(&at_query.index(index), message))
            .collect(),
        request_trailers: of_fields("request_trailers_mutations", request_trailers_mutations),
        response: of_fields("response_mutations", response_mutations),
        response_trailers: of_fields("response_trailers_mutations", response_trailers_mutations),
    }
}

fn field_mutation(at: &At<'_>, message: rules::HeaderMutation) -> Option<FieldMutation> {
    take!(at, message => rules::HeaderMutation { supported: action; });
    match at.required(action)? {
        Action::Remove(name) => removal(&at.field("remove"), &name),
        Action::Append(message) => {
            addition(&at.field("append"), message).map(FieldMutation::Append)
        }
        Action::RemoveOnMatch(message) => {
            let at = at.field("remove_on_match");
            take!(at, message => rules::header_mutation::RemoveOnMatch { supported: key_matcher; });
            let at = at.field("key_matcher");
            let matcher = string_matcher(&at, at.required(key_matcher)?)?;
            Some(FieldMutation::RemoveOnMatch(matcher))
        }
    }
}

/// Envoy takes the authority and the path out of a request, which leaves none.
fn removal(at: &At<'_>, name: &str) -> Option<FieldMutation> {
    if name.is_empty() {
        return Some(FieldMutation::Remove(String::new()));
    }
    if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        at.unsupported(format!("{name:?}, without which there is no message"));
        return None;
    }
    Some(FieldMutation::Remove(modifiable(at, name)))
}

fn query_mutation(at: &At<'_>, message: core::KeyValueMutation) -> Option<QueryMutation> {
    take!(at, message => core::KeyValueMutation { supported: append, remove; });
    if remove.len() > MAX_KEY {
        at.field("remove")
            .error(format!("must be at most {MAX_KEY} bytes"));
    }
    let Some(message) = append else {
        if remove.is_empty() {
            at.error("append or remove is required");
        }
        return Some(QueryMutation::Remove(remove));
    };
    if !remove.is_empty() {
        at.error("append and remove cannot be set together");
    }
    let at = at.field("append");
    take!(at, message => core::KeyValueAppend {
        supported: record, action;
        ignored: entry = "Envoy does not look at it";
    });
    let append = match enumeration(&at.field("action"), action)? {
        KeyValueAppendAction::AppendIfExistsOrAdd => AppendAction::AppendIfExistsOrAdd,
        KeyValueAppendAction::AddIfAbsent => AppendAction::AddIfAbsent,
        KeyValueAppendAction::OverwriteIfExistsOrAdd => AppendAction::OverwriteIfExistsOrAdd,
        KeyValueAppendAction::OverwriteIfExists => AppendAction::OverwriteIfExists,
    };
    let at = at.field("record");
    let message = at.required(record)?;
    take!(at, message => core::KeyValuePair { supported: key, value; });
    let key = non_empty(&at.field("key"), key);
    if key.len() > MAX_KEY {
        at.field("key")
            .error(format!("must be at most {MAX_KEY} bytes"));
    }
    let at = at.field("value");
    let Some(Kind::StringValue(text)) = value.and_then(|value| value.kind) else {
        at.error("must be a string");
        return None;
    };
    let value = Format::parse_for_header(&text).map_err(|error| at.error(error.to_string()));
    Some(QueryMutation::Append {
        key,
        value: value.ok()?,
        append,
    })
}
