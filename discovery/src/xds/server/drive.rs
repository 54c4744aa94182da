//! Runs one session against its stream.

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use super::{
    AdsServer,
    connection::{End, Ending},
    push::{Push, Step},
};
use crate::xds::{Limits, hub::Hub, metrics::Fault, session::Session};

/// One session and its stream.
pub(super) struct Drive<S: Session> {
    session: S,
    hub: Arc<Hub>,
    limits: Arc<Limits>,
    ending: Ending,
    push: Push<S::Response>,
}

// === impl Drive ===

impl<S: Session> Drive<S> {
    pub(super) fn new(
        session: S,
        server: &AdsServer,
        responses: mpsc::Sender<Result<S::Response, Status>>,
    ) -> Self {
        Self {
            session,
            hub: server.hub.clone(),
            limits: server.limits.clone(),
            ending: server.ending.clone(),
            push: Push::new(
                server.hub.clone(),
                server.turns.clone(),
                server.limits.write_timeout,
                responses,
            ),
        }
    }

    /// Runs until either side ends the stream.
    pub(super) async fn run(mut self, requests: Streaming<S::Request>) {
        let reason = self.converse(requests).await;
        self.push.end(reason);
        self.session.seat().leave(&self.hub);
    }

    /// The conversation, to its end; the reason is for the client.
    async fn converse(&mut self, mut requests: Streaming<S::Request>) -> Option<Status> {
        let mailbox = self.session.seat().mailbox();
        let ending = self.ending.clone();
        let mut ended = std::pin::pin!(ending.reached(|end| end != End::Open));
        loop {
            tokio::select! {
                step = self.push.step() => match step {
                    Step::Turn(turn) => {
                        // What was published by now is part of what is said now.
                        self.session.seat().news();
                        let response = self.session.next(&self.hub);
                        self.push.say(turn, response);
                    }
                    Step::On => {}
                    Step::TakesNothing => {
                        self.session.seat().fault(Fault::TakesNothing, "cut off", &self.hub);
                        self.ending.set(End::Cut);
                        return None;
                    }
                    Step::Gone => return None,
                },
                request = requests.next() => match request {
                    Some(Ok(request)) => {
                        if let Err(status) = self.request(request) {
                            return Some(status);
                        }
                        self.push.due();
                    }
                    Some(Err(status)) => {
                        return self.broken(status);
                    }
                    None => return None,
                },
                () = mailbox.arrived() => self.push.due(),
                end = &mut ended => return match end {
                    End::Stopping => {
                        Some(Status::unavailable("the control plane stops; connect again"))
                    }
                    // As agreed: the connection has said so itself.
                    End::Open | End::Aged | End::Cut => None,
                },
            }
        }
    }

    fn request(&mut self, request: S::Request) -> Result<(), Status> {
        let seat = self.session.seat();
        if let Err(status) = seat.check(S::node(&request), &self.hub) {
            seat.fault(Fault::ForeignNode, status.message(), &self.hub);
            return Err(status);
        }
        let (names, most) = (self.session.names(&request), self.limits.names);
        if names > most {
            let reason = format!("{names} names; one stream may subscribe to {most}");
            seat.fault(Fault::TooManyNames, &reason, &self.hub);
            return Err(Status::resource_exhausted(reason));
        }
        self.session.request(request, &self.hub);
        Ok(())
    }

    /// A stream that ends with an error has mostly lost its connection, which is no news. A message
    /// that cannot be read is the client's fault.
    fn broken(&self, status: Status) -> Option<Status> {
        if matches!(status.code(), Code::Internal | Code::OutOfRange) {
            let seat = self.session.seat();
            seat.fault(Fault::Unreadable, status.message(), &self.hub);
            return Some(status);
        }
        tracing::debug!(%status, "stream ended");
        None
    }
}
