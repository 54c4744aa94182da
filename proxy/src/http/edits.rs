//! Changes of one message's head as data: filters and the configuration say what changes, the codec
//! applies it while it writes the head. A later filter sees the message through the edits of those
//! before it, so that nobody copies a head to change it.

use std::borrow::Cow;

use serde_json::Value;

use super::head::{Fields, RequestHead, ResponseHead};
use crate::{
    config::{
        format::{Command, Format},
        header::{AppendAction, HeaderAddition, HeaderChanges},
    },
    format::Values,
};

/// Changes of one message's head, or of its trailers. Names are in lower case. Empty ones hold no
/// memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits<'c> {
    /// Every field of these names goes, of those that the message came with.
    dropped: Vec<Cow<'c, str>>,
    /// Added at the end, in order.
    added: Vec<(Cow<'c, str>, Cow<'c, str>)>,
    /// What changes but seldom, and then costs memory.
    line: Option<Box<StartLine<'c>>>,
}

/// What a request line or a status line says instead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct StartLine<'c> {
    method: Option<Cow<'c, str>>,
    /// With the query.
    path: Option<Cow<'c, str>>,
    authority: Option<Cow<'c, str>>,
    status: Option<u16>,
}

/// A head as it is once `edits` are applied.
#[derive(Clone, Copy)]
pub struct Edited<'a, H: ?Sized> {
    /// As it came.
    pub head: &'a H,
    /// What becomes of it.
    pub edits: &'a Edits<'a>,
}

/// Fills formats in with `values`, whatever has been changed so far.
pub fn rendered(values: &dyn Values) -> impl Fn(&Format, &Edits<'_>) -> String {
    |format, _| {
        let mut text = String::new();
        format.render(values, "", &mut text);
        text
    }
}

/// Fills formats in with `values`, but for the headers of a request that came as `came`: those are
/// as they have been changed so far.
pub fn rendered_for(
    values: &dyn Values,
    came: &dyn RequestHead,
) -> impl Fn(&Format, &Edits<'_>) -> String {
    |format, edits| {
        let request = Edited::new(came, edits);
        let values = HeadValues {
            info: values,
            request: Some(&request),
            response: None,
        };
        rendered(&values)(format, edits)
    }
}

/// The values of a format whose headers are those of messages as filters see them.
pub struct HeadValues<'a> {
    /// Gives all else.
    pub info: &'a dyn Values,
    /// For `%REQ()%`; none: what `info` says.
    pub request: Option<&'a dyn RequestHead>,
    /// For `%RESP()%`; none: what `info` says.
    pub response: Option<&'a dyn ResponseHead>,
}

// === impl Edits ===

