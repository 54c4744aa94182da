//! Protocol detection. There is no detection timer: where the configuration lets the connection
//! go on without an answer, the endpoint that it would go to is dialled at once, and whichever
//! side speaks first decides. Server bytes mean TCP; client bytes are inspected, and if they
//! are HTTP the dialled connection is the first of the pool. It serves no chain that leads to
//! another cluster. Where the listener has a timeout, a dial that failed waits for it, too.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::time::{Sleep, sleep};

use super::{
    ActiveFilter,
    connection::{ActiveConnection, Ahead},
    inspector::{
        Inspection,
        http::{self, HttpVersion},
        tls::{self, ClientHello},
    },
};
use crate::{
    buffer::Buffer,
    cluster::{Tried, Upstream},
    config::listener::ListenerFilter,
    filter::network::tcp_proxy::DialFailure,
    net::transport_socket::Connection,
    reason::Reason,
};

/// What detection found.
#[derive(Default)]
pub(super) struct Detection {
    pub(super) tls: Option<ClientHello>,
    pub(super) http: Option<HttpVersion>,
    /// The client has said nothing.
    pub(super) silent: bool,
    /// What came of a dial before it was clear who speaks.
    pub(super) upstream: Option<Result<Upstream, DialFailure>>,
}

type Dial = Pin<Box<dyn Future<Output = Result<Upstream, DialFailure>>>>;

/// Who acted first.
enum Event {
    ClientSpoke,
    ClientClosed,
    ServerSpoke(Upstream),
    DialFailed(DialFailure),
    TimedOut,
}

/// Reads until the protocol is known. `None` if the connection is to be closed.
pub(super) async fn detect(
    connection: &mut ActiveConnection,
    stream: &mut Connection,
    buffer: &mut Buffer,
) -> Option<Detection> {
    let listener = Rc::clone(&connection.listener);
    let inspectors = Inspectors {
        tls: listener.has(&ListenerFilter::TlsInspector),
        http: listener.has(&ListenerFilter::HttpInspector),
    };
    if !inspectors.tls && !inspectors.http {
        return Some(Detection {
            silent: true,
            ..Detection::default()
        });
    }
    let go_on = listener.config.continue_on_listener_filters_timeout;
    let mut wait = Wait {
        dial: None,
        dialled: None,
        timer: None,
    };
    let mut tried_to_dial = !go_on;
    loop {
        if !buffer.is_empty()
            && let Inspection::Yes(mut detection) = inspectors.inspect(buffer.filled())
        {
            count(&listener.stats, &detection);
            detection.upstream = wait.finish_dial();
            return Some(detection);
        }
        let event = match poll_fn(|cx| Poll::Ready(stream.poll_read(cx, buffer))).await {
            Poll::Ready(read) => Event::of_read(&read),
            Poll::Pending => {
                if wait.timer.is_none() {
                    wait.timer = listener
                        .config
                        .listener_filters_timeout
                        .map(|t| Box::pin(sleep(t)));
                }
                if buffer.is_empty() && !std::mem::replace(&mut tried_to_dial, true) {
                    wait.dial = dial_ahead(connection);
                }
                poll_fn(|cx| wait.poll(cx, stream, buffer)).await
            }
        };
        let spoke = !buffer.is_empty();
        match event {
            Event::ClientSpoke => {}
            Event::ServerSpoke(upstream) => {
                listener.stats.detected_server_first.inc();
                connection.info.protocol = "tcp";
                return Some(Detection {
                    silent: true,
                    upstream: Some(Ok(upstream)),
                    ..Default::default()
                });
            }
            Event::DialFailed(failure) => {
                let upstream = Some(Err(failure));
                return Some(Detection {
                    silent: !spoke,
                    upstream,
                    ..Detection::default()
                });
            }
            Event::TimedOut if go_on => {
                listener.stats.detected_other.inc();
                let upstream = wait.finish_dial();
                return Some(Detection {
                    silent: !spoke,
                    upstream,
                    ..Detection::default()
                });
            }
            Event::ClientClosed if go_on && spoke => {
                listener.stats.detected_other.inc();
                let upstream = wait.finish_dial();
                return Some(Detection {
                    upstream,
                    ..Detection::default()
                });
            }
            Event::TimedOut => {
                listener.stats.downstream_pre_cx_timeout.inc();
                return None;
            }
            Event::ClientClosed => {
                connection.info.outcome.reason = Some(Reason::ClientClosed);
                return None;
            }
        }
    }
}

