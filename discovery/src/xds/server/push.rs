//! Whose turn it is to be told something.

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, timeout_at},
};
use tonic::Status;

use crate::xds::hub::Hub;

/// How long a client keeps its turn while its connection does not take the response. Those that
/// read take it at once; the others are not to hold up the rest.
const PATIENCE: Duration = Duration::from_millis(200);

/// The way of one client's responses: it waits for its turn, says one thing, and waits until that
/// was taken.
pub(super) struct Push<T> {
    hub: Arc<Hub>,
    turns: Arc<Semaphore>,
    write_timeout: Duration,
    responses: mpsc::Sender<Result<T, Status>>,
    state: State,
}

type Waiting = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

enum State {
    /// There is nothing to say.
    Idle,
    /// There may be something.
    Waiting { since: Instant, turn: Waiting },
    /// Something was said, and the connection has not taken it yet.
    Saying {
        since: Instant,
        turn: Option<OwnedSemaphorePermit>,
        /// Whether there may be more.
        again: bool,
    },
}

/// What comes next.
pub(super) enum Step {
    /// It is this client's turn: [`Push::say`].
    Turn(OwnedSemaphorePermit),
    /// Something happened that needs nothing from outside.
    On,
    /// The client does not read.
    TakesNothing,
    /// The stream is gone.
    Gone,
}

// === impl Push ===

impl<T> Push<T> {
    pub(super) fn new(
        hub: Arc<Hub>,
        turns: Arc<Semaphore>,
        write_timeout: Duration,
        responses: mpsc::Sender<Result<T, Status>>,
    ) -> Self {
        Self {
            hub,
            turns,
            write_timeout,
            responses,
            state: State::Idle,
        }
    }

    /// There may be something to say.
    pub(super) fn due(&mut self) {
        match &mut self.state {
            State::Idle => self.wait(),
            State::Waiting { .. } => {}
            State::Saying { again, .. } => *again = true,
        }
    }

    fn wait(&mut self) {
        self.hub.metrics().update(|counts| counts.waiting += 1);
        self.state = State::Waiting {
            since: Instant::now(),
            turn: Box::pin(self.turns.clone().acquire_owned()),
        };
    }

    /// Waits for what comes next. May be dropped and called again: the place in the queue stays.
    pub(super) async fn step(&mut self) -> Step {
        match &mut self.state {
            State::Idle => {
                self.responses.closed().await;
                Step::Gone
            }
            State::Waiting { since, turn } => {
                // Nobody closes the semaphore.
                let Ok(turn) = turn.await else {
                    return Step::Gone;
                };
                let waited = since.elapsed();
                self.state = State::Idle;
                self.hub.metrics().update(|counts| {
                    counts.waiting -= 1;
                    counts.pushing += 1;
                    counts.queue_time.observe(waited);
                });
                Step::Turn(turn)
            }
            State::Saying { .. } => self.taken().await,
        }
    }

    /// Waits until the connection has taken what was said.
    async fn taken(&mut self) -> Step {
        let State::Saying { since, turn, again } = &mut self.state else {
            return Step::On;
        };
        let limit = match turn {
            Some(_) => PATIENCE.min(self.write_timeout),
            None => self.write_timeout,
        };
        // Room for the next is what there is when this one was taken.
        let room = timeout_at(*since + limit, self.responses.reserve()).await;
        let room = room.map(|room| room.is_ok());
        let had_turn = turn.take().is_some();
        if had_turn {
            self.hub.metrics().update(|counts| counts.pushing -= 1);
        }
        match room {
            Ok(true) => {
                let (took, again) = (since.elapsed(), *again);
                self.hub
                    .metrics()
                    .update(|counts| counts.push_time.observe(took));
                self.state = State::Idle;
                if again {
                    self.wait();
                }
                Step::On
            }
            Ok(false) => Step::Gone,
            Err(_) if had_turn => Step::On,
            Err(_) => Step::TakesNothing,
        }
    }

    /// Uses a turn: says the response, or that there is nothing to say.
    pub(super) fn say(&mut self, turn: OwnedSemaphorePermit, response: Option<T>) {
        let sent = response.map(|response| self.responses.try_send(Ok(response)));
        match sent {
            Some(Ok(())) => {
                self.state = State::Saying {
                    since: Instant::now(),
                    turn: Some(turn),
                    again: true,
                };
            }
            // There is room, for the last one was taken; so the stream is gone, and the next step
            // of whoever drives this finds out.
            Some(Err(_)) | None => self.hub.metrics().update(|counts| counts.pushing -= 1),
        }
    }

    /// Ends the stream, with a reason or as agreed.
    pub(super) fn end(self, reason: Option<Status>) {
        if let Some(reason) = reason {
            // If there is no room, the client does not read, and would not read this either.
            let _ = self.responses.try_send(Err(reason));
        }
    }
}

impl<T> Drop for Push<T> {
    fn drop(&mut self) {
        self.hub.metrics().update(|counts| match &self.state {
            State::Idle | State::Saying { turn: None, .. } => {}
            State::Waiting { .. } => counts.waiting -= 1,
            State::Saying { turn: Some(_), .. } => counts.pushing -= 1,
        });
    }
}
