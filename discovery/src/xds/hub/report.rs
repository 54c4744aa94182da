//! How the clients of a hub stand.

use std::{collections::HashMap, sync::Arc};

use super::{ClientId, Current, Hub};
use crate::xds::{
    Kind,
    status::{ClientDump, Detail, HubSizes, HubStatus, Reports},
};

impl Hub {
    /// How many clients and names there are.
    #[must_use]
    pub fn sizes(&self) -> HubSizes {
        let state = self.lock();
        HubSizes {
            clients: state.clients.len(),
            topics: state.topics.values().map(HashMap::len).sum(),
        }
    }

    /// Every client, and how it stands with each resource.
    #[must_use]
    pub fn status(&self) -> HubStatus {
        self.report(Detail::Resources)
    }

    /// Every client, and how it stands with each type.
    #[must_use]
    pub fn summary(&self) -> HubStatus {
        self.report(Detail::Types)
    }

    fn report(&self, detail: Detail) -> HubStatus {
        let reports = self.reports().into_iter();
        HubStatus {
            topics: self.sizes().topics,
            clients: reports.map(|(_, reports)| reports.report(detail)).collect(),
        }
    }

    /// The clients whose node id fits, what they were told, and of that what is still the latest.
    #[must_use]
    pub fn dump(&self, fits: impl Fn(&str) -> bool) -> Vec<ClientDump> {
        let mut reports = self.reports();
        reports.retain(|(_, reports)| fits(&reports.node()));
        let dump = |(id, reports): (ClientId, Arc<dyn Reports>)| {
            let client = reports.report(Detail::Resources);
            let latest = |kind: Kind| {
                let types = client.types.iter().filter(move |it| it.kind == kind.word());
                let states = types.flat_map(|it| &it.resources);
                let states =
                    states.filter_map(move |state| match self.current(id, kind, &state.name) {
                        Current::Present(resource)
                            if Some(resource.version.to_string()) == state.version =>
                        {
                            Some((kind, resource))
                        }
                        _ => None,
                    });
                states.collect::<Vec<_>>()
            };
            ClientDump {
                latest: Kind::ALL.into_iter().flat_map(latest).collect(),
                client,
            }
        };
        reports.into_iter().map(dump).collect()
    }

    /// Sessions take the hub's lock while they hold their own, so they are asked without it.
    fn reports(&self) -> Vec<(ClientId, Arc<dyn Reports>)> {
        let state = self.lock();
        let clients = state.clients.iter();
        clients
            .map(|(id, client)| (*id, client.reports.clone()))
            .collect()
    }
}
