//! What several load balancing policies have in common.

use weir_api::xds::envoy::{
    config::{
        cluster::v3::cluster::{CommonLbConfig, common_lb_config as pb_older},
        core::v3::RuntimeDouble,
    },
    extensions::load_balancing_policies::common::v3::{
        ConsistentHashingLbConfig, LocalityLbConfig, SlowStartConfig, locality_lb_config as pb,
    },
    r#type::v3::Percent,
};

use super::{
    at::{At, take},
    hash, override_host,
    value::{enumeration, number, timeout},
};
use crate::config::{
    cluster::{HostChanges, Panic},
    load_balancing::{
        ConsistentHashing, LoadBalancing, LocalityBasis, LocalityLb, OverrideHostStatuses,
        SlowStart, ZoneAware,
    },
};

/// Envoy's default of `min_weight_percent`.
const MIN_WEIGHT_PERCENT: f64 = 10.0;
/// Envoy's bound of `hash_balance_factor`.
const LEAST_BALANCE_FACTOR: u32 = 100;

/// `Cluster.common_lb_config`.
pub(super) struct Common {
    pub(super) panic: Panic,
    pub(super) host_changes: HostChanges,
    pub(super) locality: Option<LocalityLb>,
    pub(super) consistent_hashing: ConsistentHashing,
    pub(super) override_host_statuses: OverrideHostStatuses,
    /// Something is said that policies say for themselves.
    is_partial: bool,
}

// === impl Common ===

impl Common {
    pub(super) fn new(at: &At<'_>, message: Option<CommonLbConfig>) -> Self {
        let mut common = Self {
            panic: Panic::default(),
            host_changes: HostChanges::default(),
            locality: None,
            consistent_hashing: ConsistentHashing::default(),
            override_host_statuses: OverrideHostStatuses::default(),
            is_partial: false,
        };
        let Some(message) = message else {
            return common;
        };
        take!(at, message => CommonLbConfig {
            supported: healthy_panic_threshold, locality_config_specifier,
                consistent_hashing_lb_config, ignore_new_hosts_until_first_hc,
                close_connections_on_host_set_change, override_host_status;
            ignored: update_merge_window = "each update takes effect at once";
        });
        common.host_changes = HostChanges {
            ignore_new_until_checked: ignore_new_hosts_until_first_hc,
            close_on_set_change: close_connections_on_host_set_change,
            ..HostChanges::default()
        };
        if let Some(message) = override_host_status {
            let at = at.field("override_host_status");
            common.override_host_statuses = override_host::statuses(&at, message);
        }
        let panic = &mut common.panic;
        if let Some(percent) = healthy_panic_threshold {
            panic.threshold = whole_percent(&at.field("healthy_panic_threshold"), &percent);
        }
        common.is_partial =
            locality_config_specifier.is_some() || consistent_hashing_lb_config.is_some();
        match locality_config_specifier {
            None => {}
            Some(pb_older::LocalityConfigSpecifier::ZoneAwareLbConfig(message)) => {
                let at = at.field("zone_aware_lb_config");
                take!(at, message => pb_older::ZoneAwareLbConfig {
                    supported: routing_enabled, min_cluster_size, fail_traffic_on_panic;
                });
                panic.fails_traffic = fail_traffic_on_panic;
                let zones = zone_aware(&at, routing_enabled.as_ref(), min_cluster_size);
                common.locality = Some(LocalityLb::ZoneAware(zones));
            }
            Some(pb_older::LocalityConfigSpecifier::LocalityWeightedLbConfig(
                pb_older::LocalityWeightedLbConfig {},
            )) => common.locality = Some(LocalityLb::Weighted),
        }
        if let Some(message) = consistent_hashing_lb_config {
            let at = at.field("consistent_hashing_lb_config");
            take!(at, message => pb_older::ConsistentHashingLbConfig {
                supported: use_hostname_for_hashing, hash_balance_factor;
            });
            let message = ConsistentHashingLbConfig {
                use_hostname_for_hashing,
                hash_balance_factor,
                hash_policy: Vec::new(),
            };
            common.consistent_hashing = consistent_hashing(&at, Some(message));
        }
        common
    }

    /// Refuses what `load_balancing_policy` says elsewhere, as Envoy does.
    pub(super) fn refuse_partial_fields(&self, at: &At<'_>) {
        if self.is_partial {
            at.error("what concerns localities and hashing belongs into load_balancing_policy");
        }
    }
}

