//! Which hosts a retry may go to.

use weir_api::xds::{
    codec,
    envoy::{
        config::route::v3::retry_policy::{
            RetryHostPredicate, RetryPriority, retry_host_predicate as predicate,
            retry_priority as priority,
        },
        extensions::retry::{
            host::omit_host_metadata::v3::OmitHostMetadataConfig,
            priority::previous_priorities::v3::PreviousPrioritiesConfig,
        },
    },
};

use super::{
    at::{At, take},
    subset::lb_metadata,
    value::{type_name, unpack},
};
use crate::config::retry_host::HostSelection;

/// Envoy's default of `host_selection_retry_max_attempts`.
const MAX_ATTEMPTS: u32 = 1;

/// `at` is the retry policy.
pub(super) fn selection(
    at: &At<'_>,
    (priority, predicates): (Option<RetryPriority>, Vec<RetryHostPredicate>),
    max_attempts: i64,
) -> Option<Box<HostSelection>> {
    let mut selection = HostSelection::default();
    let at_predicates = at.field("retry_host_predicate");
    for (index, message) in predicates.into_iter().enumerate() {
        add_predicate(&at_predicates.index(index), message, &mut selection);
    }
    selection.previous_priorities =
        priority.and_then(|message| previous_priorities(&at.field("retry_priority"), message));
    selection.max_attempts = match u32::try_from(max_attempts) {
        Ok(0) => MAX_ATTEMPTS,
        Ok(attempts) => attempts,
        Err(_) => {
            at.field("host_selection_retry_max_attempts")
                .error(format!("{max_attempts}: must be from 0 to {}", u32::MAX));
            MAX_ATTEMPTS
        }
    };
    let says_something = selection.has_predicate() || selection.previous_priorities.is_some();
    says_something.then(|| Box::new(selection))
}

fn add_predicate(at: &At<'_>, message: RetryHostPredicate, into: &mut HostSelection) -> Option<()> {
    take!(at, message => RetryHostPredicate { supported: name, config_type; });
    let at_config = at.field("typed_config");
    let predicate::ConfigType::TypedConfig(any) = at_config.required(config_type)?;
    match type_name(&any).strip_prefix("envoy.extensions.retry.host.") {
        Some("previous_hosts.v3.PreviousHostsPredicate") => into.previous_hosts = true,
        Some("omit_canary_hosts.v3.OmitCanaryHostsPredicate") => into.omit_canary_hosts = true,
        Some("omit_host_metadata.v3.OmitHostMetadataConfig") => {
            let at = &at_config;
            let message = unpack(at, &any, codec::unpack_omit_host_metadata)?;
            take!(at, message => OmitHostMetadataConfig { supported: metadata_match; });
            // As Envoy, which omits nobody then.
            into.omit_host_metadata = lb_metadata(metadata_match).filter(|it| !it.is_empty());
        }
        _ => at_config.unsupported(format!("{} of {name:?}", type_name(&any))),
    }
    Some(())
}

fn previous_priorities(at: &At<'_>, message: RetryPriority) -> Option<u32> {
    take!(at, message => RetryPriority { supported: name, config_type; });
    let at = at.field("typed_config");
    let priority::ConfigType::TypedConfig(any) = at.required(config_type)?;
    if !type_name(&any).ends_with(".previous_priorities.v3.PreviousPrioritiesConfig") {
        at.unsupported(format!("{} of {name:?}", type_name(&any)));
        return None;
    }
    let message = unpack(&at, &any, codec::unpack_previous_priorities)?;
    take!(at, message => PreviousPrioritiesConfig { supported: update_frequency; });
    let frequency = u32::try_from(update_frequency).ok().filter(|it| *it > 0);
    if frequency.is_none() {
        at.field("update_frequency")
            .error(format!("{update_frequency}: must be above 0"));
    }
    frequency
}
