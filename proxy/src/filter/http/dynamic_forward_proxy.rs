//! `envoy.filters.http.dynamic_forward_proxy`: has the name that a request asks for looked up before it
//! is sent to a cluster whose hosts are such names, and answers where it is not found.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/dynamic_forward_proxy_filter>

use std::{rc::Rc, sync::Arc};

use super::{
    Decoding, Step,
    waiting::{Awaited, Waiting},
};
use crate::{
    cluster::Clusters,
    config::{
        dns_cache::DnsCacheConfig,
        http_filter::{HostRewrite, RouteSpecificFilterConfig},
    },
    dns_cache::{Answer, Asker, DnsCache, Key, Load},
    http::{
        authority::Authority,
        head::{Fields, RequestHead},
        local_reply::{FilterReply, LocalReply},
    },
    reason::Reason,
    stats::Registry,
};

/// What the filter looks names up with.
pub(super) struct Names {
    cache: Arc<DnsCache>,
    clusters: Rc<Clusters>,
}

/// The filter in one request.
pub(super) struct DynamicForwardProxyFilter<'c> {
    names: &'c Names,
    /// Where the answer is once there is one, while it waits.
    awaited: Option<Awaited<Answer>>,
}

// === impl Names ===

impl Names {
    pub(super) fn new(
        config: &Arc<DnsCacheConfig>,
        clusters: &Rc<Clusters>,
        registry: &Registry,
    ) -> Self {
        Self {
            cache: clusters.dns_caches.get(config, registry),
            clusters: Rc::clone(clusters),
        }
    }
}

// === impl DynamicForwardProxyFilter ===

impl<'c> DynamicForwardProxyFilter<'c> {
    pub(super) fn new(names: &'c Names) -> Self {
        Self {
            names,
            awaited: None,
        }
    }

    /// Called again when an answer has come.
    pub(super) fn on_request_headers(&mut self, name: &str, d: &mut Decoding<'_, 'c>) -> Step {
        if let Some(awaited) = self.awaited.take() {
            let answer = awaited.take();
            return after(answer.unwrap_or_else(|| Answer::Failed("forgotten".into())));
        }
        let Some(default_port) = self.default_port(d) else {
            return Step::Continue;
        };
        self.rewrite(name, d);
        let key = {
            let request = d.request();
            let authority = Authority::parse(request.authority().as_bytes());
            authority
                .ok()
                .and_then(|Authority { host, port }| Key::of_authority(host, port, default_port))
        };
        let Some(key) = key else {
            return after(Answer::Failed("not_a_name".into()));
        };
        match self.names.cache.load(&key, Asker::Filter) {
            Load::Known(answer) => after(answer),
            Load::Loading(loading) => {
                let (waiting, awaited) = Waiting::new(loading.answer());
                self.awaited = Some(awaited);
                Step::Wait(waiting)
            }
            Load::HostOverflow => refuse(Reason::DnsCacheOverflow, None),
            Load::PendingOverflow => refuse(Reason::DnsPendingOverflow, None),
        }
    }

    /// The port of names without one; none for a request that goes to no such cluster.
    fn default_port(&self, d: &mut Decoding<'_, 'c>) -> Option<u16> {
        let route = d.route()?;
        let cluster = route.cluster(&d.request())?;
        self.names.clusters.forwards_by_name(&cluster)
    }

    /// From here on the request asks for the name that its route says.
    fn rewrite(&self, name: &str, d: &mut Decoding<'_, 'c>) {
        let of_route = d.route().and_then(|route| {
            let mut configs = route.filter_configs(name);
            configs.find_map(|config| match config {
                RouteSpecificFilterConfig::DynamicForwardProxy(rewrite) => Some(rewrite.as_ref()),
                _ => None,
            })
        });
        match of_route.flatten() {
            None => {}
            Some(HostRewrite::Literal(host)) => d.edits.set_authority(host.as_str()),
            Some(HostRewrite::Header(name)) => {
                let host = d.request().first(name).map(std::borrow::Cow::into_owned);
                if let Some(host) = host {
                    d.edits.set_authority(host);
                }
            }
        }
    }
}

/// What becomes of a request once an answer is there.
fn after(answer: Answer) -> Step {
    match answer {
        Answer::Addresses(_) => Step::Continue,
        Answer::Failed(why) => refuse(Reason::DnsResolutionFailed, Some(&why)),
    }
}

fn refuse(reason: Reason, why: Option<&str>) -> Step {
    let mut reply = LocalReply::from(reason);
    reply.of_filter = why.map(|why| {
        Box::new(FilterReply {
            details: Some(format!("{}{{{why}}}", reason.code())),
            ..FilterReply::default()
        })
    });
    Step::Reply(Box::new(reply))
}
