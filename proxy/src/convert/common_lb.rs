//! What all load balancing policies have in common.

use weir_api::xds::envoy::config::cluster::v3::cluster::{CommonLbConfig, common_lb_config as pb};

use super::at::{At, take};
use crate::config::cluster::{HostChanges, LbPolicy, Panic};

pub(super) fn panic(
    at: &At<'_>,
    message: Option<CommonLbConfig>,
    policy: LbPolicy,
) -> (Panic, HostChanges) {
    let mut panic = Panic::default();
    let Some(message) = message else {
        return (panic, HostChanges::default());
    };
    take!(at, message => CommonLbConfig {
        supported: healthy_panic_threshold, locality_config_specifier,
            ignore_new_hosts_until_first_hc, close_connections_on_host_set_change;
        ignored: update_merge_window = "each update takes effect at once";
        refused: consistent_hashing_lb_config, override_host_status;
    });
    let host_changes = HostChanges {
        ignore_new_until_checked: ignore_new_hosts_until_first_hc,
        close_on_set_change: close_connections_on_host_set_change,
        ..HostChanges::default()
    };
    if let Some(percent) = healthy_panic_threshold {
        panic.threshold = whole_percent(&at.field("healthy_panic_threshold"), percent.value);
    }
    match locality_config_specifier {
        None => {}
        Some(pb::LocalityConfigSpecifier::ZoneAwareLbConfig(message)) => {
            let at = at.field("zone_aware_lb_config");
            take!(at, message => pb::ZoneAwareLbConfig {
                supported: fail_traffic_on_panic;
                ignored: routing_enabled = "there is no local cluster, as its zones would need",
                    min_cluster_size = "there is no local cluster, as its zones would need";
            });
            if fail_traffic_on_panic && matches!(policy, LbPolicy::RingHash(_)) {
                at.field("fail_traffic_on_panic")
                    .unsupported("true with lb_policy RING_HASH, where Envoy does not heed it");
            }
            panic.fails_traffic = fail_traffic_on_panic;
        }
        Some(pb::LocalityConfigSpecifier::LocalityWeightedLbConfig(_)) => {
            at.field("locality_weighted_lb_config")
                .unsupported("localities are not weighted");
        }
    }
    (panic, host_changes)
}

/// A percentage, rounded as Envoy does.
fn whole_percent(at: &At<'_>, percent: f64) -> u32 {
    if !(0.0..=100.0).contains(&percent) {
        at.error(format!("{percent}: must be from 0 to 100"));
    }
    percent.round() as u32
}
