//! Copies of requests, whose answers nobody sees.
//!
//! A copy is sent once the first attempt at the request itself that had an endpoint has its answer or
//! has failed, with the same changes. So no client waits for it, and a body of which more is to come, or which is larger
//! than what is kept for another attempt, is not copied: `rq_mirror_skipped` counts.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-routeaction-requestmirrorpolicy>

use std::{cell::Cell, rc::Rc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Uri, request, uri::Authority};

use super::{Exchange, RequestMessage, bridge::Frame, send::Sending};
use crate::{
    call::{Call, Origin, Wanted},
    cluster::Host,
    http::message::{change_request, request_from_http1},
};

/// Copies on their way at a time, of a worker. Each holds 64 KiB of a body at most.
const MOST: usize = 256;
/// How long a copy may take where its route sets no bound.
const PATIENCE: Duration = Duration::from_secs(60);

thread_local! {
    /// Copies on their way.
    static UNDER_WAY: Cell<usize> = const { Cell::new(0) };
}

/// A place among the copies on their way.
struct Place;

impl Exchange<'_> {
    /// Sends copies of a request of which an attempt at `host` has ended.
    pub(super) fn mirror(&self, sending: &Sending<'_>, host: &Host) {
        let manager = self.manager;
        let runtime = manager.context.routes.runtime();
        let forward = sending.plan.forward;
        for policy in &forward.mirrors {
            let share = policy.share.as_ref();
            if share.is_some_and(|share| !runtime.includes(share, manager.random())) {
                continue;
            }
            let copy = self
                .copy(sending, host)
                .and_then(|copy| Some((copy, Place::take()?)));
            let cluster = manager.context.clusters.choose(&policy.cluster);
            let (Some(((mut head, body), place)), Some(cluster)) = (copy, cluster) else {
                manager.stats.rq_mirror_skipped.inc();
                continue;
            };
            if !policy.keeps_host {
                head.uri = shadowed(head.uri);
            }
            let (body, trailers) = whole(body);
            let call = Call {
                head,
                body,
                trailers,
                timeout: forward.timeout.unwrap_or(PATIENCE),
                wanted: Wanted::Nothing,
                origin: Origin {
                    destination: Some(self.connection.original_destination.0),
                    is_http2: matches!(self.request, RequestMessage::Http2(_)),
                },
            };
            let clusters = Rc::clone(&manager.context.clusters);
            tokio::task::spawn_local(async move {
                let _place = place;
                // Whether it came, only the cluster's stats tell.
                let _ = call.send_to(&clusters, &cluster).await;
            });
        }
    }

    /// The request as it was sent, if all of it is there.
    fn copy(&self, sending: &Sending<'_>, host: &Host) -> Option<(request::Parts, Vec<Frame>)> {
        if sending.switch.is_some() {
            return None;
        }
        let body = sending.transfer.kept()?;
        let changes = self.request_changes(sending, host);
        let head = match &self.request {
            RequestMessage::Http1(request) => request_from_http1(request, changes.scheme())?,
            RequestMessage::Http2(request) => request.head.clone()?,
        };
        Some((change_request(head, &self.manager.config, &changes), body))
    }
}

// === impl Place ===

impl Place {
    fn take() -> Option<Self> {
        UNDER_WAY.with(|count| {
            let free = count.get() < MOST;
            free.then(|| count.set(count.get() + 1)).map(|()| Self)
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        UNDER_WAY.with(|count| count.set(count.get() - 1));
    }
}

/// A body and what follows it, of frames.
fn whole(frames: Vec<Frame>) -> (Bytes, Option<HeaderMap>) {
    let (mut body, mut trailers) = (BytesMut::new(), None);
    for frame in frames {
        match frame {
            Frame::Data(data, _) => body.extend_from_slice(&data),
            Frame::Trailers(fields) => trailers = Some(*fields),
        }
    }
    (body.freeze(), trailers)
}

/// As Envoy, so that who is sent a copy can tell: the host's name ends with `-shadow`.
fn shadowed(uri: Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    // An address in brackets would be none with a name behind it: it stays.
    let named = parts.authority.as_ref().map(Authority::as_str);
    let Some(authority) = named.filter(|it| !it.starts_with('[')) else {
        return uri;
    };
    let text = match authority.rsplit_once(':') {
        Some((host, port)) => format!("{host}-shadow:{port}"),
        None => format!("{authority}-shadow"),
    };
    let Ok(authority) = Authority::try_from(text) else {
        return uri;
    };
    parts.authority = Some(authority);
    Uri::from_parts(parts).unwrap_or(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_copys_host_ends_with_shadow() {
        for (uri, expected) in [
            ("http://web/a?b", "http://web-shadow/a?b"),
            ("http://web.shop:8080/", "http://web.shop-shadow:8080/"),
            ("http://[::1]:80/", "http://[::1]:80/"),
            ("/a", "/a"),
        ] {
            let shadowed = shadowed(uri.parse().expect(uri));
            assert_eq!(shadowed.to_string(), expected);
        }
    }

    #[test]
    fn there_are_no_more_copies_than_places() {
        let places: Vec<_> = std::iter::from_fn(Place::take).collect();
        assert_eq!(places.len(), MOST);
        drop(places);
        assert!(Place::take().is_some());
    }
}
