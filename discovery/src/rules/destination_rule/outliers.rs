//! Which endpoints are left alone for a while.

use serde::Deserialize;
use serde_json::Value;

use super::{Refused, THE_REST};
use crate::{
    model,
    rules::{
        Findings,
        istio::{Span, refuse},
    },
};

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct OutlierDetection {
    #[serde(rename = "consecutive5xxErrors")]
    consecutive_5xx: Option<u32>,
    consecutive_gateway_errors: Option<u32>,
    consecutive_local_origin_failures: Option<u32>,
    split_external_local_origin_errors: Option<bool>,
    interval: Option<Span>,
    base_ejection_time: Option<Span>,
    max_ejection_percent: Option<u32>,
    min_health_percent: Option<u32>,
    consecutive_errors: Option<Value>,
    outlier_detection_http_error_codes: Option<Value>,
}

// === impl OutlierDetection ===

impl OutlierDetection {
    pub(super) fn read(&self, at: &str, findings: &mut Findings) -> model::OutlierDetection {
        let refused: &Refused<'_> = &[
            ("consecutiveErrors", &self.consecutive_errors),
            (
                "outlierDetectionHttpErrorCodes",
                &self.outlier_detection_http_error_codes,
            ),
        ];
        refuse(at, refused, THE_REST, findings);
        let mut percent = |field: &str, value: Option<u32>| {
            if let Some(value) = value.filter(|it| *it > 100) {
                let reason = format!("{value} is no percentage (0 to 100)");
                findings.malformed(format!("{at}.{field}"), reason);
            }
            value.filter(|it| *it <= 100)
        };
        // Zero is as if nothing were said: Istio writes it so.
        let max_ejection_percent = percent("maxEjectionPercent", self.max_ejection_percent);
        let min_health_percent = percent("minHealthPercent", self.min_health_percent);
        let mut time = |field: &str, said: Option<Span>| {
            let said = said?.0;
            if said.is_zero() {
                findings.malformed(format!("{at}.{field}"), "0 is no time: write 1ms or more");
            }
            Some(said).filter(|it| !it.is_zero())
        };
        let interval = time("interval", self.interval);
        let base_ejection_time = time("baseEjectionTime", self.base_ejection_time);
        let splits_local = self.split_external_local_origin_errors == Some(true);
        if self.consecutive_local_origin_failures.is_some() && !splits_local {
            let reason = "means nothing without splitExternalLocalOriginErrors: true: write both";
            findings.warned(format!("{at}.consecutiveLocalOriginFailures"), reason);
        }
        model::OutlierDetection {
            consecutive_5xx: self.consecutive_5xx,
            consecutive_gateway: self.consecutive_gateway_errors,
            consecutive_local: self.consecutive_local_origin_failures,
            splits_local,
            interval,
            base_ejection_time,
            max_ejection_percent: max_ejection_percent.filter(|it| *it > 0),
            min_health_percent: min_health_percent.unwrap_or_default(),
        }
    }
}
