//! A connection as a state machine, without I/O and without a clock: bytes in, messages out, and
//! the other way round.

use std::{collections::VecDeque, task::Waker, time::Instant};

use http::request;

use super::{
    Config, Error, Reason, Side,
    floods::{Floods, Idle},
    frame,
    heads::Heads,
    output::{FULL, Output},
    receive::HeaderBlock,
    settings::{DEFAULT_WINDOW, MAX_WINDOW, PeerSettings},
    store::{Key, Over, Store},
    stream::remember,
};
use crate::http::codec::hpack::{Decoder, Encoder};

/// The payload of the PING that asks whether the peer is there.
const ASKING: [u8; 8] = *b"there???";
/// The payload of the PING that asks whether GOAWAY has arrived.
const LEAVING: [u8; 8] = *b"leaving?";

/// Which side of a connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

/// What a connection is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// RST_STREAM frames that came.
    pub rx_reset: u32,
    /// RST_STREAM frames that were sent.
    pub tx_reset: u32,
    /// Field sections that were larger than what is taken.
    pub header_overflow: u32,
    /// Messages that are none.
    pub rx_messaging_error: u32,
    /// Requests that were reset before anybody saw them.
    pub unseen: u32,
}

/// How far the end of a connection has come that we want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    No,
    /// The peer has been told that there will be an end. New streams may be under way.
    Announced,
    /// The peer has been told which stream is the last.
    Last(u32),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) role: Role,
    pub(super) config: Config,
    pub(super) peer: PeerSettings,
    pub(super) store: Store,
    pub(super) output: Output,
    pub(super) encoder: Encoder,
    pub(super) decoder: Decoder,
    /// Header blocks come in several frames, with nothing in between.
    pub(super) block: Option<Box<HeaderBlock>>,
    /// Octets of the client's preface that are still to come.
    pub(super) preface: &'static [u8],
    /// The peer has acknowledged our settings.
    pub(super) is_acknowledged: bool,
    /// Bytes that may still come.
    pub(super) recv_window: i64,
    /// Bytes that were taken, and which the peer has not been told of.
    pub(super) recv_released: u32,
    /// Bytes that the peer takes and that no stream has been assigned.
    pub(super) send_window: i64,
    /// Bytes of output that streams have been assigned.
    pub(super) assigned: usize,
    /// Streams that want room.
    pub(super) waiting: VecDeque<Key>,
    pub(super) is_distributing: bool,
    /// What heads of requests come to.
    pub(super) heads: Heads,
    /// The last stream that the peer has opened.
    pub(super) last_by_peer: u32,
    /// The next that we open.
    pub(super) next: u32,
    /// Requests that came and were not accepted.
    pub(super) requests: VecDeque<(Key, request::Parts)>,
    pub(super) leaving: Leaving,
    /// The peer has been asked whether it is there, and has not answered.
    pub(super) is_asked: bool,
    /// The peer takes no further streams.
    pub(super) is_left: bool,
    /// Why it is over.
    pub(super) end: Option<Error>,
    pub(super) floods: Floods,
    pub(super) counts: Counts,
    /// Whoever drives the connection.
    pub(super) driver: Option<Waker>,
    /// It waits, and is to be woken.
    pub(super) is_parked: bool,
    /// Somebody may open streams.
    pub(super) has_opener: bool,
}

// === impl Core ===

impl Core {
    pub(super) fn new(role: Role, config: Config) -> Self {
        let mut output = Output::default();
        let out = output.bytes();
        if role == Role::Client {
            out.extend_from_slice(frame::PREFACE);
        }
        config.write(out, role == Role::Client);
        let target = config.initial_connection_window_size.min(MAX_WINDOW);
        if target > DEFAULT_WINDOW {
            frame::write_window_update(out, 0, target - DEFAULT_WINDOW);
        }
        Self {
            role,
            peer: PeerSettings::default(),
            store: Store::default(),
            output,
            encoder: Encoder::default(),
            decoder: Decoder::default(),
            block: None,
            preface: match role {
                Role::Client => &[],
                Role::Server => frame::PREFACE,
            },
            is_acknowledged: false,
            recv_window: i64::from(target.max(DEFAULT_WINDOW)),
            recv_released: 0,
            send_window: i64::from(DEFAULT_WINDOW),
            assigned: 0,
            waiting: VecDeque::new(),
            is_distributing: false,
            heads: Heads::default(),
            last_by_peer: 0,
            next: 1,
            requests: VecDeque::new(),
            leaving: Leaving::No,
            is_asked: false,
            is_left: false,
            end: None,
            floods: Floods::new(config.flood_limits),
            counts: Counts::default(),
            driver: None,
            is_parked: false,
            has_opener: role == Role::Client,
            config,
        }
    }

