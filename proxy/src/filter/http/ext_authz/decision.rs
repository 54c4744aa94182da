//! What a service says of a request.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::http::{
    edits::{Edited, Edits},
    head::{Fields, ResponseHead},
    local_reply::ReplyFields,
};

/// What a service says of a request.
#[derive(Debug)]
pub(super) enum Decision {
    /// It may pass.
    Allowed(Allowed),
    /// It may not.
    Denied(Denied),
    /// Nobody has decided.
    Error(Option<Denied>),
}

/// What changes of a request that may pass, and of its response.
#[derive(Debug, Default)]
pub(super) struct Allowed {
    pub(super) request: Vec<Change>,
    /// Headers that go.
    pub(super) remove: Vec<String>,
    pub(super) response: Vec<Change>,
    pub(super) set_query: Vec<(String, String)>,
    pub(super) remove_query: Vec<String>,
    /// It asks for a kind of change that is none.
    pub(super) is_odd: bool,
}

/// What is answered in place of the endpoint.
#[derive(Debug, Default)]
pub(super) struct Denied {
    pub(super) status: Option<u16>,
    pub(super) headers: Vec<Change>,
    pub(super) body: Bytes,
}

/// A header that changes. Its name is in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) how: How,
}

/// What becomes of a header that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// It is replaced.
    Set,
    /// It stays, and there is one more.
    Add,
    /// The value is appended to its first line, behind a comma; where there is none, nothing is done.
    AppendIfThere,
    /// It stays, and nothing is added.
    AddIfAbsent,
    /// It is replaced; where there is none, none is added.
    OverwriteIfThere,
}

// === impl Allowed ===

impl Allowed {
    /// Whether the request's head or query changes.
    pub(super) fn changes_request(&self) -> bool {
        !self.request.is_empty()
            || !self.remove.is_empty()
            || !self.set_query.is_empty()
            || !self.remove_query.is_empty()
    }

    /// Whether all that changes can be said in HTTP.
    pub(super) fn is_valid(&self) -> bool {
        let is_query = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let mut headers = self.request.iter().chain(&self.response);
        let mut query = self.set_query.iter();
        !self.is_odd
            && headers.all(Change::is_valid)
            && query.all(|(key, value)| is_query(key) && is_query(value))
    }
}

// === impl Denied ===

impl Denied {
    /// Whether its headers can be said in HTTP.
    pub(super) fn is_valid(&self) -> bool {
        self.headers.iter().all(Change::is_valid)
    }
}

// === impl Change ===

impl Change {
    pub(super) fn new(name: &str, value: impl Into<String>, how: How) -> Self {
        Self {
            name: name.to_ascii_lowercase(),
            value: value.into(),
            how,
        }
    }

    /// Whether it can be said in HTTP.
    pub(super) fn is_valid(&self) -> bool {
        let name = self.name.strip_prefix(':').unwrap_or(&self.name);
        HeaderName::from_bytes(name.as_bytes()).is_ok()
            && HeaderValue::from_str(&self.value).is_ok()
    }

    /// Whether it may be made at all: what frames a message is written for each hop, and what cannot be
    /// said in HTTP would break the message.
    pub(super) fn is_possible(&self) -> bool {
        self.is_valid() && !is_of_the_hop(&self.name)
    }

    /// Makes it, in fields that came as `came`.
    pub(super) fn apply<'c>(self, came: &dyn Fields, edits: &mut Edits<'c>) {
        let mut lines = Vec::new();
        Edited::new(came, &*edits).any_line(&self.name, &mut |line| {
            lines.push(line.into_owned());
            false
        });
        match (self.how, lines.first_mut()) {
            (How::Set, _) | (How::OverwriteIfThere, Some(_)) => edits.set(self.name, self.value),
            (How::Add, _) | (How::AddIfAbsent, None) => edits.add(self.name, self.value),
            (How::AppendIfThere, Some(first)) => {
                first.push(',');
                first.push_str(&self.value);
                edits.drop(self.name.clone());
                { lines.into_iter() }.for_each(|line| edits.add(self.name.clone(), line));
            }
            (How::AddIfAbsent, Some(_)) | (How::AppendIfThere | How::OverwriteIfThere, None) => {}
        }
    }

    /// Makes it in a response.
    pub(super) fn apply_to_response(self, came: &dyn ResponseHead, edits: &mut Edits<'_>) {
        if self.is_of_replies() {
            self.apply(came, edits);
        }
    }

    /// In an answer of our own, takes the headers out that are to be replaced.
    pub(super) fn make_room(&self, edits: &mut Edits<'static>) {
        if self.how == How::Set && self.is_of_replies() {
            edits.drop(self.name.clone());
        }
    }

    /// Makes it in an answer of our own: several of one name may be set.
    pub(super) fn add_to_reply(self, edits: &mut Edits<'static>) {
        match self.how {
            _ if !self.is_of_replies() => {}
            How::Set => edits.add(self.name, self.value),
            _ => self.apply(&ReplyFields(&[]), edits),
        }
    }

    fn is_of_replies(&self) -> bool {
        self.is_possible() && !self.name.starts_with(':')
    }
}

/// Whether a header is written for each hop.
pub(super) fn is_of_the_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "content-length"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}
