//! How a cluster picks an endpoint.
//!
//! As in Envoy, `load_balancing_policy` takes the place of `lb_policy` and what goes with it, and its
//! first policy that is known counts.

use weir_api::xds::{
    codec,
    envoy::{
        config::cluster::v3::{self as pb, cluster as pb_cluster},
        extensions::load_balancing_policies::{
            cluster_provided::v3::ClusterProvided, common::v3 as common_v3,
            least_request::v3 as pb_least_request, maglev::v3 as pb_maglev, random::v3::Random,
            ring_hash::v3 as pb_ring_hash, round_robin::v3::RoundRobin,
        },
    },
    google::protobuf::{Any, UInt64Value},
};

use super::{
    at::{At, take},
    common_lb::{Common, consistent_hashing, runtime_double, slow_start},
    override_host,
    subset::{of_cluster, of_policy},
    value::{enumeration, number, type_name, unpack},
};
use crate::config::{
    cluster::{ClusterDiscovery, HashFunction, HostChanges, Panic, RingHash},
    dns::DnsEndpoints,
    load_balancing::{LbPolicy, LeastRequest, LoadBalancing, LocalityLb, Maglev},
};

/// Where policies within policies end.
const MAX_DEPTH: u8 = 4;
/// Envoy's policies, also those that are not supported.
const POLICIES: &str = "envoy.extensions.load_balancing_policies.";

/// What a cluster says of load balancing.
pub(super) struct Said {
    pub(super) lb_policy: i32,
    pub(super) lb_config: Option<pb_cluster::LbConfig>,
    pub(super) common: Option<pb_cluster::CommonLbConfig>,
    pub(super) subsets: Option<pb_cluster::LbSubsetConfig>,
    pub(super) policy: Option<pb::LoadBalancingPolicy>,
}

/// What that comes to.
pub(super) struct Balancing {
    pub(super) policy: LbPolicy,
    pub(super) panic: Panic,
    pub(super) host_changes: HostChanges,
    pub(super) rest: LoadBalancing,
}

/// `at` is the cluster.
pub(super) fn balancing(
    at: &At<'_>,
    said: Said,
    discovery: Option<&ClusterDiscovery>,
) -> Option<Balancing> {
    let common = Common::new(&at.field("common_lb_config"), said.common);
    let by_name = pb_cluster::LbPolicy::LoadBalancingPolicyConfig;
    let mut balancing = Balancing {
        policy: LbPolicy::RoundRobin,
        panic: common.panic,
        host_changes: common.host_changes,
        rest: LoadBalancing {
            override_host_statuses: common.override_host_statuses.clone(),
            ..LoadBalancing::default()
        },
    };
    if said.policy.is_some() || said.lb_policy == i32::from(by_name) {
        common.refuse_partial_fields(&at.field("common_lb_config"));
        if said.subsets.is_some() {
            at.field("lb_subset_config")
                .error("cannot be set together with load_balancing_policy");
        }
        let at = at.field("load_balancing_policy");
        chosen(&at, at.required(said.policy)?, &mut balancing, 0)?;
    } else {
        if let Some(locality) = common.locality {
            balancing.rest.locality = locality;
        }
        if common.consistent_hashing.by_hostname && !has_names(discovery) {
            at.field("common_lb_config")
                .field("consistent_hashing_lb_config")
                .field("use_hostname_for_hashing")
                .error("true: only a cluster of type STRICT_DNS may have it");
        }
        balancing.rest.consistent_hashing = common.consistent_hashing;
        older(at, said.lb_policy, said.lb_config, &mut balancing)?;
        balancing.rest.subsets = of_cluster(at, said.subsets, &balancing);
    }
    check(at, &balancing, discovery);
    Some(balancing)
}

/// Whether endpoints are looked up by their names (`STRICT_DNS`).
fn has_names(discovery: Option<&ClusterDiscovery>) -> bool {
    match discovery {
        Some(ClusterDiscovery::Dns(dns)) => dns.endpoints == DnsEndpoints::Each,
        _ => false,
    }
}

