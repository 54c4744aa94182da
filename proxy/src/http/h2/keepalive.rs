//! PINGs that ask whether a peer is still there (`connection_keepalive`).

use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::{
    config::http::Keepalive,
    http::{
        codec::h2::{Socket, client, server},
        timer::Timer,
    },
    random,
};

/// When a connection's peer is asked next, or has to have answered.
pub(crate) struct KeepaliveTimer {
    settings: Keepalive,
    timer: Timer,
    due: Option<Instant>,
    /// It is the answer that is due.
    is_asked: bool,
    random: u64,
}

/// A connection that can ask its peer.
pub(crate) trait Asks {
    /// Sends a PING, unless one is on its way.
    fn ask(&mut self);

    /// Whether the answer to a PING is still to come.
    fn is_asked(&self) -> bool;
}

// === impl KeepaliveTimer ===

impl KeepaliveTimer {
    pub(crate) fn new(settings: Keepalive) -> Self {
        let mut made = Self {
            settings,
            timer: Timer::default(),
            due: None,
            is_asked: false,
            random: random::seed(),
        };
        made.wait(Instant::now());
        made
    }

    /// Sends what is due, so this is to be polled before the connection is. Ready if the peer has not
    /// answered in time. `has_received`: something came from it since this was last polled, which is
    /// as good as an answer for as long.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut impl Asks,
        has_received: bool,
    ) -> Poll<()> {
        self.heed(Instant::now(), connection, has_received);
        while self.timer.poll(cx, self.due).is_ready() {
            if self.is_asked {
                return Poll::Ready(());
            }
            connection.ask();
            self.await_answer(Instant::now());
        }
        Poll::Pending
    }

    /// Takes note of what has become of the question.
    fn heed(&mut self, now: Instant, connection: &impl Asks, has_received: bool) {
        match (self.is_asked, connection.is_asked()) {
            (true, false) => self.wait(now),
            // Somebody has asked before a stream is opened.
            (false, true) => self.await_answer(now),
            (true, true) if has_received => self.await_answer(now),
            _ => {}
        }
    }

    /// Until the next PING.
    fn wait(&mut self, now: Instant) {
        self.is_asked = false;
        self.due = self.settings.interval.map(|interval| {
            let share = random::next(&mut self.random) as f64 / u64::MAX as f64;
            now + interval + interval.mul_f64(share * self.settings.interval_jitter / 100.0)
        });
    }

    fn await_answer(&mut self, now: Instant) {
        self.is_asked = true;
        self.due = Some(now + self.settings.timeout);
    }
}

// === impl Asks ===

impl<S: Socket> Asks for client::Connection<S> {
    fn ask(&mut self) {
        client::Connection::ask(self);
    }

    fn is_asked(&self) -> bool {
        client::Connection::is_asked(self)
    }
}

impl<S: Socket> Asks for server::Connection<S> {
    fn ask(&mut self) {
        server::Connection::ask(self);
    }

    fn is_asked(&self) -> bool {
        server::Connection::is_asked(self)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SETTINGS: Keepalive = Keepalive {
        interval: Some(Duration::from_secs(10)),
        timeout: Duration::from_secs(3),
        interval_jitter: 50.0,
        connection_idle_interval: None,
    };

    /// A peer that has been asked, or has answered.
    struct Peer(bool);

    impl Asks for Peer {
        fn ask(&mut self) {
            self.0 = true;
        }

        fn is_asked(&self) -> bool {
            self.0
        }
    }

    /// Seconds until something is due, if anything is.
    fn due_in(timer: &KeepaliveTimer, now: Instant) -> Option<f64> {
        let due = timer.due?;
        Some(due.duration_since(now).as_secs_f64())
    }

    #[test]
    fn a_peer_that_has_answered_is_asked_again_after_an_interval_that_varies() {
        let (mut timer, now) = (KeepaliveTimer::new(SETTINGS), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..50 {
            timer.heed(now, &Peer(true), false);
            assert_eq!(due_in(&timer, now), Some(3.0), "the answer");
            timer.heed(now, &Peer(false), true);
            waits.extend(due_in(&timer, now));
        }
        assert!(
            waits.iter().all(|wait| (10.0..=15.0).contains(wait)),
            "{waits:?}"
        );
        assert!(waits.iter().any(|wait| *wait > 11.0), "{waits:?}");
    }

    #[test]
    fn whatever_comes_from_a_peer_gives_it_more_time() {
        let (mut timer, now) = (KeepaliveTimer::new(SETTINGS), Instant::now());
        timer.heed(now, &Peer(true), false);
        let later = now + Duration::from_secs(2);
        timer.heed(later, &Peer(true), false);
        assert_eq!(due_in(&timer, later), Some(1.0));
        timer.heed(later, &Peer(true), true);
        assert_eq!(due_in(&timer, later), Some(3.0));
    }

    #[test]
    fn without_an_interval_only_others_ask_and_the_answer_is_due_all_the_same() {
        let settings = Keepalive {
            interval: None,
            ..SETTINGS
        };
        let (mut timer, now) = (KeepaliveTimer::new(settings), Instant::now());
        assert_eq!(due_in(&timer, now), None);
        timer.heed(now, &Peer(true), false);
        assert_eq!(due_in(&timer, now), Some(3.0));
        timer.heed(now, &Peer(false), true);
        assert_eq!(due_in(&timer, now), None);
    }
}