impl<'c> Edits<'c> {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dropped.is_empty() && self.added.is_empty() && self.line.is_none()
    }

    /// Every field of this name goes.
    pub fn drop(&mut self, name: impl Into<Cow<'c, str>>) {
        let name = name.into();
        self.added.retain(|(added, _)| *added != name);
        if !self.dropped.contains(&name) {
            self.dropped.push(name);
        }
    }

    /// One more line, at the end.
    pub fn add(&mut self, name: impl Into<Cow<'c, str>>, value: impl Into<Cow<'c, str>>) {
        self.added.push((name.into(), value.into()));
    }

    /// One of ours takes the place of whatever came.
    pub fn set(&mut self, name: impl Into<Cow<'c, str>>, value: impl Into<Cow<'c, str>>) {
        let name = name.into();
        self.drop(name.clone());
        self.add(name, value);
    }

    /// The request has this method.
    pub fn set_method(&mut self, method: impl Into<Cow<'c, str>>) {
        self.line.get_or_insert_default().method = Some(method.into());
    }

    /// The request has this path and query.
    pub fn set_path(&mut self, path: impl Into<Cow<'c, str>>) {
        self.line.get_or_insert_default().path = Some(path.into());
    }

    /// The request is for this authority.
    pub fn set_authority(&mut self, authority: impl Into<Cow<'c, str>>) {
        self.line.get_or_insert_default().authority = Some(authority.into());
    }

    /// The response has this status.
    pub fn set_status(&mut self, status: u16) {
        self.line.get_or_insert_default().status = Some(status);
    }

    /// The method, if it changes.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        self.line.as_ref()?.method.as_deref()
    }

    /// Path and query, if they change.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.line.as_ref()?.path.as_deref()
    }

    /// The authority, if it changes.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.line.as_ref()?.authority.as_deref()
    }

    /// The status, if it changes.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.line.as_ref()?.status
    }

    /// Whether a field that came stays. The name may be in any case.
    #[must_use]
    pub fn keeps(&self, name: &[u8]) -> bool {
        !self
            .dropped
            .iter()
            .any(|dropped| name.eq_ignore_ascii_case(dropped.as_bytes()))
    }

    /// The names of which every field that came goes.
    pub fn dropped(&self) -> impl Iterator<Item = &str> {
        self.dropped.iter().map(AsRef::as_ref)
    }

    /// The fields that are added, in order.
    pub fn added(&self) -> impl Iterator<Item = (&str, &str)> {
        self.added
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// Works configured changes in: those that remove come first. `came` is the message as it came;
    /// `render` fills a value in, of a message that is changed so far.
    pub fn apply(
        &mut self,
        changes: &'c HeaderChanges,
        came: &dyn Fields,
        render: &dyn Fn(&Format, &Edits<'_>) -> String,
    ) {
        for name in &changes.remove {
            self.drop(name);
        }
        for addition in &changes.add {
            self.append(addition, came, render);
        }
    }

    /// Works one configured header in.
    pub fn append(
        &mut self,
        addition: &'c HeaderAddition,
        came: &dyn Fields,
        render: &dyn Fn(&Format, &Edits<'_>) -> String,
    ) {
        let value = match addition.value.as_literal() {
            Some(literal) => Cow::Borrowed(literal),
            None => Cow::Owned(render(&addition.value, self)),
        };
        if value.is_empty() && !addition.keep_empty_value {
            return;
        }
        let name = addition.name.as_str();
        let exists = || Edited::new(came, self).has(name);
        match addition.append {
            AppendAction::AddIfAbsent if exists() => {}
            AppendAction::OverwriteIfExists if !exists() => {}
            AppendAction::AppendIfExistsOrAdd | AppendAction::AddIfAbsent => self.add(name, value),
            AppendAction::OverwriteIfExistsOrAdd | AppendAction::OverwriteIfExists => {
                self.set(name, value);
            }
        }
    }
}

// === impl Edited ===

impl<'a, H: ?Sized> Edited<'a, H> {
    /// `head` with `edits` applied.
    pub fn new(head: &'a H, edits: &'a Edits<'a>) -> Self {
        Self { head, edits }
    }
}

impl<H: Fields + ?Sized> Fields for Edited<'_, H> {
    fn any_line<'h>(&'h self, name: &str, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        let stays = self.edits.keeps(name.as_bytes());
        (stays && self.head.any_line(name, look))
            || self
                .edits
                .added()
                .filter(|(added, _)| *added == name)
                .any(|(_, value)| look(value.into()))
    }

    fn any_name<'h>(&'h self, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        let edits = self.edits;
        self.head
            .any_name(&mut |name| edits.keeps(name.as_bytes()) && look(name))
            || edits.added().any(|(name, _)| look(name.into()))
    }
}

impl<H: RequestHead + ?Sized> RequestHead for Edited<'_, H> {
    fn method(&self) -> &str {
        self.edits.method().unwrap_or_else(|| self.head.method())
    }

    fn path(&self) -> &str {
        self.edits.path().unwrap_or_else(|| self.head.path())
    }

    fn authority(&self) -> &str {
        let authority = self.edits.authority();
        authority.unwrap_or_else(|| self.head.authority())
    }

    fn protocol(&self) -> &'static str {
        self.head.protocol()
    }
}

impl<H: ResponseHead + ?Sized> ResponseHead for Edited<'_, H> {
    fn status(&self) -> u16 {
        self.edits.status().unwrap_or_else(|| self.head.status())
    }
}

// === impl HeadValues ===

impl Values for HeadValues<'_> {
    fn append(&self, command: &Command, out: &mut String) -> bool {
        match (command, self.request, self.response) {
            (Command::RequestHeader(name, other), Some(request), _) => {
                push_either(|name| request.field(name), name, other.as_deref(), out)
            }
            (Command::ResponseHeader(name, other), _, Some(response)) => {
                push_either(|name| response.field(name), name, other.as_deref(), out)
            }
            _ => self.info.append(command, out),
        }
    }

    fn any(&self, command: &Command) -> Option<Value> {
        self.info.any(command)
    }
}

fn push_either<'h>(
    find: impl Fn(&str) -> Option<Cow<'h, str>>,
    name: &str,
    other: Option<&str>,
    out: &mut String,
) -> bool {
    let value = find(name).or_else(|| other.and_then(&find));
    out.push_str(value.as_deref().unwrap_or_default());
    value.is_some()
}

#[cfg(test)]
mod tests;