/// What does not go together.
fn check(at: &At<'_>, balancing: &Balancing, discovery: Option<&ClusterDiscovery>) {
    let is_provided = balancing.policy == LbPolicy::ClusterProvided;
    let provides = matches!(
        discovery,
        Some(
            ClusterDiscovery::OriginalDst
                | ClusterDiscovery::Aggregate(_)
                | ClusterDiscovery::ForwardProxy(_)
        )
    );
    if discovery.is_some() && provides != is_provided {
        at.field("lb_policy").error(
            "a cluster of type ORIGINAL_DST, an aggregate or a dynamic forward proxy, and no other, \
             needs CLUSTER_PROVIDED",
        );
    }
    if is_provided && balancing.rest.subsets.is_some() {
        at.field("lb_subset_config")
            .error("cannot be set together with CLUSTER_PROVIDED");
    }
    if balancing.panic.fails_traffic && balancing.policy.goes_by_hash() {
        at.field("common_lb_config")
            .field("zone_aware_lb_config")
            .field("fail_traffic_on_panic")
            .unsupported("true with a policy that goes by a hash, where Envoy does not heed it");
    }
}

/// `lb_policy` and the settings of that policy. Those of another one are refused: nothing would come of
/// them.
fn older(
    at: &At<'_>,
    policy: i32,
    config: Option<pb_cluster::LbConfig>,
    into: &mut Balancing,
) -> Option<()> {
    use pb_cluster::{LbConfig, LbPolicy as Pb};

    let policy: Pb = enumeration(&at.field("lb_policy"), policy)?;
    let (name, fits) = match &config {
        None => ("", true),
        Some(LbConfig::RingHashLbConfig(_)) => ("ring_hash_lb_config", policy == Pb::RingHash),
        Some(LbConfig::MaglevLbConfig(_)) => ("maglev_lb_config", policy == Pb::Maglev),
        Some(LbConfig::OriginalDstLbConfig(_)) => ("original_dst_lb_config", false),
        Some(LbConfig::LeastRequestLbConfig(_)) => {
            ("least_request_lb_config", policy == Pb::LeastRequest)
        }
        Some(LbConfig::RoundRobinLbConfig(_)) => {
            ("round_robin_lb_config", policy == Pb::RoundRobin)
        }
    };
    let at_config = at.field(name);
    if !fits {
        at_config.unsupported(format!("with lb_policy {}", policy.as_str_name()));
    }
    into.policy = match policy {
        Pb::RoundRobin => LbPolicy::RoundRobin,
        Pb::LeastRequest => LbPolicy::LeastRequest(LeastRequest::default()),
        Pb::Random => LbPolicy::Random,
        Pb::ClusterProvided => LbPolicy::ClusterProvided,
        Pb::RingHash => LbPolicy::RingHash(RingHash::default()),
        Pb::Maglev => LbPolicy::Maglev(Maglev::default()),
        Pb::LoadBalancingPolicyConfig => return None,
    };
    match config.filter(|_| fits) {
        Some(LbConfig::RingHashLbConfig(message)) => older_ring_hash(&at_config, message, into),
        Some(LbConfig::MaglevLbConfig(message)) => {
            let at = &at_config;
            take!(at, message => pb_cluster::MaglevLbConfig { supported: table_size; });
            into.policy = LbPolicy::Maglev(maglev_of(&at.field("table_size"), table_size));
        }
        Some(LbConfig::LeastRequestLbConfig(message)) => {
            let at = &at_config;
            take!(at, message => pb_cluster::LeastRequestLbConfig {
                supported: choice_count, active_request_bias, slow_start_config;
            });
            let message = pb_least_request::LeastRequest {
                choice_count,
                active_request_bias,
                slow_start_config: slow_start_config.map(current),
                ..Default::default()
            };
            least_request_of(at, message, into);
        }
        Some(LbConfig::RoundRobinLbConfig(message)) => {
            let at = &at_config;
            take!(at, message => pb_cluster::RoundRobinLbConfig { supported: slow_start_config; });
            let message = slow_start_config.map(current);
            slow_start(&at.field("slow_start_config"), message, &mut into.rest);
        }
        Some(LbConfig::OriginalDstLbConfig(_)) | None => {}
    }
    Some(())
}

/// The message as it is called now, which has the same fields.
fn current(message: pb_cluster::SlowStartConfig) -> common_v3::SlowStartConfig {
    let pb_cluster::SlowStartConfig {
        slow_start_window,
        aggression,
        min_weight_percent,
    } = message;
    common_v3::SlowStartConfig {
        slow_start_window,
        aggression,
        min_weight_percent,
    }
}

