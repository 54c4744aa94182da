//! Clusters whose endpoints are names.

use std::{sync::Arc, time::Duration};

use weir_api::xds::{
    codec,
    envoy::{
        config::{cluster::v3::cluster as pb_cluster, endpoint::v3::ClusterLoadAssignment},
        extensions::clusters::{
            common::dns::v3::DnsLookupFamily as PbFamily,
            dns::v3::{self as pb, dns_cluster},
        },
    },
    google::protobuf::{self, Any},
};

use super::{
    at::{At, take},
    dns_resolver,
    endpoint::named_assignment,
    value::{duration, enumeration, unpack},
};
use crate::config::dns::{
    DnsBackoff, DnsCluster, DnsEndpoints, DnsLookupFamily, DnsRefresh, DnsResolver,
};

/// Shorter intervals are refused, as by Envoy, whose bound is exclusive.
const SHORTEST: Duration = Duration::from_millis(1);

/// What a Cluster says of names, whatever its type.
pub(super) struct Fields {
    pub(super) refresh_rate: Option<protobuf::Duration>,
    pub(super) jitter: Option<protobuf::Duration>,
    pub(super) failure_refresh_rate: Option<pb_cluster::RefreshRate>,
    pub(super) respect_ttl: bool,
    pub(super) lookup_family: i32,
    pub(super) resolver: dns_resolver::OfCluster,
}

/// A cluster of type STRICT_DNS or LOGICAL_DNS.
pub(super) fn of_type(
    at: &At<'_>,
    endpoints: DnsEndpoints,
    fields: Fields,
    assignment: Option<ClusterLoadAssignment>,
) -> Option<DnsCluster> {
    let family = enumeration(&at.field("dns_lookup_family"), fields.lookup_family);
    let refresh = DnsRefresh {
        rate: interval(&at.field("dns_refresh_rate"), fields.refresh_rate)
            .unwrap_or(DnsRefresh::default().rate),
        failure: failure_rate(
            &at.field("dns_failure_refresh_rate"),
            fields.failure_refresh_rate,
        ),
        jitter: duration(&at.field("dns_jitter"), fields.jitter).unwrap_or_default(),
        respects_ttl: fields.respect_ttl,
        minimum: Duration::ZERO,
    };
    let resolver = dns_resolver::of_cluster(at, fields.resolver);
    Some(with_targets(
        at,
        (endpoints, family.map(of_cluster)?),
        (refresh, resolver),
        assignment,
    ))
}

/// A cluster of `cluster_type` DnsCluster.
pub(super) fn of_cluster_type(
    at: &At<'_>,
    any: &Any,
    fields: &Fields,
    assignment: Option<ClusterLoadAssignment>,
) -> Option<DnsCluster> {
    fields.refuse(at);
    at.field("dns_lookup_family").refuse(&fields.lookup_family);
    let at_type = at.field("cluster_type");
    let at_config = at_type.field("typed_config");
    let message = unpack(&at_config, any, codec::unpack_dns_cluster)?;
    take!(at_config, message => pb::DnsCluster {
        supported: dns_refresh_rate, dns_failure_refresh_rate, respect_dns_ttl, dns_jitter,
            typed_dns_resolver_config, dns_lookup_family, all_addresses_in_single_endpoint,
            dns_min_refresh_rate;
    });
    let family = enumeration(&at_config.field("dns_lookup_family"), dns_lookup_family);
    let failure = dns_failure_refresh_rate.map(|message| {
        let dns_cluster::RefreshRate {
            base_interval,
            max_interval,
        } = message;
        pb_cluster::RefreshRate {
            base_interval,
            max_interval,
        }
    });
    let at_minimum = at_config.field("dns_min_refresh_rate");
    let minimum = duration(&at_minimum, dns_min_refresh_rate);
    if minimum.is_some_and(|minimum| minimum < Duration::from_secs(1)) {
        at_minimum.error("must be 1s or more");
    }
    let refresh = DnsRefresh {
        rate: interval(&at_config.field("dns_refresh_rate"), dns_refresh_rate)
            .unwrap_or(DnsRefresh::default().rate),
        failure: failure_rate(&at_config.field("dns_failure_refresh_rate"), failure),
        jitter: duration(&at_config.field("dns_jitter"), dns_jitter).unwrap_or_default(),
        respects_ttl: respect_dns_ttl,
        minimum: minimum.unwrap_or_default(),
    };
    let endpoints = match all_addresses_in_single_endpoint {
        true => DnsEndpoints::Single,
        false => DnsEndpoints::Each,
    };
    let resolver = dns_resolver::typed(
        &at_config.field("typed_dns_resolver_config"),
        typed_dns_resolver_config,
    );
    Some(with_targets(
        at,
        (endpoints, family.map(of_dns_cluster)?),
        (refresh, resolver.map(Arc::new)),
        assignment,
    ))
}