/// `at` is `locality_lb_config`.
pub(super) fn locality(
    at: &At<'_>,
    message: LocalityLbConfig,
    locality: &mut LocalityLb,
    panic: &mut Panic,
) {
    take!(at, message => LocalityLbConfig { supported: locality_config_specifier; });
    match locality_config_specifier {
        None => at.error("zone_aware_lb_config or locality_weighted_lb_config is required"),
        Some(pb::LocalityConfigSpecifier::LocalityWeightedLbConfig(
            pb::LocalityWeightedLbConfig {},
        )) => *locality = LocalityLb::Weighted,
        Some(pb::LocalityConfigSpecifier::ZoneAwareLbConfig(message)) => {
            let at = at.field("zone_aware_lb_config");
            take!(at, message => pb::ZoneAwareLbConfig {
                supported: routing_enabled, min_cluster_size, fail_traffic_on_panic,
                    force_locality_direct_routing, force_local_zone, locality_basis;
            });
            panic.fails_traffic = fail_traffic_on_panic;
            let mut zones = zone_aware(&at, routing_enabled.as_ref(), min_cluster_size);
            zones.force_local_zone = force_locality_direct_routing.then_some(1);
            if let Some(message) = force_local_zone {
                let at = at.field("force_local_zone");
                take!(at, message => pb::zone_aware_lb_config::ForceLocalZone {
                    supported: min_size;
                });
                zones.force_local_zone = Some(min_size.map_or(1, |size| size.value));
            }
            if let Some(pb::zone_aware_lb_config::LocalityBasis::HealthyHostsWeight) =
                enumeration(&at.field("locality_basis"), locality_basis)
            {
                zones.basis = LocalityBasis::Weight;
            }
            *locality = LocalityLb::ZoneAware(zones);
        }
    }
}

fn zone_aware(
    at: &At<'_>,
    routing_enabled: Option<&Percent>,
    min_cluster_size: Option<weir_api::xds::google::protobuf::UInt64Value>,
) -> ZoneAware {
    let mut zones = ZoneAware::default();
    if let Some(percent) = routing_enabled {
        zones.routing_enabled = whole_percent(&at.field("routing_enabled"), percent);
    }
    if let Some(size) = min_cluster_size {
        zones.min_cluster_size = size.value;
    }
    zones
}

/// `at` is `consistent_hashing_lb_config`.
pub(super) fn consistent_hashing(
    at: &At<'_>,
    message: Option<ConsistentHashingLbConfig>,
) -> ConsistentHashing {
    let Some(message) = message else {
        return ConsistentHashing::default();
    };
    take!(at, message => ConsistentHashingLbConfig {
        supported: use_hostname_for_hashing, hash_balance_factor, hash_policy;
    });
    let at_factor = at.field("hash_balance_factor");
    ConsistentHashing {
        by_hostname: use_hostname_for_hashing,
        balance_factor: number(
            &at_factor,
            hash_balance_factor,
            LEAST_BALANCE_FACTOR..=u32::MAX,
        ),
        hash_policy: hash::of_route(&at.field("hash_policy"), hash_policy),
    }
}

/// `at` is `slow_start_config`.
pub(super) fn slow_start(at: &At<'_>, message: Option<SlowStartConfig>, into: &mut LoadBalancing) {
    let Some(message) = message else {
        return;
    };
    take!(at, message => SlowStartConfig {
        supported: slow_start_window, aggression, min_weight_percent;
    });
    let Some(window) = timeout(&at.field("slow_start_window"), slow_start_window, None) else {
        // As in Envoy, where nobody is new for no time.
        return;
    };
    let mut settings = SlowStart {
        window,
        aggression: 1.0,
        min_weight: MIN_WEIGHT_PERCENT / 100.0,
    };
    if let Some(message) = aggression {
        let at = at.field("aggression");
        let (value, key) = runtime_double(&at, message);
        if value <= 0.0 || value.is_nan() {
            at.field("default_value")
                .error(format!("{value}: must be above 0"));
        }
        settings.aggression = value;
        into.aggression_key = key;
    }
    if let Some(Percent { value }) = min_weight_percent {
        percent(&at.field("min_weight_percent"), value);
        settings.min_weight = value / 100.0;
    }
    into.slow_start = Some(settings);
}

/// A number, and the key of the runtime that overrides it.
pub(super) fn runtime_double(at: &At<'_>, message: RuntimeDouble) -> (f64, Box<str>) {
    take!(at, message => RuntimeDouble { supported: default_value, runtime_key; });
    (default_value, runtime_key.into())
}

/// A percentage, rounded as Envoy does.
fn whole_percent(at: &At<'_>, share: &Percent) -> u32 {
    percent(at, share.value).round() as u32
}

/// A percentage.
pub(super) fn percent(at: &At<'_>, percent: f64) -> f64 {
    if !(0.0..=100.0).contains(&percent) {
        at.error(format!("{percent}: must be from 0 to 100"));
    }
    percent
}
