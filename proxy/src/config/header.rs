//! Header mutations of route configurations.

use super::format::Format;

/// What one level (route configuration, virtual host, route, weighted cluster) changes.
#[derive(Debug, Clone, Default)]
pub struct HeaderMutations {
    /// Towards the upstream.
    pub request: HeaderChanges,
    /// Towards the client.
    pub response: HeaderChanges,
}

/// Changes of one direction. Removals come first, then additions in order.
#[derive(Debug, Clone, Default)]
pub struct HeaderChanges {
    /// Lower case.
    pub remove: Vec<String>,
    /// `HeaderValueOption`s.
    pub add: Vec<HeaderAddition>,
}

/// `envoy.config.core.v3.HeaderValueOption`
#[derive(Debug, Clone)]
pub struct HeaderAddition {
    /// Lower case.
    pub name: String,
    /// Literal or with `%COMMAND%`s.
    pub value: Format,
    /// What becomes of one that is there already.
    pub append: AppendAction,
    /// Add it although the value came out empty.
    pub keep_empty_value: bool,
}

/// `HeaderValueOption.HeaderAppendAction`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendAction {
    /// Append to what is there, else add.
    AppendIfExistsOrAdd,
    /// Add only if absent.
    AddIfAbsent,
    /// Replace what is there, else add.
    OverwriteIfExistsOrAdd,
    /// Replace what is there; never add.
    OverwriteIfExists,
}

// === impl HeaderMutations ===

impl HeaderMutations {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}

// === impl HeaderChanges ===

impl HeaderChanges {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }
}
