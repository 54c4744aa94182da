//! Responses of the proxy's own, in the version of HTTP that the client speaks.

use std::{borrow::Cow, future::poll_fn};

use bytes::Bytes;
use http::{Response, StatusCode};

use super::{
    Downstream, Exchange, Next,
    log::SentHead,
    passage::{OwnHead, Passage},
};
use crate::{
    config::format::TimePoint,
    http::{
        edits::rendered,
        local_reply::{LocalReply, ReplyFields, phrase},
        message::{append, complete_response},
        route::Matched,
        write::{self, ConnectionHeader},
    },
    net::transport_socket::Connection,
    reason::Reason,
};

/// What a local reply says.
struct Said {
    status: u16,
    headers: Vec<(Cow<'static, str>, String)>,
    body: Bytes,
}

impl Exchange<'_> {
    /// Sends a response of our own. `is_read`: the request has been read to its end, so that another
    /// may follow.
    pub(super) async fn reply<'c>(
        &mut self,
        reply: &LocalReply,
        is_read: bool,
        matched: Option<&Matched<'c>>,
        passage: Option<&mut Passage<'c>>,
    ) -> Next {
        self.info.reason = match reply.reason {
            Reason::Redirect | Reason::DirectResponse => None,
            reason => Some(reason),
        };
        self.info.details = match reply.reason {
            // As Envoy: neither comes from the endpoint.
            Reason::Redirect | Reason::DirectResponse => {
                Some(Box::new(Reason::DirectResponse.code().to_owned()))
            }
            _ => (reply.details() != reply.reason.code())
                .then(|| Box::new(reply.details().to_owned())),
        };
        self.observe_end(matched, passage.as_deref());
        self.observe(TimePoint::DownstreamTxBegin);
        let said = self.say(reply, matched, passage);
        let route_name = matched.map_or("", |matched| matched.route.name.as_str());
        match &self.downstream {
            Downstream::Http1(_) => self.reply_http1(said, is_read, route_name).await,
            Downstream::Http2(_) => self.reply_http2(said, route_name),
        }
    }

    /// Status, headers and body, for a gRPC client what it can read, with the mutations of its route.
    fn say<'c>(
        &self,
        reply: &LocalReply,
        matched: Option<&Matched<'c>>,
        passage: Option<&mut Passage<'c>>,
    ) -> Said {
        let router = self.manager.router();
        let (status, headers, body) = if self.request.is_grpc() {
            let grpc = reply.for_grpc(router);
            (grpc.status, grpc.headers, Bytes::new())
        } else {
            (reply.status, reply.headers(router), reply.body.clone())
        };
        let mut edits = reply.edits();
        if let Some(matched) = matched {
            let levels = matched.levels();
            for level in levels.filter(|level| !level.response.is_empty()) {
                let facts = self.facts(&matched.route.name);
                edits.apply(&level.response, &ReplyFields(&headers), &rendered(&facts));
            }
        }
        if let Some(passage) = passage {
            let head = OwnHead {
                status,
                headers: &headers,
            };
            passage.encode(self, &head, &mut edits);
        }
        let kept = headers.into_iter();
        let kept = kept.filter(|(name, _)| edits.keeps(name.as_bytes()));
        let kept = kept.map(|(name, value)| (name.into(), value));
        let added = edits.added();
        let added = added.map(|(name, value)| (name.to_owned().into(), value.to_owned()));
        Said {
            status,
            headers: kept.chain(added).collect(),
            body,
        }
    }

    async fn reply_http1(&mut self, said: Said, is_read: bool, route_name: &str) -> Next {
        let keep = self.keeps_alive(is_read);
        let config = &self.manager.config;
        let mut out = std::mem::take(&mut self.scratch.request_out);
        out.clear();
        let phrase = phrase(said.status).as_bytes();
        let is_old = self.is_old() && config.accept_http_10;
        write::status_line(&mut out, is_old, said.status, phrase);
        for (name, value) in &said.headers {
            write::line(&mut out, name, value.as_bytes());
        }
        if said.body.is_empty() && !matches!(said.status, 204 | 304) {
            write::line(&mut out, "content-length", b"0");
        }
        write::own_fields(&mut out, config);
        let Downstream::Http1(client) = &mut self.downstream else {
            return Next::Close;
        };
        let connection = match (keep, client.minor_version) {
            (false, _) => ConnectionHeader::Close,
            (true, 0) => ConnectionHeader::KeepAlive,
            (true, _) => ConnectionHeader::None,
        };
        connection.write(&mut out);
        out.extend_from_slice(b"\r\n");
        let head_length = out.len();
        if !self.request.is_head() {
            out.extend_from_slice(&said.body);
        }
        let written = write_all(client.connection, &out).await;
        self.info.bytes_sent = (out.len() - head_length) as u64;
        self.finish(
            said.status,
            &SentHead::Bytes(&out[..head_length]),
            route_name,
        );
        self.scratch.request_out = out;
        match written {
            true if keep => Next::Request,
            true if !is_read => Next::Linger,
            _ => Next::Close,
        }
    }

    fn reply_http2(&mut self, said: Said, route_name: &str) -> Next {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(said.status).unwrap_or_default();
        let headers = response.headers_mut();
        for (name, value) in &said.headers {
            append(headers, name, value);
        }
        complete_response(headers, &self.manager.config, self.manager.server_name());
        append(headers, "via", &self.manager.config.via);
        let sent = headers.clone();
        let body_bytes = said.body.len() as u64;
        let end = said.body.is_empty() || self.request.is_head();
        // A client that is gone needs no answer.
        if let Downstream::Http2(respond) = &mut self.downstream
            && let Ok(mut stream) = respond.send_response(response, end)
            && !end
            && stream.send_data(said.body, true).is_ok()
        {
            self.info.bytes_sent = body_bytes;
        }
        self.finish(said.status, &SentHead::Headers(Some(&sent)), route_name);
        Next::Close
    }
}

/// Writes all there is. False if the connection is gone.
pub(crate) async fn write_all(connection: &mut Connection, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match poll_fn(|cx| connection.poll_write(cx, bytes)).await {
            Ok(written) if written > 0 => bytes = &bytes[written..],
            _ => return false,
        }
    }
    true
}