fn older_ring_hash(at: &At<'_>, message: pb_cluster::RingHashLbConfig, into: &mut Balancing) {
    use pb_cluster::ring_hash_lb_config::HashFunction as Pb;

    take!(at, message => pb_cluster::RingHashLbConfig {
        supported: minimum_ring_size, hash_function, maximum_ring_size;
    });
    let function = match enumeration(&at.field("hash_function"), hash_function) {
        Some(Pb::MurmurHash2) => HashFunction::MurmurHash2,
        Some(Pb::XxHash) | None => HashFunction::XxHash,
    };
    into.policy = LbPolicy::RingHash(ring(at, (minimum_ring_size, maximum_ring_size), function));
}

fn ring(
    at: &At<'_>,
    (minimum, maximum): (Option<UInt64Value>, Option<UInt64Value>),
    function: HashFunction,
) -> RingHash {
    let default = RingHash::default();
    let most = RingHash::MAXIMUM;
    let ring = RingHash {
        minimum_size: size(
            &at.field("minimum_ring_size"),
            minimum,
            most,
            default.minimum_size,
        ),
        maximum_size: size(
            &at.field("maximum_ring_size"),
            maximum,
            most,
            default.maximum_size,
        ),
        function,
    };
    if ring.minimum_size > ring.maximum_size {
        at.field("minimum_ring_size")
            .error("must not be above maximum_ring_size");
    }
    ring
}

fn size(at: &At<'_>, value: Option<UInt64Value>, most: u32, default: u32) -> u32 {
    let Some(UInt64Value { value }) = value else {
        return default;
    };
    let size = u32::try_from(value).ok();
    let size = size.filter(|size| (1..=most).contains(size));
    if size.is_none() {
        at.error(format!("{value}: must be from 1 to {most}"));
    }
    size.unwrap_or(default)
}

fn maglev_of(at: &At<'_>, table_size: Option<UInt64Value>) -> Maglev {
    let default = Maglev::default().table_size;
    let table_size = size(at, table_size, Maglev::MAXIMUM, default);
    if !is_prime(table_size) {
        at.error(format!("{table_size}: must be a prime number"));
    }
    Maglev { table_size }
}

fn is_prime(number: u32) -> bool {
    let mut divisors = (2..).take_while(|divisor| divisor * divisor <= number);
    number >= 2 && divisors.all(|divisor| !number.is_multiple_of(divisor))
}

/// The first policy that is known.
pub(super) fn chosen(
    at: &At<'_>,
    message: pb::LoadBalancingPolicy,
    into: &mut Balancing,
    depth: u8,
) -> Option<()> {
    take!(at, message => pb::LoadBalancingPolicy { supported: policies; });
    let at = at.field("policies");
    for (index, message) in policies.into_iter().enumerate() {
        let at = at.index(index);
        take!(at, message => pb::load_balancing_policy::Policy {
            supported: typed_extension_config;
        });
        let at = at.field("typed_extension_config");
        let config = at.required(typed_extension_config)?;
        let at = at.field("typed_config");
        let any = at.required(config.typed_config)?;
        if type_name(&any).starts_with(POLICIES) {
            return policy(&at, &any, into, depth);
        }
    }
    at.error("none of them is known");
    None
}

fn policy(at: &At<'_>, any: &Any, into: &mut Balancing, depth: u8) -> Option<()> {
    if depth > MAX_DEPTH {
        at.unsupported("policies within so many policies");
        return None;
    }
    match type_name(any).strip_prefix(POLICIES)? {
        "round_robin.v3.RoundRobin" => {
            let message = unpack(at, any, codec::unpack_round_robin)?;
            take!(at, message => RoundRobin {
                supported: slow_start_config, locality_lb_config;
            });
            into.policy = LbPolicy::RoundRobin;
            slow_start(
                &at.field("slow_start_config"),
                slow_start_config,
                &mut into.rest,
            );
            into.locality(at, locality_lb_config);
        }
        "least_request.v3.LeastRequest" => {
            let message = unpack(at, any, codec::unpack_least_request)?;
            least_request_of(at, message, into);
        }
        "random.v3.Random" => {
            let message = unpack(at, any, codec::unpack_random)?;
            take!(at, message => Random { supported: locality_lb_config; });
            into.policy = LbPolicy::Random;
            into.locality(at, locality_lb_config);
        }
        "ring_hash.v3.RingHash" => {
            let message = unpack(at, any, codec::unpack_ring_hash)?;
            ring_hash_of(at, message, into);
        }
        "maglev.v3.Maglev" => {
            let message = unpack(at, any, codec::unpack_maglev)?;
            take!(at, message => pb_maglev::Maglev {
                supported: table_size, consistent_hashing_lb_config, locality_weighted_lb_config;
            });
            into.policy = LbPolicy::Maglev(maglev_of(&at.field("table_size"), table_size));
            let at = at.field("consistent_hashing_lb_config");
            into.rest.consistent_hashing = consistent_hashing(&at, consistent_hashing_lb_config);
            into.weight_localities(locality_weighted_lb_config.is_some());
        }
        "cluster_provided.v3.ClusterProvided" => {
            let message = unpack(at, any, codec::unpack_cluster_provided)?;
            let ClusterProvided {} = message;
            into.policy = LbPolicy::ClusterProvided;
        }
        // Envoy takes it with that one only.
        "wrr_locality.v3.WrrLocality" => {
            at.unsupported(
                "WrrLocality, which needs ClientSideWeightedRoundRobin and its reports of load",
            );
            return None;
        }
        "override_host.v3.OverrideHost" => {
            let message = unpack(at, any, codec::unpack_override_host)?;
            override_host::of_policy(at, message, into, depth)?;
        }
        "subset.v3.Subset" => {
            let message = unpack(at, any, codec::unpack_subset)?;
            of_policy(at, message, into, depth)?;
        }
        other => {
            at.unsupported(other);
            return None;
        }
    }
    Some(())
}

