//! What strangers may use of the addresses that the process itself answers on.

use std::{net::IpAddr, sync::Arc, time::Duration};

use weir_guard::{Closed, Guard, Limits, Refused};

use super::Face;
use crate::{
    stat_set,
    stats::{Counter, Registry, Scope},
};

/// Connections to one face. Probes, scrapers and people need a handful.
const CONNECTIONS: usize = 64;
/// Of one source address.
const OF_SOURCE: usize = 16;
/// Beyond those, for probes.
const RESERVE: usize = 16;

stat_set! {
    /// `auxiliary.<listener>.*`: connections to the admin interface and to the listeners for probes and
    /// scrapers. The listener is `admin`, `prometheus`, `readiness` or `status`.
    pub(crate) struct Connections {
        /// Connections refused because all were in use.
        cx_refused_full: Counter,
        /// Connections refused because all that one source address may have were in use.
        cx_refused_source: Counter,
        /// Connections closed to make room: they were the idlest. A rise is an attack, or a scraper that leaves connections open.
        cx_evicted: Counter,
        /// Connections closed because their first request did not come in time.
        cx_opening_timeout: Counter,
        /// Connections closed because no further request came for long.
        cx_idle_timeout: Counter,
        /// Connections closed because a request did not get on.
        cx_overdue: Counter,
    }
}

/// A guard for each face; addresses of both families share it.
#[derive(Debug)]
pub(crate) struct Guards([(Face, Arc<Guard>, Arc<Connections>); 4]);

// === impl Guards ===

impl Guards {
    /// Probes come from these addresses, or from the machine itself.
    pub(crate) fn new(registry: &Registry, probes: &[IpAddr]) -> Self {
        Self(Face::ALL.map(|face| {
            let scope = Scope {
                kind: "auxiliary",
                name: face.word().to_owned(),
                label: "envoy_auxiliary_listener",
            };
            let guard = Guard::new(limits(face, probes));
            (face, guard, registry.register(scope))
        }))
    }

    pub(super) fn of(&self, face: Face) -> Option<&Arc<Guard>> {
        let mut all = self.0.iter();
        all.find(|(of, ..)| *of == face).map(|(_, guard, _)| guard)
    }

    /// Brings the stats up to date, before they are read.
    pub(super) fn refresh(&self) {
        for (_, guard, stats) in &self.0 {
            let set = |counter: &Counter, now: u64| counter.add(now.saturating_sub(counter.get()));
            set(&stats.cx_refused_full, guard.refused(Refused::Full));
            set(&stats.cx_refused_source, guard.refused(Refused::Source));
            set(&stats.cx_evicted, guard.closed(Closed::Evicted));
            set(&stats.cx_opening_timeout, guard.closed(Closed::Opening));
            set(&stats.cx_idle_timeout, guard.closed(Closed::Idle));
            set(&stats.cx_overdue, guard.closed(Closed::Overdue));
        }
    }
}

fn limits(face: Face, probes: &[IpAddr]) -> Limits {
    Limits {
        connections: CONNECTIONS,
        // All who use the admin interface are on this machine.
        per_source: if face == Face::Admin {
            CONNECTIONS
        } else {
            OF_SOURCE
        },
        reserved: probes.to_vec(),
        reserve: RESERVE,
        opening: Duration::from_secs(10),
        // Longer than scrapers wait between scrapes.
        idle: Duration::from_secs(120),
        response: Duration::from_secs(10),
        // Statistics of a large mesh, to a slow reader.
        exchange: Some(Duration::from_secs(60)),
    }
}