    /// A turn begins.
    pub(super) fn begin_turn(&mut self, now: Instant) {
        self.is_parked = false;
        self.floods.pass(now);
    }

    /// There is something to do for whoever drives the connection.
    pub(super) fn kick(&mut self) {
        if std::mem::take(&mut self.is_parked)
            && let Some(driver) = &self.driver
        {
            driver.wake_by_ref();
        }
    }

    /// A turn ends: whoever drives the connection waits.
    pub(super) fn park(&mut self, waker: &Waker) {
        remember(&mut self.driver, waker);
        self.is_parked = true;
    }

    /// Whether more is taken from the peer: not while it does not take what we have to say.
    pub(super) fn takes_more(&self) -> bool {
        self.end.is_none() && self.output.len() < FULL
    }

    /// Whether there is nothing to be done any more.
    pub(super) fn is_finished(&self) -> bool {
        let is_empty = self.store.by_peer == 0 && self.store.by_us == 0;
        let is_over = match self.role {
            Role::Server => matches!(self.leaving, Leaving::Last(_)),
            Role::Client => self.is_left || !self.has_opener,
        };
        is_over && is_empty && self.requests.is_empty()
    }

    // --- the end

    /// The peer has broken a rule that concerns the whole connection.
    pub(super) fn fail(&mut self, reason: Reason) {
        if self.end.is_none() {
            frame::write_goaway(self.output.bytes(), self.last_by_peer, reason);
            self.finish(Error::GoAway(reason, Side::Ours));
        }
    }

    /// The connection is lost.
    pub(super) fn lose(&mut self, kind: std::io::ErrorKind) {
        self.output.clear();
        self.finish(Error::Io(kind));
    }

