//! The head of a response, as it is sent to the client.

use http::{Response, StatusCode, header, response};

use super::{
    super::{
        Downstream, Exchange,
        bridge::{Bridge, Encoder, Framed, Sink, Source},
        passage::Passage,
        plan::ForwardPlan,
        pump::Pump,
        request::RequestMessage,
        send::{Sending, Switch},
        transfer::Transfer,
        upstream::{ReceivedHead, UpstreamPort},
    },
    Responding,
};
use crate::{
    cluster::micros,
    config::format::TimePoint,
    http::{
        changes::ResponseChanges,
        codec::h1::{
            body::{Body, Framing},
            response::ReadResponse,
        },
        edits::{Edits, rendered},
        head::ResponseHead,
        message::{change_response, may_have_length, response_from_http1, write_http1_response},
        write::{ConnectionHeader, Http1Head, write_response},
    },
};

impl Exchange<'_> {
    /// Sends the head. None if the client is gone.
    pub(super) fn begin_response(&mut self, sending: &mut Sending<'_>) -> Option<Responding> {
        let status = self.status(sending);
        self.info.response_code = status;
        self.observe(TimePoint::DownstreamTxBegin);
        let switched = match sending.switch {
            None => false,
            Some(Switch::Upgrade) => status == 101,
            Some(Switch::Tunnel) => (200..300).contains(&status),
        };
        let is_read = sending.transfer.has_read_all();
        // What a client has sent that was refused a tunnel may have been meant for it.
        let keep = sending.switch != Some(Switch::Tunnel) && self.keeps_alive(is_read);
        let mut responding = Responding {
            transfer: Transfer::Framed(Bridge::default(), Source::Taken),
            status,
            headers: None,
            switched,
            until_close: false,
            keep,
        };
        let head = sending.answer.take_head()?;
        if let (Downstream::Http1(_), ReceivedHead::Http1(length)) = (&self.downstream, &head) {
            self.begin_http1_to_http1(sending, *length, &mut responding);
            show_trailers(sending, &mut responding);
            return Some(responding);
        }
        let (mut head, source) = match (head, sending.upstream.as_mut()?) {
            (ReceivedHead::Http2(head, body), _) => (head, Source::Http2(body)),
            (ReceivedHead::Http1(length), UpstreamPort::Http1(stream)) => {
                let response = &self.scratch.response;
                let head = response_from_http1(stream.received.filled(), response);
                stream.received.consume(length);
                (head, Source::http1(response.body(self.request.is_head())))
            }
            (ReceivedHead::Http1(_), UpstreamPort::Http2(..)) => return None,
        };
        if !may_have_length(head.status) {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        let cookies = sending.take_cookies();
        let passage = sending.passage.as_deref_mut();
        let mut changes = self.response_changes(sending.plan, passage, &head, cookies);
        changes.server = self.manager.server_name();
        change_response(&mut head.headers, &self.manager.config, &changes);
        let logged = !self.manager.config.access_logs.is_empty();
        responding.headers = logged.then(|| Box::new(head.headers.clone()));
        let end = source.has_ended() || self.is_bodiless(head.status);
        let sink = self.send_head(head, end, &mut responding)?;
        responding.transfer = Transfer::Framed(Bridge::new(sink), source);
        show_trailers(sending, &mut responding);
        Some(responding)
    }

    /// Writes the head in the form it came in, but for what is changed.
    fn begin_http1_to_http1(
        &mut self,
        sending: &mut Sending<'_>,
        length: usize,
        responding: &mut Responding,
    ) {
        let mut passage = sending.passage.take();
        let cookies = sending.take_cookies();
        let Some(UpstreamPort::Http1(stream)) = &sending.upstream else {
            return;
        };
        let mut out = std::mem::take(&mut self.scratch.response_out);
        out.clear();
        let old = self.is_old();
        let response = &self.scratch.response;
        let (body, mut framing) = match responding.switched {
            true => (Body::none(), None),
            false => (response.body(self.request.is_head()), response.framing()),
        };
        // HTTP/1.0 has no chunks: the end of the connection ends the body.
        let dechunks = old && body.framing() == Framing::Chunked;
        if old && framing == Some(Framing::Chunked) {
            framing = None;
        }
        responding.until_close = dechunks || body.framing() == Framing::UntilClose;
        responding.keep &= !responding.until_close;
        let bytes = stream.received.filled();
        let read = ReadResponse { bytes, response };
        let changes = self.response_changes(sending.plan, passage.as_deref_mut(), &read, cookies);
        let is_seen = !responding.switched
            && passage
                .as_deref_mut()
                .is_some_and(Passage::sees_response_body);
        let head = Http1Head {
            old,
            framing,
            connection: self.connection_header(sending, responding),
        };
        write_response(
            &mut out,
            bytes,
            response,
            &self.manager.config,
            &changes,
            &head,
        );
        drop(changes);
        sending.passage = passage;
        if let Some(UpstreamPort::Http1(stream)) = &mut sending.upstream {
            stream.received.consume(length);
        }
        responding.transfer = match dechunks || is_seen {
            false => Transfer::Raw(Pump::response(out, body)),
            true => {
                let framed = match framing {
                    Some(Framing::Chunked) => Framed::Chunked,
                    _ => Framed::Plain,
                };
                let sink = Sink::Http1(Encoder::new(out, framed));
                Transfer::Framed(Bridge::new(sink), Source::http1(body))
            }
        };
    }

    /// What the client is told of its connection.
    fn connection_header(
        &self,
        sending: &Sending<'_>,
        responding: &Responding,
    ) -> ConnectionHeader {
        match (responding.switched, sending.switch) {
            (true, Some(Switch::Tunnel)) => return ConnectionHeader::None,
            (true, _) => return ConnectionHeader::Upgrade,
            (false, _) => {}
        }
        let response = &self.scratch.response;
        // RFC 9110 section 15.5.22: with it comes what to upgrade to.
        let upgrade = response.status == 426 && response.semantics.upgrade;
        match (responding.keep, self.is_old()) {
            (false, _) if upgrade => ConnectionHeader::UpgradeAndClose,
            (true, false) if upgrade => ConnectionHeader::Upgrade,
            (false, _) => ConnectionHeader::Close,
            (true, true) => ConnectionHeader::KeepAlive,
            (true, false) => ConnectionHeader::None,
        }
    }

    /// Sends a head that is written anew. None if the client is gone; else where the body goes.
    fn send_head(
        &mut self,
        head: response::Parts,
        end: bool,
        responding: &mut Responding,
    ) -> Option<Sink> {
        let (is_old, is_head) = (self.is_old(), self.request.is_head());
        if let Downstream::Http2(respond) = &mut self.downstream {
            let stream = respond.send_response(Response::from_parts(head, ()), end);
            return stream.ok().map(|stream| match end {
                true => Sink::None(Some(stream)),
                false => Sink::Http2(stream),
            });
        }
        let mut out = std::mem::take(&mut self.scratch.response_out);
        out.clear();
        write_http1_response(&mut out, is_old, &head);
        let has_length = head.headers.contains_key(header::CONTENT_LENGTH);
        let bodiless = matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        let framed = match (has_length, end, is_old) {
            (false, true, _) if !bodiless && !is_head => {
                out.extend_from_slice(b"content-length: 0\r\n");
                Framed::Plain
            }
            (false, false, false) => {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n");
                Framed::Chunked
            }
            (false, false, true) => {
                (responding.keep, responding.until_close) = (false, true);
                Framed::Plain
            }
            _ => Framed::Plain,
        };
        let connection = match (responding.keep, is_old) {
            (false, _) => ConnectionHeader::Close,
            (true, true) => ConnectionHeader::KeepAlive,
            (true, false) => ConnectionHeader::None,
        };
        connection.write(&mut out);
        out.extend_from_slice(b"\r\n");
        Some(Sink::Http1(Encoder::new(out, framed)))
    }

    fn response_changes<'c>(
        &self,
        plan: &'c ForwardPlan<'c>,
        passage: Option<&mut Passage<'c>>,
        came: &dyn ResponseHead,
        cookies: Vec<String>,
    ) -> ResponseChanges<'c> {
        let matched = &plan.matched;
        let mut edits = Edits::default();
        self.encode_attempt(plan, came, &mut edits);
        for cookie in cookies {
            edits.add("set-cookie", cookie);
        }
        for level in matched.levels().filter(|level| !level.response.is_empty()) {
            let facts = self.facts(&matched.route.name);
            edits.apply(&level.response, came, &rendered(&facts));
        }
        if let Some(passage) = passage {
            passage.encode(self, came, &mut edits);
        }
        let envoy_headers = !self.manager.router().suppress_envoy_headers;
        let copies_id = self.manager.config.always_set_request_id_in_response;
        let id = self.request.head().filter(|_| copies_id);
        ResponseChanges {
            edits,
            service_time_ms: envoy_headers.then(|| micros(self.began.elapsed()) / 1000),
            request_id: id.and_then(|head| Some(head.header("x-request-id")?.into_owned())),
            server: None,
        }
    }

    /// Whether the client speaks HTTP/1.0.
    pub(in super::super) fn is_old(&self) -> bool {
        matches!(&self.request, RequestMessage::Http1(request) if request.minor_version == 0)
    }

    fn is_bodiless(&self, status: StatusCode) -> bool {
        self.request.is_head()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }
}

/// Has filters see the trailers, if they want to.
fn show_trailers(sending: &mut Sending<'_>, responding: &mut Responding) {
    let passage = sending.passage.as_deref_mut();
    if passage.is_some_and(Passage::sees_response_body) {
        responding.transfer.show_trailers();
    }
}
