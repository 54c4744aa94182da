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
        let (cluster, passage) = (&sending.plan.cluster, sending.passage.as_deref());
        if cluster.config.original_dst.is_none() {
            return Some(self.connection.original_destination.0);
        }
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
        cluster.destination(self.connection, &said)
    }
}