fn count(stats: &super::ListenerStats, detection: &Detection) {
    match (&detection.tls, detection.http) {
        (Some(_), _) => stats.detected_tls.inc(),
        (None, Some(HttpVersion::H2c)) => stats.detected_h2c.inc(),
        (None, Some(_)) => stats.detected_http1.inc(),
        (None, None) => stats.detected_other.inc(),
    }
}

/// Dials where the connection would go if the client never spoke; none if that is not one raw
/// connection to a cluster, or if the cluster is known to wait for its client.
fn dial_ahead(connection: &mut ActiveConnection) -> Option<Dial> {
    let chain = connection.choose_silent()?;
    let ActiveFilter::Tcp(filter) = &chain.filter else {
        return None;
    };
    let cluster = filter.cluster()?;
    let (destination, source) = (connection.info.original_destination, connection.info.remote);
    if cluster.spoke_http(destination.0) {
        return None;
    }
    let filter = Rc::clone(filter);
    connection.ahead = Some(Ahead {
        chain: Rc::clone(&chain),
        cluster: Rc::clone(&cluster),
    });
    Some(Box::pin(async move {
        filter
            .dial_cluster(cluster, (destination, source), &mut Tried::default())
            .await
    }))
}

// === impl Event ===

impl Event {
    fn of_read(read: &std::io::Result<usize>) -> Self {
        match read {
            Ok(0) | Err(_) => Self::ClientClosed,
            Ok(_) => Self::ClientSpoke,
        }
    }
}

/// What is waited for besides the client.
struct Wait {
    dial: Option<Dial>,
    dialled: Option<Result<Upstream, DialFailure>>,
    /// While it runs, the client alone decides: what it says may lead to another cluster.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Connection,
        buffer: &mut Buffer,
    ) -> Poll<Event> {
        if let Poll::Ready(read) = stream.poll_read(cx, buffer) {
            return Poll::Ready(Event::of_read(&read));
        }
        if let Some(dial) = &mut self.dial
            && let Poll::Ready(dialled) = dial.as_mut().poll(cx)
        {
            self.dial = None;
            self.dialled = Some(dialled);
        }
        let waits_for_client = self.timer.is_some();
        match self.dialled.take() {
            Some(Err(failure)) if !waits_for_client => {
                return Poll::Ready(Event::DialFailed(failure));
            }
            Some(Ok(upstream))
                if (buffer.is_empty() || !waits_for_client)
                    && upstream.connection.poll_readable(cx).is_ready() =>
            {
                return Poll::Ready(Event::ServerSpoke(upstream));
            }
            undecided => self.dialled = undecided,
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx).map(|()| Event::TimedOut),
            None => Poll::Pending,
        }
    }

    /// The dialled connection. One that is still being dialled is given up: the filter dials
    /// again, if it needs to, with its own retries.
    fn finish_dial(&mut self) -> Option<Result<Upstream, DialFailure>> {
        self.dial = None;
        self.dialled.take()
    }
}

/// Which inspectors the listener has.
#[derive(Clone, Copy)]
struct Inspectors {
    tls: bool,
    http: bool,
}

impl Inspectors {
    fn inspect(self, bytes: &[u8]) -> Inspection<Detection> {
        if self.tls {
            match tls::inspect(bytes) {
                Inspection::NeedMore => return Inspection::NeedMore,
                Inspection::Yes(hello) => {
                    let detection = Detection {
                        tls: Some(hello),
                        ..Detection::default()
                    };
                    return Inspection::Yes(detection);
                }
                Inspection::No => {}
            }
        }
        if self.http {
            match http::inspect(bytes) {
                Inspection::NeedMore => return Inspection::NeedMore,
                Inspection::Yes(version) => {
                    let detection = Detection {
                        http: Some(version),
                        ..Detection::default()
                    };
                    return Inspection::Yes(detection);
                }
                Inspection::No => {}
            }
        }
        Inspection::Yes(Detection::default())
    }
}
