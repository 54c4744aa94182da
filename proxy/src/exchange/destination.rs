//! Where a request goes that goes where it says.

use std::{borrow::Cow, net::SocketAddr};

use super::{Exchange, passage::Passage, send::Sending};
use crate::{
    cluster::Said,
    http::{
        edits::Edited,
        head::{Fields, RequestHead},
    },
};

impl Exchange<'_> {
    /// Where the connection was going, or where the request goes as filters have left it, if its
    /// cluster listens to that. None: nobody says.
    pub(super) fn destination(&self, sending: &Sending<'_>) -> Option<SocketAddr> {
        let cluster = &sending.plan.cluster;
        if cluster.config.original_dst.is_none() {
            return Some(self.connection.original_destination.0);
        }
        self.with_said(sending, |said| cluster.destination(self.connection, said))
    }

    /// The hosts that the request names for its attempts, if its cluster listens to that.
    pub(super) fn named_hosts(&self, sending: &Sending<'_>) -> Box<[SocketAddr]> {
        let cluster = &sending.plan.cluster;
        let sources = &cluster.config.load_balancing.override_host_sources;
        match sources.is_empty() {
            true => Box::default(),
            false => self.with_said(sending, |said| cluster.named_hosts(said)),
        }
    }

    /// What the request says as filters have left it.
    fn with_said<T>(&self, sending: &Sending<'_>, ask: impl FnOnce(&Said<'_>) -> T) -> T {
        let passage = sending.passage.as_deref();
        let head = self.request.head();
        let header = |name: &str| {
            let head: &dyn RequestHead = head?;
            match passage {
                Some(passage) => {
                    let edited = Edited::new(head, &passage.edits);
                    edited.first(name).map(Cow::into_owned)
                }
                None => head.first(name).map(Cow::into_owned),
            }
        };
        let said = Said {
            metadata: passage.map(Passage::metadata),
            header: Some(&header),
        };
        ask(&said)
    }
}
