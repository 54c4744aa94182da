//! Changes of headers, and who may read responses.

use std::sync::Arc;

use weir_api::xds::{
    codec,
    envoy::{
        config::core::v3::{
            HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction,
        },
        extensions::filters::http::cors::v3::CorsPolicy,
    },
    google::protobuf::Any,
};

use super::criteria::text;
use crate::{
    model::{Cors, HeaderEdits},
    xds::build::boolean,
};

pub(super) fn additions(edits: &HeaderEdits) -> Vec<HeaderValueOption> {
    let addition =
        |action: HeaderAppendAction, (name, value): &(Arc<str>, Arc<str>)| HeaderValueOption {
            header: Some(HeaderValue {
                key: name.to_string(),
                // What is between signs of percent would be looked up.
                value: value.replace('%', "%%"),
                ..HeaderValue::default()
            }),
            append_action: action.into(),
            ..HeaderValueOption::default()
        };
    let set = edits.set.iter();
    let set = set.map(|it| addition(HeaderAppendAction::OverwriteIfExistsOrAdd, it));
    let add = edits.add.iter();
    let add = add.map(|it| addition(HeaderAppendAction::AppendIfExistsOrAdd, it));
    set.chain(add).collect()
}

pub(super) fn removals(edits: &HeaderEdits) -> Vec<String> {
    edits.remove.iter().map(ToString::to_string).collect()
}

pub(super) fn cors_policy(policy: &Cors) -> Any {
    let list = |names: &[Arc<str>]| names.join(",");
    let mut exposed = policy.exposed.clone();
    // With credentials a star would be the name of a header.
    exposed.retain(|name| !policy.credentials || **name != *"*");
    codec::pack_cors_policy(&CorsPolicy {
        allow_origin_string_match: policy.origins.iter().filter_map(text).collect(),
        allow_methods: list(&policy.methods),
        allow_headers: list(&policy.headers),
        expose_headers: list(&exposed),
        max_age: policy.max_age.map(|it| it.to_string()).unwrap_or_default(),
        allow_credentials: policy.credentials.then(|| boolean(true)),
        forward_not_matching_preflights: Some(boolean(policy.forwards_unmatched)),
        ..CorsPolicy::default()
    })
}
