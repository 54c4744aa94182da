//! Shares of requests, with and without a runtime key.

use weir_api::xds::envoy::{
    config::core::v3::RuntimeFractionalPercent,
    r#type::v3::{self as pb, fractional_percent::DenominatorType},
};

use super::{
    at::{At, take},
    value::enumeration,
};
use crate::runtime::{FractionalPercent, RuntimePercent};

/// A share whose default is required.
pub(super) fn runtime_percent(
    at: &At<'_>,
    message: RuntimeFractionalPercent,
) -> Option<RuntimePercent> {
    take!(at, message => RuntimeFractionalPercent { supported: default_value, runtime_key; });
    let at = at.field("default_value");
    Some(RuntimePercent {
        key: runtime_key,
        default: percent(&at, at.required(default_value)?)?,
    })
}

/// A share.
pub(super) fn percent(at: &At<'_>, message: pb::FractionalPercent) -> Option<FractionalPercent> {
    take!(at, message => pb::FractionalPercent { supported: numerator, denominator; });
    Some(FractionalPercent {
        numerator,
        denominator: match enumeration(&at.field("denominator"), denominator)? {
            DenominatorType::Hundred => 100,
            DenominatorType::TenThousand => 10_000,
            DenominatorType::Million => 1_000_000,
        },
    })
}
