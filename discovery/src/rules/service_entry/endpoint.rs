//! What stands behind a host, written there or as an object of its own.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use serde::Deserialize;
use serde_json::Value;

use super::is_name;
use crate::{
    model::{EndpointPlace, EntryEndpoint, Locality},
    rules::{Findings, Place, istio::refuse, texts},
};

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(in crate::rules) struct Endpoint {
    address: Option<String>,
    ports: Option<BTreeMap<String, u32>>,
    labels: Option<BTreeMap<String, String>>,
    network: Option<Value>,
    locality: Option<String>,
    weight: Option<u32>,
    service_account: Option<String>,
}

/// Says of a label of Istio's where an endpoint is, as its locality does.
const LOCALITY_LABEL: &str = "istio-locality";

// === impl Endpoint ===

impl Endpoint {
    /// The endpoint. None: it is nowhere.
    pub(in crate::rules) fn read(
        &self,
        at: &str,
        place: &Place<'_>,
        findings: &mut Findings,
    ) -> Option<EntryEndpoint> {
        let network = self.network.clone().filter(|it| *it != "");
        let instead = "the address is dialled as it is";
        refuse(at, &[("network", &network)], instead, findings);
        if self.service_account.as_ref().is_some_and(|it| !it.is_empty()) {
            let reason = "is not honoured here: mutual TLS is spoken with pods that have a sidecar, \
                          and with nobody else; leave it out";
            findings.warned(format!("{at}.serviceAccount"), reason);
        }
        let mut ports = BTreeMap::new();
        for (name, number) in self.ports.iter().flatten() {
            match u16::try_from(*number).ok().filter(|it| *it > 0) {
                Some(number) => {
                    ports.insert(name.clone(), number);
                }
                None => findings.malformed(
                    format!("{at}.ports[{name}]"),
                    format!("{number} is not a port (1 to 65535)"),
                ),
            }
        }
        let none = BTreeMap::new();
        let labels = texts(self.labels.as_ref().unwrap_or(&none), place.names);
        let of_label = labels.get(LOCALITY_LABEL).map(|it| it.replace('.', "/"));
        let locality = self.locality.as_ref().filter(|it| !it.is_empty());
        Some(EntryEndpoint {
            place: self.place(at, place, findings)?,
            ports,
            locality: Arc::new(locality_of(locality.or(of_label.as_ref()), place)),
            labels: Arc::new(labels),
            // Without a word each has the same part.
            weight: self.weight.filter(|it| *it > 0).unwrap_or(1),
        })
    }

    fn place(
        &self,
        at: &str,
        place: &Place<'_>,
        findings: &mut Findings,
    ) -> Option<EndpointPlace> {
        let text = self.address.as_deref().unwrap_or_default();
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(EndpointPlace::Address(address));
        }
        if is_name(text) {
            return Some(EndpointPlace::Name(place.names.text(text)));
        }
        let at = format!("{at}.address");
        match text.starts_with("unix://") {
            true => findings.warned(
                at,
                format!("{text:?} is a socket of a file, which sidecars do not dial: it is left out"),
            ),
            false => findings.malformed(at, format!("{text:?} is neither an address nor a name")),
        }
        None
    }
}

/// Region, zone and sub-zone, with slashes between them.
fn locality_of(said: Option<&String>, place: &Place<'_>) -> Locality {
    let mut parts = said.into_iter().flat_map(|it| it.splitn(3, '/'));
    let mut part = || place.names.text(parts.next().unwrap_or_default());
    Locality {
        region: part(),
        zone: part(),
        sub_zone: part(),
    }
}