fn with_targets(
    at: &At<'_>,
    (endpoints, family): (DnsEndpoints, DnsLookupFamily),
    (refresh, resolver): (DnsRefresh, Option<Arc<DnsResolver>>),
    assignment: Option<ClusterLoadAssignment>,
) -> DnsCluster {
    let at = at.field("load_assignment");
    let (localities, targets) = assignment
        .map(|message| named_assignment(&at, message))
        .unwrap_or_default();
    if endpoints == DnsEndpoints::Single && targets.len() != 1 {
        at.field("endpoints").error(format!(
            "{} endpoints: where all addresses are one endpoint, there must be one",
            targets.len()
        ));
    }
    DnsCluster {
        localities,
        targets,
        endpoints,
        family,
        refresh,
        resolver,
    }
}

pub(super) fn interval(at: &At<'_>, value: Option<protobuf::Duration>) -> Option<Duration> {
    let value = duration(at, value)?;
    if value <= SHORTEST {
        at.error("must be more than 0.001s");
    }
    Some(value)
}

pub(super) fn failure_rate(
    at: &At<'_>,
    message: Option<pb_cluster::RefreshRate>,
) -> Option<DnsBackoff> {
    let message = message?;
    take!(at, message => pb_cluster::RefreshRate { supported: base_interval, max_interval; });
    let (at_base, at_maximum) = (at.field("base_interval"), at.field("max_interval"));
    let base = interval(&at_base, at_base.required(base_interval))?;
    let maximum = interval(&at_maximum, max_interval).unwrap_or(base.saturating_mul(10));
    if maximum < base {
        at_maximum.error("must not be below base_interval");
    }
    Some(DnsBackoff { base, maximum })
}

pub(super) fn of_cluster(family: pb_cluster::DnsLookupFamily) -> DnsLookupFamily {
    use pb_cluster::DnsLookupFamily as Pb;

    match family {
        Pb::Auto => DnsLookupFamily::Auto,
        Pb::V4Only => DnsLookupFamily::V4Only,
        Pb::V6Only => DnsLookupFamily::V6Only,
        Pb::V4Preferred => DnsLookupFamily::V4Preferred,
        Pb::All => DnsLookupFamily::All,
    }
}

fn of_dns_cluster(family: PbFamily) -> DnsLookupFamily {
    match family {
        PbFamily::Unspecified | PbFamily::Auto => DnsLookupFamily::Auto,
        PbFamily::V4Only => DnsLookupFamily::V4Only,
        PbFamily::V6Only => DnsLookupFamily::V6Only,
        PbFamily::V4Preferred => DnsLookupFamily::V4Preferred,
        PbFamily::All => DnsLookupFamily::All,
    }
}

// === impl Fields ===

impl Fields {
    /// Refuses what is said of names where there are none. A family is left alone: control planes
    /// say one of each cluster, and it changes nothing.
    pub(super) fn refuse(&self, at: &At<'_>) {
        at.field("dns_refresh_rate").refuse(&self.refresh_rate);
        at.field("dns_jitter").refuse(&self.jitter);
        at.field("dns_failure_refresh_rate")
            .refuse(&self.failure_refresh_rate);
        at.field("respect_dns_ttl").refuse(&self.respect_ttl);
        self.resolver.refuse(at);
    }
}
