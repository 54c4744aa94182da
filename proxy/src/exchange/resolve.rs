//! The host of a request whose cluster goes by the name that it asks for.

use std::{future::poll_fn, pin::pin, rc::Rc, task::Poll};

use tokio::time::Instant;

use super::{Exchange, send::Sending};
use crate::{
    cluster::{Host, Unresolved},
    http::{
        authority::Authority,
        edits::Edited,
        head::RequestHead,
        local_reply::{FilterReply, LocalReply},
    },
    reason::Reason,
};

impl Exchange<'_> {
    /// The host that the request names, as filters have left it. Looked up if nobody knows it, unless the
    /// client goes or has waited for too long meanwhile.
    pub(super) async fn resolve(
        &mut self,
        sending: &mut Sending<'_>,
    ) -> Result<Rc<Host>, Box<LocalReply>> {
        let cluster = Rc::clone(&sending.plan.cluster);
        let authority = self.asked_authority(sending);
        let Authority { host, port } = Authority::split(&authority);
        let mut found = pin!(cluster.resolve(host, port));
        sending.deadlines.begin_wait(Instant::now());
        let found = poll_fn(|cx| {
            if let Poll::Ready(found) = found.as_mut().poll(cx) {
                return Poll::Ready(found.map_err(|unresolved| Box::new(unresolved.into())));
            }
            let is_read = sending.transfer.has_read_all();
            if self.downstream.poll_gone(cx, is_read).is_ready() {
                return Poll::Ready(Err(Box::new(Reason::ClientClosed.into())));
            }
            let late = sending.deadlines.poll(cx, &mut self.scratch.timer, 0);
            let stats = &sending.plan.named_cluster.stats;
            late.map(|late| Err(Box::new(late.reason(stats).into())))
        });
        let found = found.await;
        sending.deadlines.end_wait();
        found
    }

    fn asked_authority(&self, sending: &Sending<'_>) -> String {
        let Some(head) = self.request.head() else {
            return String::new();
        };
        match sending.passage.as_deref() {
            Some(passage) => Edited::new(head, &passage.edits).authority().to_owned(),
            None => head.authority().to_owned(),
        }
    }
}

impl From<Unresolved> for LocalReply {
    fn from(unresolved: Unresolved) -> Self {
        let mut reply = Self::from(Reason::NoHealthyUpstream);
        reply.of_filter = unresolved.details().map(|details| {
            Box::new(FilterReply {
                details: Some(details),
                ..FilterReply::default()
            })
        });
        reply
    }
}
