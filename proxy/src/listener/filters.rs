//! Runs the listener filters of a connection. There is no detection timer of our own: where the
//! configuration lets the connection go on without an answer, the endpoint that it would go to is
//! dialled at once, and whichever side speaks first decides. Server bytes mean TCP; client bytes
//! are inspected, and if they are HTTP the dialled connection is the first of the pool. It serves
//! no chain that leads to another cluster. Where the listener has a timeout, a dial that failed
//! waits for it, too.
//!
//! Where a chain serves TLS, a server that speaks first does not decide at once: the client's hello may
//! be on its way, and to a client that speaks TLS plaintext is nonsense.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use super::{
    ActiveListener,
    connection::{ActiveConnection, Ahead},
    stats::ListenerStats,
};
use crate::{
    buffer::Buffer,
    cluster::{Tried, Upstream},
    filter::{
        listener::Status,
        network::{
            TerminalFilter,
            tcp_proxy::{DialFailure, Ends},
        },
    },
    net::transport_socket::Connection,
};

/// What became of a dial while the filters ran.
pub(super) type Dialled = Option<Result<Upstream, DialFailure>>;

/// How long what a server said first is held for the client's hello, which a client of TLS sends right
/// behind the last packet of its TCP handshake.
const HOLD: Duration = Duration::from_millis(20);

type Dial = Pin<Box<dyn Future<Output = Result<Upstream, DialFailure>>>>;

/// Who acted first.
enum Event {
    ClientSpoke,
    ClientClosed,
    ServerSpoke(Upstream),
    DialFailed(DialFailure),
    TimedOut,
}

/// The filters have to do with a connection no more.
enum End {
    /// It goes on to a filter chain, maybe before all filters had their say.
    GoOn(Dialled),
    /// It is closed.
    Close,
}

/// Runs the listener filters. `None` if the connection is to be closed.
pub(super) async fn run(
    connection: &mut ActiveConnection,
    stream: &mut Connection,
    buffer: &mut Buffer,
) -> Option<Dialled> {
    let mut wait = Wait {
        dial: None,
        dialled: None,
        timer: None,
        hold: None,
    };
    let mut tried_to_dial = false;
    let mut place = 0;
    loop {
        let listener = Rc::clone(&connection.listener);
        if place == listener.settles_destination && connection.hand_over().await {
            place = 0;
            continue;
        }
        let Some(filter) = listener.filters.get(place) else {
            count(&listener, connection);
            return Some(wait.finish_dial());
        };
        match filter.run(&mut connection.info, stream.as_raw(), buffer) {
            Status::Continue => place += 1,
            Status::Close => {
                close(stream, buffer);
                return None;
            }
            Status::Wait => {
                // What was not asked for before the client may speak is not dialled after it has.
                let inspects = place >= listener.settles_destination;
                let may_dial = inspects && !std::mem::replace(&mut tried_to_dial, inspects);
                let dials = may_dial && listener.config.continue_on_listener_filters_timeout;
                let event = wait.event(connection, stream, buffer, dials).await;
                match event.end(connection, buffer, &mut wait) {
                    None => {}
                    Some(End::GoOn(dialled)) => return Some(dialled),
                    Some(End::Close) => {
                        close(stream, buffer);
                        return None;
                    }
                }
            }
        }
    }
}

/// Closes as the kernel does where bytes were not read: with a reset.
fn close(stream: &mut Connection, buffer: &Buffer) {
    if !buffer.is_empty() {
        stream.reset_on_drop();
    }
}

/// Counts what inspectors found.
fn count(listener: &ActiveListener, connection: &mut ActiveConnection) {
    if !listener.has_inspectors() {
        return;
    }
    let stats = &listener.stats;
    match connection.info.protocol {
        "tls" => stats.detected_tls.inc(),
        "h2c" => stats.detected_h2c.inc(),
        "" => {
            stats.detected_other.inc();
            connection.info.protocol = "tcp";
        }
        _ => stats.detected_http1.inc(),
    }
}

