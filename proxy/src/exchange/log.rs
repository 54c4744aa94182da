//! What a request leaves behind: counters and a line of the access log.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use http::HeaderMap;

use super::Exchange;
use crate::{
    access_log::{self, Facts},
    cluster::micros,
    config::{access_log::LogType, format::TimePoint},
    http::h2::head::value,
    reason::Reason,
};

/// The head of a response as it was sent.
pub(super) enum SentHead<'s> {
    /// As HTTP/1 has it.
    Bytes(&'s [u8]),
    /// Its headers; none if nobody asks for them.
    Headers(Option<&'s HeaderMap>),
}

// === impl SentHead ===

impl SentHead<'_> {
    fn header(&self, name: &str) -> Option<String> {
        match self {
            Self::Bytes(head) => find_header(head, name),
            Self::Headers(headers) => value(headers.as_ref()?, name).map(Cow::into_owned),
        }
    }

    /// Names and values, bytes. The status is one of the fields, as in Envoy.
    fn bytes(&self) -> u64 {
        let fields = match self {
            Self::Bytes(head) => {
                let lines = head.split(|byte| *byte == b'\n').skip(1);
                let field = |line: &[u8]| {
                    let line = line.trim_ascii();
                    line.len().saturating_sub(": ".len())
                };
                lines.map(field).sum()
            }
            Self::Headers(headers) => headers.map_or(0, |headers| {
                let fields = headers.iter();
                fields
                    .map(|(name, value)| name.as_str().len() + value.len())
                    .sum::<usize>()
            }),
        };
        (fields + ":status200".len()) as u64
    }
}

/// A header of a head as it was written.
fn find_header(head: &[u8], name: &str) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head
        .split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'));
    let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim().to_owned())
}

// === impl Exchange ===

impl Exchange<'_> {
    /// Counts the response and writes the access log.
    pub(super) fn finish(&mut self, status: u16, head: &SentHead<'_>, route_name: &str) {
        self.is_over = true;
        if let Some(observed) = &mut self.observed {
            observed.mark(TimePoint::DownstreamTxEnd);
            observed.response_headers_bytes = head.bytes();
        }
        let stats = &self.manager.stats;
        stats.downstream_rq.inc(status);
        stats.downstream_rq_completed.inc();
        stats
            .downstream_rq_time
            .record_us(micros(self.began.elapsed()));
        self.info.response_code = status;
        self.count();
        self.log(LogType::DownstreamEnd, Some(head), route_name);
    }

    /// The client went away before there was a response.
    pub(super) fn gone(&mut self, route_name: &str) -> super::Next {
        self.is_over = true;
        self.manager.stats.downstream_rq_rx_reset.inc();
        self.info.reason = Some(Reason::ClientClosed);
        self.count();
        self.log(LogType::DownstreamEnd, None, route_name);
        super::Next::Close
    }

    /// Counts it for the metrics of the mesh, and as a flow.
    fn count(&self) {
        if let Some(reporter) = &self.manager.context.mesh_metrics {
            let duration_us = micros(self.began.elapsed());
            let is_grpc = self.request.is_grpc();
            reporter.request(self.connection, &self.info, is_grpc, duration_us);
        }
        if let Some(flows) = &self.manager.context.flows
            && let Some(head) = self.request.head()
            && !head.method().is_empty()
        {
            let is_grpc = self.request.is_grpc();
            let asked = (head.method(), head.path_only());
            flows.request(self.connection, &self.info, is_grpc, asked);
        }
    }

    /// Writes the access log. `head` is that of the response, if there was one.
    pub(super) fn log(&self, log_type: LogType, head: Option<&SentHead<'_>>, route_name: &str) {
        let logs = &self.manager.config.access_logs;
        if logs.is_empty() {
            return;
        }
        let duration_us = micros(self.began.elapsed());
        let response = |name: &str| head?.header(name);
        let facts = Facts {
            response: Some(&response),
            duration_us,
            start: SystemTime::now() - Duration::from_micros(duration_us),
            bytes_received: self.info.bytes_received,
            bytes_sent: self.info.bytes_sent,
            log_type,
            ..self.facts(route_name)
        };
        let context = &self.manager.context;
        access_log::write(
            &context.access_logs,
            logs,
            &facts,
            &context.routes.runtime(),
        );
    }

    /// What formats may ask for.
    pub(super) fn facts<'a>(&'a self, route_name: &'a str) -> Facts<'a> {
        let peer = self.connection.remote.ip();
        // Of what is no request nothing is known.
        let request = self.request.head();
        let request = request.filter(|request| !request.method().is_empty());
        Facts {
            request,
            client: request.and_then(|request| self.manager.client(request, peer)),
            start: self.connection.start_time(),
            route_name,
            observed: self.observed.as_deref(),
            ..Facts::of_connection(self.connection, &self.info)
        }
    }
}
