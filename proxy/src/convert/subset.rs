//! Subsets of the hosts of a cluster, and what routes want of hosts.

use serde_json::{Map, Value};
use weir_api::xds::envoy::{
    config::{
        cluster::v3::cluster::{LbSubsetConfig, lb_subset_config},
        core::v3::Metadata,
    },
    extensions::load_balancing_policies::subset::v3::{Subset, subset as pb_subset},
};

use super::{
    at::{At, take},
    load_balancing::{Balancing, chosen},
    value::{enumeration, json_object},
};
use crate::config::{
    load_balancing::{LbPolicy, LocalityLb},
    subset::{Fallback, LB_METADATA, MetadataMatch, SelectorFallback, SubsetSelector, Subsets},
};

/// What a route wants of hosts, beside what is wanted anyway.
pub(super) fn metadata_match(
    message: Option<Metadata>,
    outer: Option<&MetadataMatch>,
) -> Option<MetadataMatch> {
    match lb_metadata(message) {
        Some(values) => Some(outer.cloned().unwrap_or_default().merged(&values)),
        None => outer.cloned(),
    }
}

/// What balancers look at.
pub(super) fn lb_metadata(message: Option<Metadata>) -> Option<Map<String, Value>> {
    let values = message?.filter_metadata.remove(LB_METADATA)?;
    Some(json_object(values))
}

/// `Cluster.lb_subset_config`; `at` is the cluster.
pub(super) fn of_cluster(
    at: &At<'_>,
    message: Option<LbSubsetConfig>,
    balancing: &Balancing,
) -> Option<Box<Subsets>> {
    let at = at.field("lb_subset_config");
    let message = message?;
    take!(at, message => LbSubsetConfig {
        supported: fallback_policy, default_subset, subset_selectors, locality_weight_aware,
            scale_locality_weight, panic_mode_any, list_as_any, metadata_fallback_policy;
    });
    if locality_weight_aware && balancing.rest.locality != LocalityLb::Weighted {
        at.field("locality_weight_aware")
            .error("needs common_lb_config.locality_weighted_lb_config");
    }
    let at_selectors = at.field("subset_selectors");
    let selectors = subset_selectors.into_iter().enumerate();
    let selectors: Vec<_> = selectors
        .map(|(index, message)| selector(&at_selectors.index(index), message))
        .collect();
    // As in Envoy, which has no subsets then.
    if selectors.is_empty() {
        return None;
    }
    Some(Box::new(Subsets {
        fallback: fallback(&at.field("fallback_policy"), fallback_policy),
        default_subset: default_subset.map(json_object).unwrap_or_default(),
        selectors,
        allow_redundant_keys: false,
        locality_weight_aware,
        scale_locality_weight,
        panic_mode_any,
        list_as_any,
        metadata_fallback: metadata_fallback(&at, metadata_fallback_policy),
    }))
}

/// The policy `Subset`; what is within it goes into `into`, too.
pub(super) fn of_policy(
    at: &At<'_>,
    message: Subset,
    into: &mut Balancing,
    depth: u8,
) -> Option<()> {
    take!(at, message => Subset {
        supported: fallback_policy, default_subset, subset_selectors, allow_redundant_keys,
            locality_weight_aware, scale_locality_weight, panic_mode_any, list_as_any,
            metadata_fallback_policy, subset_lb_policy;
    });
    let at_inner = at.field("subset_lb_policy");
    chosen(
        &at_inner,
        at_inner.required(subset_lb_policy)?,
        into,
        depth + 1,
    )?;
    if into.rest.subsets.is_some() || into.policy == LbPolicy::ClusterProvided {
        at_inner.unsupported("Subset and ClusterProvided");
    }
    let at_selectors = at.field("subset_selectors");
    let selectors = subset_selectors.into_iter().enumerate();
    into.rest.subsets = Some(Box::new(Subsets {
        fallback: fallback(&at.field("fallback_policy"), fallback_policy),
        default_subset: default_subset.map(json_object).unwrap_or_default(),
        selectors: selectors
            .map(|(index, message)| selector(&at_selectors.index(index), older(message)))
            .collect(),
        allow_redundant_keys,
        locality_weight_aware,
        scale_locality_weight,
        panic_mode_any,
        list_as_any,
        metadata_fallback: metadata_fallback(at, metadata_fallback_policy),
    }));
    Some(())
}

/// The message as it was called before, which has the same fields and values.
fn older(message: pb_subset::LbSubsetSelector) -> lb_subset_config::LbSubsetSelector {
    let pb_subset::LbSubsetSelector {
        keys,
        single_host_per_subset,
        fallback_policy,
        fallback_keys_subset,
    } = message;
    lb_subset_config::LbSubsetSelector {
        keys,
        single_host_per_subset,
        fallback_policy,
        fallback_keys_subset,
    }
}

fn fallback(at: &At<'_>, policy: i32) -> Fallback {
    use lb_subset_config::LbSubsetFallbackPolicy as Pb;

    match enumeration(at, policy) {
        Some(Pb::AnyEndpoint) => Fallback::Any,
        Some(Pb::DefaultSubset) => Fallback::Default,
        Some(Pb::NoFallback) | None => Fallback::None,
    }
}

fn metadata_fallback(at: &At<'_>, policy: i32) -> bool {
    use lb_subset_config::LbSubsetMetadataFallbackPolicy as Pb;

    enumeration(&at.field("metadata_fallback_policy"), policy) == Some(Pb::FallbackList)
}

fn selector(at: &At<'_>, message: lb_subset_config::LbSubsetSelector) -> SubsetSelector {
    use lb_subset_config::lb_subset_selector::LbSubsetSelectorFallbackPolicy as Pb;

    take!(at, message => lb_subset_config::LbSubsetSelector {
        supported: keys, single_host_per_subset, fallback_policy, fallback_keys_subset;
    });
    let sorted = |mut keys: Vec<String>| {
        keys.sort();
        keys.dedup();
        keys
    };
    let keys = sorted(keys);
    let keys_subset = sorted(fallback_keys_subset);
    let at_subset = at.field("fallback_keys_subset");
    let fallback = match enumeration(&at.field("fallback_policy"), fallback_policy) {
        Some(Pb::NotDefined) | None => None,
        Some(Pb::NoFallback) => Some(SelectorFallback::Of(Fallback::None)),
        Some(Pb::AnyEndpoint) => Some(SelectorFallback::Of(Fallback::Any)),
        Some(Pb::DefaultSubset) => Some(SelectorFallback::Of(Fallback::Default)),
        Some(Pb::KeysSubset) => {
            let is_subset = keys_subset.iter().all(|key| keys.contains(key));
            if keys_subset.is_empty() || !is_subset || keys_subset.len() == keys.len() {
                at_subset.error("must have some of keys and not all");
            }
            Some(SelectorFallback::Keys(keys_subset.clone()))
        }
    };
    if !keys_subset.is_empty() && !matches!(fallback, Some(SelectorFallback::Keys(_))) {
        at_subset.error("needs fallback_policy KEYS_SUBSET");
    }
    SubsetSelector {
        keys,
        single_host: single_host_per_subset,
        fallback,
    }
}
