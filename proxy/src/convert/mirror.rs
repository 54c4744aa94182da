//! Copies of requests.

use weir_api::xds::envoy::config::route::v3::route_action as pb;

use super::{
    at::{At, take},
    percent::runtime_percent,
    route_action::Checked,
    value::non_empty,
};
use crate::config::route::MirrorPolicy;

pub(super) fn mirror_policies(
    at: &At<'_>,
    messages: Vec<pb::RequestMirrorPolicy>,
    checked: Checked,
) -> Vec<MirrorPolicy> {
    let messages = messages.into_iter().enumerate();
    messages
        .map(|(index, message)| mirror_policy(&at.index(index), message, checked))
        .collect()
}

fn mirror_policy(at: &At<'_>, message: pb::RequestMirrorPolicy, checked: Checked) -> MirrorPolicy {
    take!(at, message => pb::RequestMirrorPolicy {
        supported: cluster, runtime_fraction, disable_shadow_host_suffix_append;
        refused: cluster_header, trace_sampled, request_headers_mutations, host_rewrite_literal;
    });
    let at_cluster = at.field("cluster");
    let cluster = non_empty(&at_cluster, cluster);
    if checked == Checked::Yes {
        at_cluster.refers_to_cluster(&cluster);
    }
    MirrorPolicy {
        cluster,
        share: runtime_fraction
            .and_then(|share| runtime_percent(&at.field("runtime_fraction"), share)),
        keeps_host: disable_shadow_host_suffix_append,
    }
}