/// Dials where the connection would go if the client never spoke; none if that is not one raw
/// connection to a cluster, or if the cluster is known to wait for its client.
fn dial_ahead(connection: &mut ActiveConnection) -> Option<Dial> {
    let chain = connection.choose_silent()?;
    let TerminalFilter::Tcp(filter) = &chain.filter else {
        return None;
    };
    // A filter may yet close it, and an endpoint is not to be dialled for nothing.
    if !chain.filters.is_empty() {
        return None;
    }
    let chosen = filter.cluster(&connection.info)?;
    let cluster = Rc::clone(&chosen.cluster);
    let ends = Ends::of(filter, &connection.info, &cluster);
    // Which name it asks for, or who the client is, may not be known yet.
    if cluster.forwards_by_name()
        || cluster.tells_of_clients()
        || cluster.spoke_http(connection.info.original_destination.0)
    {
        return None;
    }
    let filter = Rc::clone(filter);
    connection.ahead = Some(Ahead {
        chain: Rc::clone(&chain),
        cluster,
    });
    Some(Box::pin(async move {
        filter
            .dial_cluster(chosen, ends, &mut Tried::default())
            .await
    }))
}

// === impl Event ===

impl Event {
    /// Whether the filters are done with; none if they go on with what has come.
    fn end(
        self,
        connection: &mut ActiveConnection,
        buffer: &Buffer,
        wait: &mut Wait,
    ) -> Option<End> {
        let listener = &connection.listener;
        let goes_on = listener.config.continue_on_listener_filters_timeout;
        let spoke = !buffer.is_empty();
        let other = |connection: &mut ActiveConnection| {
            connection.listener.stats.detected_other.inc();
            if spoke {
                connection.info.protocol = "tcp";
            }
        };
        Some(match self {
            Self::ClientSpoke => return None,
            Self::ServerSpoke(upstream) => {
                listener.stats.detected_server_first.inc();
                connection.info.protocol = "tcp";
                End::GoOn(Some(Ok(upstream)))
            }
            Self::DialFailed(failure) => {
                if spoke {
                    connection.info.protocol = "tcp";
                }
                End::GoOn(Some(Err(failure)))
            }
            Self::TimedOut if goes_on => {
                listener.stats.downstream_pre_cx_timeout.inc();
                other(connection);
                End::GoOn(wait.finish_dial())
            }
            Self::ClientClosed if goes_on && spoke => {
                other(connection);
                End::GoOn(wait.finish_dial())
            }
            Self::TimedOut => {
                listener.stats.downstream_pre_cx_timeout.inc();
                End::Close
            }
            Self::ClientClosed => End::Close,
        })
    }

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
    /// Runs once the server spoke, where a client of TLS is served.
    hold: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    /// Waits for the next thing to happen; dials meanwhile, if it may.
    async fn event(
        &mut self,
        connection: &mut ActiveConnection,
        stream: &mut Connection,
        buffer: &mut Buffer,
        dials: bool,
    ) -> Event {
        match poll_fn(|cx| Poll::Ready(stream.poll_read(cx, buffer))).await {
            Poll::Ready(read) => Event::of_read(&read),
            Poll::Pending => {
                if self.timer.is_none() {
                    let timeout = connection.listener.config.listener_filters_timeout;
                    self.timer = timeout.map(|timeout| Box::pin(sleep(timeout)));
                }
                if buffer.is_empty() && dials {
                    self.dial = dial_ahead(connection);
                }
                let listener = &connection.listener;
                let holds = listener.serves_tls().then(|| Arc::clone(&listener.stats));
                poll_fn(|cx| self.poll(cx, stream, buffer, holds.as_deref())).await
            }
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Connection,
        buffer: &mut Buffer,
        holds: Option<&ListenerStats>,
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
            Some(Ok(mut upstream)) => {
                let may_decide = buffer.is_empty() || !waits_for_client;
                if may_decide
                    && upstream.connection.poll_readable(cx).is_ready()
                    && self.held(cx, holds)
                {
                    return Poll::Ready(Event::ServerSpoke(upstream));
                }
                self.dialled = Some(Ok(upstream));
            }
            undecided => self.dialled = undecided,
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx).map(|()| Event::TimedOut),
            None => Poll::Pending,
        }
    }

    /// Whether what the server said was held for long enough.
    fn held(&mut self, cx: &mut Context<'_>, holds: Option<&ListenerStats>) -> bool {
        let Some(stats) = holds else { return true };
        let hold = self.hold.get_or_insert_with(|| {
            stats.server_first_held.inc();
            Box::pin(sleep(HOLD))
        });
        hold.as_mut().poll(cx).is_ready()
    }

    /// The dialled connection. One that is still being dialled is given up: the filter dials
    /// again, if it needs to, with its own retries.
    fn finish_dial(&mut self) -> Option<Result<Upstream, DialFailure>> {
        self.dial = None;
        self.dialled.take()
    }
}
