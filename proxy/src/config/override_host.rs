//! `envoy.load_balancing_policies.override_host`

use super::original_dst::MetadataKey;

/// `OverrideHost.OverrideHostSource`: what names hosts, by their addresses, separated by commas.
#[derive(Debug)]
pub enum OverrideHostSource {
    /// The first line of the header of this name, lower case.
    Header(String),
    /// The request's dynamic metadata.
    Metadata(MetadataKey),
}
