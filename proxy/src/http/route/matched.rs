//! The parts of the route configuration that a request matched.

use std::borrow::Cow;

use super::matching;
use crate::{
    config::{
        RouteConfiguration,
        header::HeaderMutations,
        http_filter::{CorsPolicy, FilterOverride, RouteSpecificFilterConfig},
        route::{ForwardTarget, Route, RouteAction, RouteWeightedCluster, VirtualHost},
    },
    http::head::RequestHead,
};

/// The parts of the route configuration that a request matched.
#[derive(Debug, Clone, Copy)]
pub struct Matched<'c> {
    pub(crate) config: &'c RouteConfiguration,
    pub(crate) virtual_host: &'c VirtualHost,
    pub(crate) route: &'c Route,
    pub(crate) weighted: Option<&'c RouteWeightedCluster>,
}

/// The route of a request, found once and found again after it was cleared.
pub struct CachedRoute<'r, 'c> {
    found: Option<Option<Matched<'c>>>,
    find: &'r dyn Fn(&dyn RequestHead) -> Option<Matched<'c>>,
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

    /// What the levels say of a filter, the most specific first.
    fn overrides<'f>(
        &self,
        filter: &'f str,
    ) -> impl Iterator<Item = &'c FilterOverride> + use<'c, 'f> {
        let levels = [
            self.weighted.map(|weighted| &weighted.per_filter),
            Some(&self.route.per_filter),
            Some(&self.virtual_host.per_filter),
            Some(&self.config.per_filter),
        ];
        let levels = levels.into_iter().flatten();
        levels.filter_map(move |level| level.get(filter))
    }

    /// What the levels configure for a filter, the most specific first.
    pub(crate) fn filter_configs<'f>(
        &self,
        filter: &'f str,
    ) -> impl Iterator<Item = &'c RouteSpecificFilterConfig> + use<'c, 'f> {
        self.overrides(filter)
            .filter_map(|level| level.config.as_ref())
    }

    /// Whether a filter takes no part, by the most specific level that says so; none: none says.
    pub(crate) fn is_disabled(&self, filter: &str) -> Option<bool> {
        self.overrides(filter).find_map(|level| level.disabled)
    }

    /// The CORS policies that stand in the route configuration itself, the most specific first.
    pub(crate) fn cors(&self) -> impl Iterator<Item = &'c CorsPolicy> + use<'c> {
        let of_route = match &self.route.action {
            RouteAction::Forward(forward) => forward.cors.as_deref(),
            RouteAction::Redirect(_) | RouteAction::DirectResponse { .. } => None,
        };
        let levels = [of_route, self.virtual_host.cors.as_deref()];
        levels.into_iter().flatten()
    }

    /// Whether the request is to be sent on.
    pub(crate) fn forwards(&self) -> bool {
        matches!(self.route.action, RouteAction::Forward(_))
    }

    /// The cluster that a request is to be sent to.
    pub(crate) fn cluster(&self, request: &dyn RequestHead) -> Option<Cow<'c, str>> {
        let RouteAction::Forward(forward) = &self.route.action else {
            return None;
        };
        match (&forward.target, self.weighted) {
            (_, Some(weighted)) => Some(weighted.name.as_str().into()),
            // Which of them has been drawn is not known.
            (ForwardTarget::Weighted { .. }, None) => None,
            (target, None) => matching::cluster(target, request, 0).map(|(name, _)| name),
        }
    }
}

// === impl CachedRoute ===

impl<'r, 'c> CachedRoute<'r, 'c> {
    /// Of a request whose route `find` finds.
    pub fn new(find: &'r dyn Fn(&dyn RequestHead) -> Option<Matched<'c>>) -> Self {
        Self { found: None, find }
    }

    /// Of a request whose route was found before.
    pub fn of(
        found: Option<Matched<'c>>,
        find: &'r dyn Fn(&dyn RequestHead) -> Option<Matched<'c>>,
    ) -> Self {
        Self {
            found: Some(found),
            find,
        }
    }

    /// What was found; none: nobody has looked, or it was cleared.
    #[must_use]
    pub fn found(&self) -> Option<Option<Matched<'c>>> {
        self.found
    }

    /// The route, which is found if it is not known.
    pub fn get(&mut self, request: &dyn RequestHead) -> Option<Matched<'c>> {
        *self.found.get_or_insert_with(|| (self.find)(request))
    }

    /// Has the route found again, since what it was found by has changed.
    pub fn clear(&mut self) {
        self.found = None;
    }
}
