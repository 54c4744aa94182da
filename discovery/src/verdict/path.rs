//! Whether a path is what a rule names, where the path is known or only what it looks like.

use super::{Need, Truth, condition::is_text};
use crate::model::Value;

/// One segment that is not known, and any number of them.
const ONE: &str = "{*}";
const REST: &str = "{**}";

/// A path without its query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path<'a> {
    /// As it was sent.
    Raw(&'a str),
    /// With `{*}` for a segment that is not known, and `{**}` at its end for any number of them:
    /// `/users/{*}/orders`.
    Template(&'a str),
}

// === impl Path ===

impl Path<'_> {
    /// Whether it is that value.
    pub(super) fn is(&self, value: &Value) -> Truth {
        let known = match self {
            Self::Raw(path) => *path,
            Self::Template(path) if !path.contains(ONE) && !path.contains(REST) => *path,
            Self::Template(template) => return looks_like(template, value),
        };
        match value {
            Value::Template(template) => fits(known, template),
            value => is_text(known, value),
        }
        .into()
    }
}

/// Whether a path fits a template.
fn fits(path: &str, template: &str) -> bool {
    let (mut path, mut template) = (path.split('/'), template.split('/'));
    loop {
        match (path.next(), template.next()) {
            (Some(_), Some(REST)) => return true,
            (Some(segment), Some(ONE)) if !segment.is_empty() => {}
            (Some(segment), Some(other)) if segment == other => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// Whether every path of a template is that value, or none is.
fn looks_like(path: &str, value: &Value) -> Truth {
    let may_be = |may_be: bool| match may_be {
        true => Truth::needs(Need::RawPath),
        false => Truth::Fails,
    };
    let start = path.find(ONE).into_iter().chain(path.find(REST)).min();
    let start = &path[..start.unwrap_or(path.len())];
    let end = path.rsplit('}').next().unwrap_or_default();
    match value {
        Value::Present => Truth::Holds,
        Value::Exact(text) => may_be(fits(text, path)),
        Value::Prefix(text) if start.starts_with(&**text) => Truth::Holds,
        Value::Prefix(text) => may_be(text.starts_with(start)),
        Value::Suffix(text) if end.ends_with(&**text) => Truth::Holds,
        Value::Suffix(text) => may_be(text.ends_with(end)),
        Value::Template(template) => of_templates(path, template),
        Value::Network(..) | Value::Port(_) => Truth::Fails,
    }
}

/// Whether every path of the first template is one of the second, or none is.
fn of_templates(path: &str, template: &str) -> Truth {
    let (mut path, mut template) = (path.split('/'), template.split('/'));
    let mut truth = Truth::Holds;
    loop {
        let unknown = || Truth::needs(Need::RawPath);
        match (path.next(), template.next()) {
            (Some(_), Some(REST)) => return truth,
            (Some(REST), _) => return truth.and(unknown()),
            (Some(ONE), Some(ONE)) | (None, None) => {}
            (Some(ONE), Some(segment)) if !segment.is_empty() => truth = truth.and(unknown()),
            (Some(segment), Some(ONE)) if !segment.is_empty() => {}
            (Some(segment), Some(other)) if segment == other => {}
            _ => return Truth::Fails,
        }
        if path.clone().next().is_none() && template.clone().next().is_none() {
            return truth;
        }
    }
}
