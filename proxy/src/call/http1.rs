//! A call on an HTTP/1 connection.

use std::{future::poll_fn, rc::Rc, task::Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, header, request};

use super::{
    Answer, Call, CallError, LEAST_INFORMATIONAL, MAX_RESPONSE_HEAD, Wanted, under_way::UnderWay,
};
use crate::{
    buffer::Buffer,
    cluster::{Clusters, Upstream},
    http::{
        codec::h1::{
            decode::{Decoder, Piece},
            request::Parsed,
            response::Response,
        },
        message::{response_from_http1, write_http1_request},
    },
    reason::Reason,
};

/// A request on its connection.
struct Passing {
    upstream: Upstream,
    /// What is left to send.
    out: Bytes,
    /// The endpoint takes no more of the request.
    is_cut: bool,
    received: Buffer,
}

// === impl Call ===

impl Call {
    /// Sends the request and takes its answer.
    pub(super) async fn send_http1(
        self,
        under_way: &mut UnderWay,
        clusters: &Rc<Clusters>,
        mut upstream: Upstream,
    ) -> Result<Answer, CallError> {
        under_way.send();
        upstream.requests += 1;
        let is_head = self.head.method == Method::HEAD;
        let mut passing = Passing {
            upstream,
            out: written(self.head, &self.body),
            is_cut: false,
            received: Buffer::default(),
        };
        let answered = passing.answer(is_head, self.wanted).await;
        passing.upstream.count_traffic();
        let (answer, is_reusable) = answered?;
        if is_reusable {
            clusters.put_back(passing.upstream);
        }
        Ok(answer)
    }
}

// === impl Passing ===

impl Passing {
    /// The answer, and whether the connection carries another request.
    async fn answer(&mut self, is_head: bool, wanted: Wanted) -> Result<(Answer, bool), CallError> {
        let mut response = Response::default();
        let length = self.read_head(&mut response).await?;
        let head = response_from_http1(self.received.filled(), &response);
        self.received.consume(length);
        let mut body = Decoder::new(response.body(is_head));
        let (mut data, mut trailers) = (BytesMut::new(), None);
        while !body.has_ended() {
            match body.decode(&mut self.received) {
                Ok(Some(Piece::Data(more))) => wanted.take(&mut data, &more)?,
                Ok(Some(Piece::End(end))) => trailers = end.map(|it| *it),
                Ok(None) => match self.read().await {
                    Ok(()) => {}
                    Err(Reason::UpstreamClosed) if body.end() => {}
                    Err(reason) => return Err(reason.into()),
                },
                Err(_) => return Err(Reason::UpstreamProtocolError.into()),
            }
        }
        let is_reusable = self.out.is_empty()
            && !self.is_cut
            && self.received.is_empty()
            && response.keeps_alive();
        let answer = Answer {
            head,
            body: data.freeze(),
            trailers,
        };
        Ok((answer, is_reusable))
    }

    async fn read_head(&mut self, response: &mut Response) -> Result<usize, Reason> {
        let mut informed = 0;
        loop {
            if !self.received.is_empty() {
                match response.parse(self.received.filled()) {
                    Ok(Parsed::Complete(length)) if response.is_informational() => {
                        informed += length.max(LEAST_INFORMATIONAL);
                        if informed > MAX_RESPONSE_HEAD {
                            return Err(Reason::UpstreamProtocolError);
                        }
                        self.received.consume(length);
                        continue;
                    }
                    Ok(Parsed::Complete(length)) => return Ok(length),
                    Ok(Parsed::Partial) if self.received.len() <= MAX_RESPONSE_HEAD => {}
                    Ok(Parsed::Partial) | Err(_) => return Err(Reason::UpstreamProtocolError),
                }
            }
            self.read().await?;
        }
    }

    /// Reads some more, while what is left of the request is sent: an endpoint may answer before it has
    /// all of it. That there is no more to read is an error.
    async fn read(&mut self) -> Result<(), Reason> {
        poll_fn(|cx| {
            let connection = &mut self.upstream.connection;
            while !self.out.is_empty() && !self.is_cut {
                match connection.poll_write(cx, &self.out) {
                    Poll::Ready(Ok(written)) if written > 0 => drop(self.out.split_to(written)),
                    Poll::Ready(_) => self.is_cut = true,
                    Poll::Pending => break,
                }
            }
            match connection.poll_read(cx, &mut self.received) {
                Poll::Ready(Ok(0)) => Poll::Ready(Err(Reason::UpstreamClosed)),
                Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
                Poll::Ready(Err(_)) => Poll::Ready(Err(Reason::UpstreamReset)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

/// The request. All of its body is known, so its length is said.
fn written(mut head: request::Parts, body: &Bytes) -> Bytes {
    let says_none = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
    match !body.is_empty() || says_none {
        true => head
            .headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len())),
        false => head.headers.remove(header::CONTENT_LENGTH),
    };
    let mut out = Vec::with_capacity(1024 + body.len());
    write_http1_request(&mut out, &head);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out.into()
}
