//! Outlier detection.

use weir_api::xds::{envoy::config::cluster::v3 as pb, google::protobuf::UInt32Value};

use super::{
    at::{At, take},
    value::{duration, number, positive_duration},
};
use crate::config::outlier_detection::{
    FailurePercentage, OutlierDetection, Rule, SuccessRate, Volume,
};

pub(super) fn outlier_detection(at: &At<'_>, message: pb::OutlierDetection) -> OutlierDetection {
    take!(at, message => pb::OutlierDetection {
        supported: consecutive_5xx, interval, base_ejection_time, max_ejection_percent,
            enforcing_consecutive_5xx, enforcing_success_rate, success_rate_minimum_hosts,
            success_rate_request_volume, success_rate_stdev_factor, consecutive_gateway_failure,
            enforcing_consecutive_gateway_failure, split_external_local_origin_errors,
            consecutive_local_origin_failure, enforcing_consecutive_local_origin_failure,
            enforcing_local_origin_success_rate, failure_percentage_threshold,
            enforcing_failure_percentage, enforcing_failure_percentage_local_origin,
            failure_percentage_minimum_hosts, failure_percentage_request_volume,
            max_ejection_time, max_ejection_time_jitter, always_eject_one_host,
            successful_active_health_check_uneject_host;
        fixed: detect_degraded_hosts = false;
        refused: monitors;
    });
    let any = |name: &'static str, value: Option<UInt32Value>, default: u32| {
        number(&at.field(name), value, 0..=u32::MAX).unwrap_or(default)
    };
    let percent = |name: &'static str, value: Option<UInt32Value>, default: u32| {
        number(&at.field(name), value, 0..=100).unwrap_or(default)
    };
    // A field and the name it has in an error.
    macro_rules! read {
        ($read:ident $field:ident, $default:expr) => {
            $read(stringify!($field), $field, $default)
        };
    }
    let default = OutlierDetection::default();
    let base_ejection_time = positive_duration(&at.field("base_ejection_time"), base_ejection_time)
        .unwrap_or(default.base_ejection_time);
    let at_most = at.field("max_ejection_time");
    let max_ejection_time = positive_duration(&at_most, max_ejection_time);
    if max_ejection_time.is_some_and(|most| most < base_ejection_time) {
        at_most.error("must not be below base_ejection_time");
    }
    let rate = default.success_rate;
    let failures = default.failure_percentage;
    OutlierDetection {
        consecutive_5xx: Rule {
            threshold: read!(any consecutive_5xx, default.consecutive_5xx.threshold),
            enforcing: read!(percent enforcing_consecutive_5xx, default.consecutive_5xx.enforcing),
        },
        consecutive_gateway_failure: Rule {
            threshold: read!(any consecutive_gateway_failure, default.consecutive_gateway_failure.threshold),
            enforcing: read!(percent enforcing_consecutive_gateway_failure, default.consecutive_gateway_failure.enforcing),
        },
        consecutive_local_origin_failure: Rule {
            threshold: read!(any consecutive_local_origin_failure, default.consecutive_local_origin_failure.threshold),
            enforcing: read!(percent enforcing_consecutive_local_origin_failure, default.consecutive_local_origin_failure.enforcing),
        },
        interval: positive_duration(&at.field("interval"), interval).unwrap_or(default.interval),
        base_ejection_time,
        max_ejection_time: max_ejection_time
            .unwrap_or(OutlierDetection::MAX_EJECTION_TIME.max(base_ejection_time)),
        max_ejection_time_jitter: duration(
            &at.field("max_ejection_time_jitter"),
            max_ejection_time_jitter,
        )
        .unwrap_or_default(),
        max_ejection_percent: read!(percent max_ejection_percent, default.max_ejection_percent),
        always_eject_one_host: always_eject_one_host.is_some_and(|always| always.value),
        split_external_local_origin_errors,
        uneject_on_health_check: successful_active_health_check_uneject_host
            .is_none_or(|does| does.value),
        success_rate: SuccessRate {
            volume: Volume {
                minimum_hosts: read!(any success_rate_minimum_hosts, rate.volume.minimum_hosts),
                request_volume: read!(any success_rate_request_volume, rate.volume.request_volume),
                enforcing: read!(percent enforcing_success_rate, rate.volume.enforcing),
                enforcing_local_origin: read!(percent enforcing_local_origin_success_rate, rate.volume.enforcing_local_origin),
            },
            stdev_factor: read!(any success_rate_stdev_factor, rate.stdev_factor),
        },
        failure_percentage: FailurePercentage {
            volume: Volume {
                minimum_hosts: read!(any failure_percentage_minimum_hosts, failures.volume.minimum_hosts),
                request_volume: read!(any failure_percentage_request_volume, failures.volume.request_volume),
                enforcing: read!(percent enforcing_failure_percentage, failures.volume.enforcing),
                enforcing_local_origin: read!(percent enforcing_failure_percentage_local_origin, failures.volume.enforcing_local_origin),
            },
            threshold: read!(percent failure_percentage_threshold, failures.threshold),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_api::xds::json;

    use super::*;
    use crate::convert;

    fn read(fields: &str) -> Result<OutlierDetection, String> {
        let text = format!(
            "static_resources: {{ clusters: [ {{ name: c, outlier_detection: {{ {fields} }} }} ] }}"
        );
        let message = json::read_bootstrap(&text).expect("a bootstrap");
        let config = convert::bootstrap(message).map_err(|error| error.to_string())?;
        Ok(config.clusters[0].outlier_detection.clone().expect("it"))
    }

    #[test]
    fn each_field_has_its_place_and_what_is_absent_is_envoys_default() {
        assert_eq!(read(""), Ok(OutlierDetection::default()));
        let seconds = Duration::from_secs;
        let rule = |threshold, enforcing| Rule {
            threshold,
            enforcing,
        };
        let volume = |numbers: [u32; 4]| Volume {
            minimum_hosts: numbers[0],
            request_volume: numbers[1],
            enforcing: numbers[2],
            enforcing_local_origin: numbers[3],
        };
        let all = "consecutive_5xx: 1, enforcing_consecutive_5xx: 2, consecutive_gateway_failure: 3, \
            enforcing_consecutive_gateway_failure: 4, consecutive_local_origin_failure: 5, \
            enforcing_consecutive_local_origin_failure: 6, interval: 7s, base_ejection_time: 8s, \
            max_ejection_time: 9s, max_ejection_time_jitter: 10s, max_ejection_percent: 11, \
            always_eject_one_host: true, split_external_local_origin_errors: true, \
            success_rate_minimum_hosts: 12, success_rate_request_volume: 13, \
            enforcing_success_rate: 14, enforcing_local_origin_success_rate: 15, \
            success_rate_stdev_factor: 16, failure_percentage_minimum_hosts: 17, \
            failure_percentage_request_volume: 18, enforcing_failure_percentage: 19, \
            successful_active_health_check_uneject_host: false, \
            enforcing_failure_percentage_local_origin: 20, failure_percentage_threshold: 21";
        let expected = OutlierDetection {
            consecutive_5xx: rule(1, 2),
            consecutive_gateway_failure: rule(3, 4),
            consecutive_local_origin_failure: rule(5, 6),
            interval: seconds(7),
            base_ejection_time: seconds(8),
            max_ejection_time: seconds(9),
            max_ejection_time_jitter: seconds(10),
            max_ejection_percent: 11,
            always_eject_one_host: true,
            split_external_local_origin_errors: true,
            uneject_on_health_check: false,
            success_rate: SuccessRate {
                volume: volume([12, 13, 14, 15]),
                stdev_factor: 16,
            },
            failure_percentage: FailurePercentage {
                volume: volume([17, 18, 19, 20]),
                threshold: 21,
            },
        };
        assert_eq!(read(all), Ok(expected));
        let long = read("base_ejection_time: 400s").expect("sound");
        assert_eq!(long.max_ejection_time, seconds(400));
    }
}
