//! Header mutations, worked out for one message: which of its headers go, and which are added.

use crate::{
    access_log::Facts,
    config::{
        RouteConfiguration,
        header::{AppendAction, HeaderChanges, HeaderMutations},
        route::RouteWeightedCluster,
        route::{Route, VirtualHost},
    },
};

/// Changes to the headers of one message.
#[derive(Debug, Default)]
pub struct HeaderEdits<'c> {
    /// Lower case; every header of these names goes.
    pub(crate) dropped: Vec<&'c str>,
    /// Added at the end, in order.
    pub(crate) added: Vec<(&'c str, String)>,
}

/// The parts of the route configuration that a request matched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matched<'c> {
    pub(crate) config: &'c RouteConfiguration,
    pub(crate) virtual_host: &'c VirtualHost,
    pub(crate) route: &'c Route,
    pub(crate) weighted: Option<&'c RouteWeightedCluster>,
}

// === impl Matched ===

impl<'c> Matched<'c> {
    /// The levels at which headers are changed, the one that is applied first in front.
    pub(crate) fn levels(&self) -> impl Iterator<Item = &'c HeaderMutations> + use<'c> {
        let specific_first = [
            self.weighted.map(|weighted| &weighted.headers),
            Some(&self.route.headers),
            Some(&self.virtual_host.headers),
            Some(&self.config.headers),
        ];
        let mut order = [0, 1, 2, 3];
        // What is applied last wins.
        if self.config.most_specific_header_mutations_wins {
            order.reverse();
        }
        order
            .into_iter()
            .filter_map(move |level| specific_first[level])
    }
}

// === impl HeaderEdits ===

impl<'c> HeaderEdits<'c> {
    /// Works one level's changes in. `is_there` knows the headers of the message as it came.
    pub(crate) fn apply(
        &mut self,
        changes: &'c HeaderChanges,
        is_there: &dyn Fn(&str) -> bool,
        facts: &Facts<'_>,
    ) {
        for name in &changes.remove {
            self.drop(name);
        }
        for addition in &changes.add {
            let mut value = String::new();
            addition.value.render(facts, "", &mut value);
            if value.is_empty() && !addition.keep_empty_value {
                continue;
            }
            let name = addition.name.as_str();
            let exists = self.added.iter().any(|(added, _)| *added == name)
                || (!self.dropped.contains(&name) && is_there(name));
            match addition.append {
                AppendAction::AppendIfExistsOrAdd => {}
                AppendAction::AddIfAbsent if exists => continue,
                AppendAction::OverwriteIfExists if !exists => continue,
                AppendAction::AddIfAbsent => {}
                AppendAction::OverwriteIfExistsOrAdd | AppendAction::OverwriteIfExists => {
                    self.drop(name);
                }
            }
            self.added.push((name, value));
        }
    }

    /// Whether a header of the message as it came stays.
    pub(crate) fn keeps(&self, name: &[u8]) -> bool {
        !self
            .dropped
            .iter()
            .any(|dropped| name.eq_ignore_ascii_case(dropped.as_bytes()))
    }

    /// One of ours takes the place of whatever came.
    pub(crate) fn set(&mut self, name: &'c str, value: String) {
        self.drop(name);
        self.added.push((name, value));
    }

    fn drop(&mut self, name: &'c str) {
        self.added.retain(|(added, _)| *added != name);
        self.dropped.push(name);
    }
}
