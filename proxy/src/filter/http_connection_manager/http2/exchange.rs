//! One request sent on and answered, where either side speaks HTTP/2.

mod attempt;
mod respond;
mod retry;

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration, time::SystemTime};

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, request};
use tokio::time::{Instant, sleep};

use super::{
    super::{ConnectionManager, plan::ForwardPlan},
    bridge::{Bridge, Source, Wire},
};
use crate::{
    access_log::Facts, cluster::Host, config::route::RetryPolicy, http::head::RequestHead,
    http::timer::Timer, listener::ConnectionContext, reason::Reason,
};

/// One request on its way to an endpoint, and its response on the way back.
pub(in super::super) struct Exchange<'e, 'x> {
    pub(in super::super) manager: &'e ConnectionManager,
    pub(in super::super) plan: &'e ForwardPlan<'e>,
    pub(in super::super) context: &'e RefCell<&'x mut ConnectionContext>,
    pub(in super::super) client: Client<'e>,
    /// As it came; none once it has been sent and nobody will ask for it again.
    pub(in super::super) head: Option<request::Parts>,
    /// The request's body.
    pub(in super::super) source: Source,
    pub(in super::super) began: Instant,
    pub(in super::super) host: Option<SocketAddr>,
    sending: Option<Bridge>,
    timer: Timer,
    is_head: bool,
    /// When the whole request had been sent: the route's timeout runs from here, as Envoy's does.
    sent_at: Option<Instant>,
}

/// Who asked.
pub(in super::super) enum Client<'e> {
    Http2(SendResponse<Bytes>),
    Http1 {
        wire: Wire<'e>,
        minor_version: u8,
        /// What the client is told of the connection.
        keep: bool,
        /// 1xx heads that have not been written yet.
        informational: Vec<u8>,
    },
}

/// What became of a request.
pub(in super::super) enum Ended {
    /// Nothing has been sent to the client, which is to be told why.
    Refused(Reason),
    /// The client went away before there was a response.
    Gone,
    /// There was a response.
    Answered(Answer),
}

/// A response that was sent.
pub(in super::super) struct Answer {
    pub(in super::super) status: u16,
    /// Headers, if the access log may ask for them.
    pub(in super::super) headers: Option<HeaderMap>,
    /// Bytes of the head, as HTTP/1 has it.
    pub(in super::super) head_bytes: u64,
    pub(in super::super) body_bytes: u64,
    /// Why it was cut short.
    pub(in super::super) cut: Option<Reason>,
    /// The HTTP/1 client may send another request.
    pub(in super::super) keep: bool,
}

impl<'e, 'x> Exchange<'e, 'x> {
    pub(in super::super) fn new(
        manager: &'e ConnectionManager,
        plan: &'e ForwardPlan<'e>,
        context: &'e RefCell<&'x mut ConnectionContext>,
        client: Client<'e>,
        (head, source): (request::Parts, Source),
        began: Instant,
    ) -> Self {
        Self {
            manager,
            plan,
            context,
            client,
            is_head: head.method == http::Method::HEAD,
            head: Some(head),
            source,
            began,
            host: None,
            sending: None,
            timer: Timer::default(),
            sent_at: None,
        }
    }

    /// Sends the request on, again where the policy says so, and the response back.
    pub(in super::super) async fn run(&mut self) -> Ended {
        let cluster = &self.plan.cluster;
        let policy = self.plan.retry_policy();
        let (mut attempt, mut failed): (u32, Option<Rc<Host>>) = (1, None);
        loop {
            let destination = self.context.borrow().original_destination;
            let Some(host) = cluster.pick(destination, failed.as_ref()) else {
                return Ended::Refused(Reason::NoHealthyUpstream);
            };
            self.host = Some(host.address);
            let Some(_active) = cluster.begin_request(&host) else {
                return Ended::Refused(Reason::Overflow);
            };
            let failure = match self.attempt(&host, attempt).await {
                Ok(answered) => match self.again_after(&answered, attempt) {
                    false => {
                        if attempt > 1 {
                            cluster.stats.upstream_rq_retry_success.inc();
                        }
                        return self.respond(answered).await;
                    }
                    true => None,
                },
                Err(failure) => Some(failure),
            };
            if let Some(failure) = failure
                && !self.again(&failure, attempt)
            {
                return self.give_up(failure.reason, attempt);
            }
            cluster.stats.upstream_rq_retry.inc();
            if let Some(policy) = policy {
                sleep(self.back_off(policy, attempt)).await;
            }
            attempt += 1;
            failed = Some(host);
        }
    }

    /// Bytes of the request's body that were sent on.
    pub(in super::super) fn sent_bytes(&self) -> u64 {
        self.sending.as_ref().map_or(0, |sending| sending.moved)
    }

    fn give_up(&self, reason: Reason, attempt: u32) -> Ended {
        if reason == Reason::ClientClosed {
            return Ended::Gone;
        }
        let stats = &self.plan.cluster.stats;
        if attempt > 1 {
            stats.upstream_rq_retry_limit_exceeded.inc();
        }
        stats.upstream_rq.inc(reason.status());
        Ended::Refused(reason)
    }

    /// A random time up to the policy's bound, which doubles with each attempt.
    fn back_off(&self, policy: &RetryPolicy, attempt: u32) -> Duration {
        let bound = policy.base_interval * 2_u32.saturating_pow(attempt.min(16));
        let bound = bound.min(policy.max_interval).as_micros().max(1);
        Duration::from_micros(self.manager.random() % u64::try_from(bound).unwrap_or(u64::MAX))
    }

    /// What formats may ask for.
    fn facts<'a>(
        &self,
        context: &'a ConnectionContext,
        request: Option<&'a dyn RequestHead>,
    ) -> Facts<'a>
    where
        'e: 'a,
    {
        let peer = context.remote.ip();
        Facts {
            context,
            request,
            response: None,
            client: request.and_then(|request| self.manager.client(request, peer)),
            upstream_local: None,
            duration_us: 0,
            start: SystemTime::now(),
            bytes_received: 0,
            bytes_sent: 0,
            route_name: &self.plan.matched.route.name,
        }
    }
}