    /// Nothing more comes or goes. What has come stays.
    fn finish(&mut self, error: Error) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(error);
        for key in self.store.keys() {
            self.stop(key, error, Over::ByUs);
        }
        while let Some((key, _)) = self.requests.pop_front() {
            self.drop_handle(key);
        }
        self.kick();
    }

    /// Says that there will be an end, which comes with the last of the streams that are under
    /// way (RFC 9113 section 6.8).
    pub(super) fn leave(&mut self) {
        if self.leaving == Leaving::No && self.end.is_none() {
            self.leaving = Leaving::Announced;
            let out = self.output.bytes();
            frame::write_goaway(out, MAX_WINDOW, Reason::NO_ERROR);
            frame::write(out, frame::PING, 0, 0, &LEAVING);
            self.kick();
        }
    }

    /// Asks the peer whether it is there, unless it has been asked already.
    pub(super) fn ask(&mut self) {
        if !self.is_asked && self.end.is_none() {
            self.is_asked = true;
            frame::write(self.output.bytes(), frame::PING, 0, 0, &ASKING);
        }
    }

    /// The peer has answered a PING.
    pub(super) fn answered(&mut self, payload: &[u8]) {
        if payload == ASKING {
            self.is_asked = false;
        }
        if self.leaving == Leaving::Announced && payload == LEAVING {
            self.leaving = Leaving::Last(self.last_by_peer);
            frame::write_goaway(self.output.bytes(), self.last_by_peer, Reason::NO_ERROR);
        }
    }

    /// Says farewell, at the end of a connection of ours.
    pub(super) fn say_farewell(&mut self) {
        if self.end.is_none() && self.leaving == Leaving::No {
            self.leaving = Leaving::Last(0);
            frame::write_goaway(self.output.bytes(), 0, Reason::NO_ERROR);
        }
    }

    // --- streams

    /// The window with which a stream begins to receive. Until the peer knows ours, it may go by
    /// the default.
    pub(super) fn recv_window_of_stream(&self) -> i64 {
        let ours = self.config.initial_window_size.min(MAX_WINDOW);
        match self.is_acknowledged {
            true => i64::from(ours),
            false => i64::from(ours.max(DEFAULT_WINDOW)),
        }
    }

    /// The stream is over on both sides, if it is.
    pub(super) fn close_if_over(&mut self, key: Key) {
        let stream = &self.store[key];
        if !stream.is_closed && stream.sending.is_ended {
            if stream.received.end.is_some() {
                self.floods.work();
                self.close(key, Over::ByPeer);
            } else if stream.handles == 0 {
                // The answer is complete, and nobody wants the rest of the question (RFC 9113
                // section 8.1).
                self.reset(key, Reason::NO_ERROR);
            }
        }
    }

    /// Nothing more comes or goes on the stream, for this reason.
    pub(super) fn stop(&mut self, key: Key, error: Error, how: Over) {
        let stream = &mut self.store[key];
        if stream.is_closed {
            return;
        }
        stream.received.end.get_or_insert(Err(error));
        stream.sending.stopped = Some(error);
        stream.wake();
        self.close(key, how);
    }

    fn close(&mut self, key: Key, how: Over) {
        self.store.close(key, how);
        let sending = &mut self.store[key].sending;
        sending.pending.clear();
        sending.pending_bytes = 0;
        sending.end = None;
        sending.wanted = 0;
        self.give_back(key);
        if self.store[key].handles == 0 {
            self.forget(key);
        }
        if self.is_finished() {
            self.kick();
        }
    }

    /// A handle to the stream is gone.
    pub(super) fn drop_handle(&mut self, key: Key) {
        let stream = &mut self.store[key];
        stream.handles -= 1;
        if stream.handles > 0 {
            return;
        }
        if stream.is_closed {
            self.forget(key);
        } else if self.role == Role::Server && stream.sending.is_complete() {
            // What was given still leaves.
            self.close_if_over(key);
        } else {
            self.reset(key, Reason::CANCEL);
        }
    }

    /// Nobody holds the stream, which is over.
    fn forget(&mut self, key: Key) {
        let stream = &mut self.store[key];
        let held = stream.received.clear();
        self.heads
            .give_back(std::mem::take(&mut stream.received.of_head));
        if stream.sending.is_waiting {
            self.waiting.retain(|waiting| *waiting != key);
        }
        self.store.free(key);
        self.release_connection(held);
        if self.store.held() == 0 {
            self.store.shrink();
        }
    }

    /// The peer is to blame for something that concerns one stream.
    pub(super) fn blame(&mut self, id: u32, reason: Reason) -> Result<(), Reason> {
        match self.store.find(id) {
            Some(key) => {
                let sending = &mut self.store[key].sending;
                sending.pending.clear();
                sending.pending_bytes = 0;
                sending.end = None;
                self.reset(key, reason);
            }
            None => {
                self.counts.tx_reset += 1;
                frame::write_reset(self.output.bytes(), id, reason);
            }
        }
        self.spend(Idle::Blame)
    }

    pub(super) fn spend(&mut self, kind: Idle) -> Result<(), Reason> {
        calm(self.floods.spend(kind))
    }

    /// What has happened since this was last asked.
    pub(super) fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    // --- windows

    /// So many bytes have been taken: the peer may send as many more.
    pub(super) fn release_connection(&mut self, bytes: u32) {
        self.recv_released += bytes;
        let target = self
            .config
            .initial_connection_window_size
            .max(DEFAULT_WINDOW);
        if self.recv_released >= target / 2 && self.end.is_none() {
            let released = std::mem::take(&mut self.recv_released);
            self.recv_window += i64::from(released);
            frame::write_window_update(self.output.bytes(), 0, released);
            self.kick();
        }
    }

    /// The same for a stream.
    pub(super) fn release(&mut self, key: Key, bytes: u32) {
        let received = &mut self.store[key].received;
        let bytes = bytes.min(received.held);
        received.held -= bytes;
        self.release_connection(bytes);
        let stream = &mut self.store[key];
        if stream.is_closed || stream.received.end.is_some() {
            return;
        }
        let received = &mut stream.received;
        received.released += bytes;
        let target = self.config.initial_window_size.min(MAX_WINDOW);
        if received.released >= (target / 2).max(1) {
            let released = std::mem::take(&mut received.released);
            received.window += i64::from(released);
            frame::write_window_update(self.output.bytes(), stream.id, released);
            self.kick();
        }
    }

    // --- room for streams

    /// How many streams may be open that we open.
    pub(super) fn max_by_us(&self) -> usize {
        match (self.peer.max_concurrent_streams, self.peer.are_known) {
            (Some(most), _) => usize::try_from(most).unwrap_or(usize::MAX),
            (None, true) => usize::MAX,
            (None, false) => self.config.initial_max_send_streams,
        }
    }
}

/// Whoever causes too much work for nothing is told to calm down.
pub(super) fn calm(is_fine: bool) -> Result<(), Reason> {
    match is_fine {
        true => Ok(()),
        false => Err(Reason::ENHANCE_YOUR_CALM),
    }
}