fn least_request_of(at: &At<'_>, message: pb_least_request::LeastRequest, into: &mut Balancing) {
    use pb_least_request::least_request::SelectionMethod;

    take!(at, message => pb_least_request::LeastRequest {
        supported: choice_count, active_request_bias, slow_start_config, locality_lb_config,
            selection_method;
        refused: enable_full_scan;
    });
    let mut settings = LeastRequest::default();
    let at_count = at.field("choice_count");
    settings.choice_count = number(&at_count, choice_count, 2..=u32::MAX).or(settings.choice_count);
    let method = enumeration(&at.field("selection_method"), selection_method);
    if method == Some(SelectionMethod::FullScan) {
        settings.choice_count = None;
    }
    if let Some(message) = active_request_bias {
        let at = at.field("active_request_bias");
        let (bias, key) = runtime_double(&at, message);
        if bias < 0.0 {
            at.field("default_value")
                .error(format!("{bias}: must be at least 0"));
        }
        settings.active_request_bias = bias;
        into.rest.active_request_bias_key = key;
    }
    into.policy = LbPolicy::LeastRequest(settings);
    slow_start(
        &at.field("slow_start_config"),
        slow_start_config,
        &mut into.rest,
    );
    into.locality(at, locality_lb_config);
}

fn ring_hash_of(at: &At<'_>, message: pb_ring_hash::RingHash, into: &mut Balancing) {
    use pb_ring_hash::ring_hash::HashFunction as Pb;

    take!(at, message => pb_ring_hash::RingHash {
        supported: hash_function, minimum_ring_size, maximum_ring_size,
            use_hostname_for_hashing, hash_balance_factor, consistent_hashing_lb_config,
            locality_weighted_lb_config;
    });
    let function = match enumeration(&at.field("hash_function"), hash_function) {
        Some(Pb::MurmurHash2) => HashFunction::MurmurHash2,
        Some(Pb::DefaultHash | Pb::XxHash) | None => HashFunction::XxHash,
    };
    into.policy = LbPolicy::RingHash(ring(at, (minimum_ring_size, maximum_ring_size), function));
    let older_factor = number(
        &at.field("hash_balance_factor"),
        hash_balance_factor,
        100..=u32::MAX,
    );
    let is_older = consistent_hashing_lb_config.is_none();
    let at = at.field("consistent_hashing_lb_config");
    let mut hashing = consistent_hashing(&at, consistent_hashing_lb_config);
    if is_older {
        hashing.by_hostname = use_hostname_for_hashing;
        hashing.balance_factor = older_factor;
    }
    into.rest.consistent_hashing = hashing;
    into.weight_localities(locality_weighted_lb_config.is_some());
}

// === impl Balancing ===

impl Balancing {
    fn locality(&mut self, at: &At<'_>, message: Option<common_v3::LocalityLbConfig>) {
        let at = at.field("locality_lb_config");
        if let Some(message) = message {
            super::common_lb::locality(&at, message, &mut self.rest.locality, &mut self.panic);
        }
    }

    fn weight_localities(&mut self, weighted: bool) {
        if weighted {
            self.rest.locality = LocalityLb::Weighted;
        }
    }
}
