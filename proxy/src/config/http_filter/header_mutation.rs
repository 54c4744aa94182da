//! `envoy.filters.http.header_mutation`

use crate::config::{
    format::Format,
    header::{AppendAction, HeaderAddition},
    matcher::StringMatcher,
};

/// `envoy.extensions.filters.http.header_mutation.v3.HeaderMutation`
#[derive(Debug)]
pub struct HeaderMutation {
    /// For every route, before what routes say.
    pub mutations: Mutations,
    /// What the most specific level says is done last; by default it is done first.
    pub most_specific_header_mutations_wins: bool,
}

/// `envoy.extensions.filters.http.header_mutation.v3.Mutations`
#[derive(Debug, Default)]
pub struct Mutations {
    /// Of the request's head.
    pub request: Vec<FieldMutation>,
    /// Of the query, after those of the head.
    pub query: Vec<QueryMutation>,
    /// Of the request's trailers.
    pub request_trailers: Vec<FieldMutation>,
    /// Of the response's head.
    pub response: Vec<FieldMutation>,
    /// Of the response's trailers.
    pub response_trailers: Vec<FieldMutation>,
}

/// `envoy.config.common.mutation_rules.v3.HeaderMutation`
#[derive(Debug)]
pub enum FieldMutation {
    /// Every line of this name goes; lower case.
    Remove(String),
    /// Every line whose name matches goes.
    RemoveOnMatch(StringMatcher),
    /// A line is added.
    Append(HeaderAddition),
}

/// `envoy.config.core.v3.KeyValueMutation`
#[derive(Debug)]
pub enum QueryMutation {
    /// Every parameter of this name goes.
    Remove(String),
    /// A parameter is added.
    Append {
        /// Its name.
        key: String,
        /// Literal or with `%COMMAND%`s.
        value: Format,
        /// What becomes of one that is there already.
        append: AppendAction,
    },
}
