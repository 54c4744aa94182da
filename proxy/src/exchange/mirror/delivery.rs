//! One copy on its way.

use std::{future::poll_fn, net::SocketAddr, rc::Rc};

use bytes::Bytes;
use http::{HeaderValue, Method, header, request};

use crate::{
    buffer::Buffer,
    cluster::{Cluster, Clusters, Host, Http2Lease, LoadBalancerContext, Place, Tried, Upstream},
    config::{circuit_breakers::RoutingPriority, cluster::UpstreamProtocol},
    exchange::{
        bridge::Frame,
        reply::write_all,
        upstream::{LEAST_INFORMATIONAL, MAX_RESPONSE_HEAD, failure},
    },
    http::{
        codec::h1::{request::Parsed, response::Response},
        message::{http2_request, write_http1_request},
    },
    net::transport_socket::Connection,
    reason::Reason,
};

/// As Envoy sends copies, whatever the priority of the route.
const PRIORITY: RoutingPriority = RoutingPriority::Default;

/// A copy of a request, and where it goes.
pub(super) struct Delivery {
    pub(super) clusters: Rc<Clusters>,
    pub(super) cluster: Rc<Cluster>,
    /// Where the client's connection went.
    pub(super) destination: SocketAddr,
    /// The client speaks HTTP/2.
    pub(super) is_http2: bool,
    pub(super) head: request::Parts,
    pub(super) body: Vec<Frame>,
}

// === impl Delivery ===

impl Delivery {
    /// Sends the copy, and takes its answer so that the connection can carry other requests.
    pub(super) async fn run(self) {
        let cluster = Rc::clone(&self.cluster);
        let Some(host) = cluster.pick(&LoadBalancerContext::new(
            self.destination,
            &Tried::default(),
        )) else {
            return;
        };
        let Some(_active) = cluster.begin_request(&host, PRIORITY) else {
            return;
        };
        cluster.stats.upstream_rq_total.inc();
        let answered = match self.place(&host).await {
            Ok(Place::Http2(lease)) => self.send_http2(lease).await,
            Ok(Place::Http1(acquired)) => self.send_http1(acquired.upstream).await,
            Err(reason) => Err(reason),
        };
        let status = answered.unwrap_or_else(Reason::status);
        cluster.stats.upstream_rq.inc(status);
        cluster.stats.upstream_rq_completed.inc();
    }

    async fn place(&self, host: &Rc<Host>) -> Result<Place, Reason> {
        let (cluster, clusters) = (&self.cluster, &self.clusters);
        let speaks_http2 = match cluster.config.protocol {
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::Http2 => true,
            UpstreamProtocol::UseDownstream => self.is_http2,
            UpstreamProtocol::Auto => {
                return match cluster.idle_place(host) {
                    Some(place) => Ok(place),
                    None => cluster.acquire_place(host, PRIORITY, clusters).await,
                };
            }
        };
        if speaks_http2 {
            let lease = cluster.acquire_http2(host, PRIORITY, clusters).await?;
            return Ok(Place::Http2(lease));
        }
        let acquired = cluster.acquire(host, PRIORITY).await;
        let acquired = acquired.map_err(|error| error.reason())?;
        Ok(Place::Http1(acquired))
    }

    async fn send_http2(self, lease: Http2Lease) -> Result<u16, Reason> {
        let failed = |error| failure(&error, false).reason;
        let is_end = |frame: &Frame| matches!(frame, Frame::Data(data, _) if data.is_empty());
        let no_body = self.body.iter().all(is_end);
        let sent = lease.send(http2_request(self.head), no_body);
        let (response, mut stream) = sent.map_err(failed)?;
        if !no_body {
            let last = self.body.len() - 1;
            for (index, frame) in self.body.into_iter().enumerate() {
                match frame {
                    Frame::Data(data, _) => stream.send_data(data, index == last),
                    Frame::Trailers(trailers) => stream.send_trailers(*trailers),
                }
                .map_err(failed)?;
            }
        }
        let (head, mut body) = response.await.map_err(failed)?.into_parts();
        while let Some(data) = poll_fn(|cx| body.poll_data(cx)).await {
            let Ok(data) = data else { break };
            body.release_capacity(data.len());
        }
        Ok(head.status.as_u16())
    }

    async fn send_http1(self, mut upstream: Upstream) -> Result<u16, Reason> {
        upstream.requests += 1;
        let is_head = self.head.method == Method::HEAD;
        let request = written(self.head, &self.body);
        if !write_all(&mut upstream.connection, &request).await {
            return Err(Reason::UpstreamReset);
        }
        let (mut response, mut received) = (Response::default(), Buffer::default());
        let connection = &mut upstream.connection;
        let length = read_head(connection, &mut response, &mut received).await?;
        received.consume(length);
        let mut body = response.body(is_head);
        let mut is_whole = body.has_ended();
        while !is_whole {
            let taken = body.advance(received.filled_mut());
            received.consume(taken.taken);
            is_whole = body.has_ended();
            if taken.malformed || (!is_whole && read(connection, &mut received).await.is_err()) {
                break;
            }
        }
        if is_whole && received.is_empty() && response.keeps_alive() {
            self.clusters.put_back(upstream);
        }
        Ok(response.status)
    }
}

/// The request for an HTTP/1 endpoint. All of its body is known, so its length is said; trailers have
/// no place behind such a body.
fn written(mut head: request::Parts, body: &[Frame]) -> Vec<u8> {
    let data = || {
        body.iter().filter_map(|frame| match frame {
            Frame::Data(data, _) => Some(data),
            Frame::Trailers(_) => None,
        })
    };
    let length: usize = data().map(Bytes::len).sum();
    let says_none = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
    match length > 0 || says_none {
        true => head
            .headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(length)),
        false => head.headers.remove(header::CONTENT_LENGTH),
    };
    let mut out = Vec::with_capacity(1024 + length);
    write_http1_request(&mut out, &head);
    out.extend_from_slice(b"\r\n");
    data().for_each(|data| out.extend_from_slice(data));
    out
}

async fn read_head(
    connection: &mut Connection,
    response: &mut Response,
    received: &mut Buffer,
) -> Result<usize, Reason> {
    let mut informed = 0;
    loop {
        if !received.is_empty() {
            match response.parse(received.filled()) {
                Ok(Parsed::Complete(length)) if response.is_informational() => {
                    informed += length.max(LEAST_INFORMATIONAL);
                    if informed > MAX_RESPONSE_HEAD {
                        return Err(Reason::UpstreamProtocolError);
                    }
                    received.consume(length);
                    continue;
                }
                Ok(Parsed::Complete(length)) => return Ok(length),
                Ok(Parsed::Partial) if received.len() <= MAX_RESPONSE_HEAD => {}
                Ok(Parsed::Partial) | Err(_) => return Err(Reason::UpstreamProtocolError),
            }
        }
        read(connection, received).await?;
    }
}

/// Reads some more; that there is none is an error.
async fn read(connection: &mut Connection, received: &mut Buffer) -> Result<(), Reason> {
    match poll_fn(|cx| connection.poll_read(cx, received)).await {
        Ok(0) => Err(Reason::UpstreamClosed),
        Ok(_) => Ok(()),
        Err(_) => Err(Reason::UpstreamReset),
    }
}
