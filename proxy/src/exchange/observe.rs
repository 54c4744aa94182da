//! Notes what only access logs ask of a request. Without access logs nothing is noted.

use super::{
    Exchange, head_bytes, passage::Passage, request::RequestMessage, send::Sending,
    upstream::UpstreamPort,
};
use crate::{
    cluster::Host,
    config::{access_log::LogType, format::TimePoint},
    http::{codec::h1::head::FieldKind, route::Matched},
};

impl Exchange<'_> {
    /// The request's head is as it is routed.
    pub(super) fn observe_request(&mut self) {
        let is_read = self.request.has_no_body();
        let scheme = match self.connection.tls {
            Some(_) => "https",
            None => "http",
        };
        let is_observed = self.observed.is_some();
        let bytes = is_observed.then(|| self.request.headers_bytes(scheme));
        if let (Some(observed), Some(bytes)) = (&mut self.observed, bytes) {
            observed.request_headers_bytes = bytes;
            if is_read {
                observed.mark(TimePoint::DownstreamRxEnd);
            }
        }
        if self.manager.config.access_log_options.flush_on_new_request {
            self.log(LogType::DownstreamStart, None, "");
        }
    }

    /// An attempt at `host` begins.
    pub(super) fn observe_attempt(&mut self, host: &Host) {
        if let Some(observed) = &mut self.observed {
            observed.begin_attempt(&host.hostname);
        }
    }

    /// The attempt has a connection.
    pub(super) fn observe_sending(&mut self, sending: &mut Sending<'_>) {
        let Some(observed) = &mut self.observed else {
            return;
        };
        let (protocol, local) = match &mut sending.upstream {
            Some(UpstreamPort::Http1(stream)) => ("HTTP/1.1", stream.upstream.local_addr()),
            Some(UpstreamPort::Http2(_, lease)) => ("HTTP/2", lease.local_addr()),
            None => return,
        };
        if let Some(host) = self.info.upstream_host {
            observed.begin_sending(protocol, host, local);
        }
    }

    /// More of the request may have been read and sent.
    pub(super) fn observe_progress(&mut self, sending: &Sending<'_>) {
        let Some(observed) = &mut self.observed else {
            return;
        };
        if sending.transfer.has_read_all() {
            observed.mark(TimePoint::DownstreamRxEnd);
        }
        if sending.upstream.is_some() && sending.transfer.is_sent() {
            observed.mark(TimePoint::UpstreamTxEnd);
        }
    }

    pub(super) fn observe(&mut self, point: TimePoint) {
        if let Some(observed) = &mut self.observed {
            observed.mark(point);
        }
    }

    /// What becomes of the request is settled: what filters and the route have said is kept.
    pub(super) fn observe_end(
        &mut self,
        matched: Option<&Matched<'_>>,
        passage: Option<&Passage<'_>>,
    ) {
        let Some(observed) = &mut self.observed else {
            return;
        };
        if let Some(passage) = passage {
            observed.metadata = passage.metadata().clone();
        }
        if let Some(matched) = matched {
            observed.route_metadata = matched.route.metadata.clone();
        }
    }
}

impl RequestMessage<'_> {
    /// Names and values of the head, bytes, with what is added to each before it is routed.
    fn headers_bytes(&self, scheme: &str) -> u64 {
        let Some(head) = self.head() else {
            return 0;
        };
        let target = head_bytes::of_target(head.method(), head.path(), head.authority(), scheme);
        let added = match head.field("x-forwarded-proto") {
            Some(_) => 0,
            None => "x-forwarded-proto".len() + scheme.len(),
        };
        (target + self.fields_bytes() + added) as u64
    }

    fn fields_bytes(&self) -> usize {
        match self {
            Self::Http1(request) => request
                .fields
                .iter()
                .filter(|field| field.kind != FieldKind::Host)
                .map(|field| field.name.len() + field.value.len())
                .sum(),
            Self::Http2(request) => request.head.as_ref().map_or(0, |head| {
                let fields = head.headers.iter();
                fields
                    .map(|(name, value)| name.as_str().len() + value.len())
                    .sum()
            }),
        }
    }
}
