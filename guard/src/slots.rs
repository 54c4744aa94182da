//! Who is connected: a slot for each connection, and who makes room for whom.

use std::{
    cmp::Reverse,
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::Limits;

/// Time in which a connection is not evicted for one of the same source, or of one that has as many: so
/// long a handshake and a request may take on a busy machine.
const SETTLED: Duration = Duration::from_secs(1);

/// Gives the connections of one listener their slots.
#[derive(Debug)]
pub struct Guard {
    limits: Limits,
    table: Mutex<Table>,
    refused: [AtomicU64; Refused::ALL.len()],
    closed: [AtomicU64; Closed::ALL.len()],
}

/// Why a connection is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// All connections are in use.
    Full,
    /// All that this source address may have are in use.
    Source,
}

/// Why a connection that was served is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It was the idlest when another needed its place.
    Evicted,
    /// No request came in time after the connection.
    Opening,
    /// No request came for long after others.
    Idle,
    /// A request or its response did not get on.
    Overdue,
}

/// A place of one connection. Dropping it gives the place back.
#[derive(Debug)]
pub struct Slot {
    guard: Arc<Guard>,
    id: u64,
    evicted: Arc<Notify>,
}

/// A connection is in use as long as there is one of these.
#[derive(Debug)]
pub struct InUse(Arc<Slot>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    held: HashMap<u64, Held>,
    of_source: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Held {
    source: IpAddr,
    is_reserved: bool,
    /// Requests in flight.
    in_flight: usize,
    /// Whether there ever was one.
    served: bool,
    /// Since when it is in this state.
    since: Instant,
    evicted: Arc<Notify>,
}

// === impl Guard ===

impl Guard {
    /// Nobody is connected yet.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            table: Mutex::default(),
            refused: Default::default(),
            closed: Default::default(),
        })
    }

    /// The limits it keeps.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Connections that have a slot.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.lock().held.len()
    }

    /// Connections that were refused, by why.
    #[must_use]
    pub fn refused(&self, why: Refused) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }

    /// Connections that were closed, by why.
    #[must_use]
    pub fn closed(&self, why: Closed) -> u64 {
        self.closed[why as usize].load(Ordering::Relaxed)
    }

    /// A slot for a connection from there.
    ///
    /// # Errors
    /// There is none, and nobody is idle.
    pub fn admit(self: &Arc<Self>, source: IpAddr) -> Result<Slot, Refused> {
        // One that came over an IPv6 socket is the same source.
        let source = source.to_canonical();
        let is_reserved = self.limits.reserves(source);
        let mut table = self.lock();
        let room = self.make_room(&mut table, source, is_reserved);
        room.inspect_err(|why| {
            self.refused[*why as usize].fetch_add(1, Ordering::Relaxed);
        })?;
        let (id, evicted) = (table.next, Arc::new(Notify::new()));
        table.next += 1;
        *table.of_source.entry(source).or_default() += 1;
        let held = Held {
            source,
            is_reserved,
            in_flight: 0,
            served: false,
            since: Instant::now(),
            evicted: evicted.clone(),
        };
        table.held.insert(id, held);
        Ok(Slot {
            guard: Arc::clone(self),
            id,
            evicted,
        })
    }

    fn make_room(
        &self,
        table: &mut Table,
        source: IpAddr,
        is_reserved: bool,
    ) -> Result<(), Refused> {
        let limits = &self.limits;
        if table.of(source) >= limits.per_source {
            let its_own = |held: &Held| held.source == source;
            return self.evict(table, source, its_own).ok_or(Refused::Source);
        }
        if table.held.len() < limits.connections {
            return Ok(());
        }
        // Those with a reserve make room for each other only.
        let yields = |held: &Held| is_reserved || !held.is_reserved;
        let evicted = self.evict(table, source, yields);
        let beyond = limits.connections + if is_reserved { limits.reserve } else { 0 };
        let has_room = evicted.is_some() || table.held.len() < beyond;
        has_room.then_some(()).ok_or(Refused::Full)
    }

    /// Ends one of these that is idle: of the source that has most, one that never was of use before one
    /// that was, the idlest first. A newcomer whose source has no less waits until it is settled, so that
    /// connecting again and again gains nothing.
    fn evict(&self, table: &mut Table, newcomer: IpAddr, of: impl Fn(&Held) -> bool) -> Option<()> {
        let idle = table.held.iter();
        let idle = idle.filter(|(_, held)| held.in_flight == 0 && of(held));
        let (id, held) = idle.min_by_key(|(id, held)| {
            let most_first = Reverse(table.of(held.source));
            (most_first, held.served, held.since, *id)
        })?;
        let has_more = table.of(held.source) > table.of(newcomer) && held.source != newcomer;
        if !has_more && held.since.elapsed() < SETTLED {
            return None;
        }
        let id = *id;
        table.remove(id)?.evicted.notify_one();
        self.count(Closed::Evicted);
        Some(())
    }

    fn count(&self, why: Closed) {
        self.closed[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it is held.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Refused ===

impl Refused {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Full, Self::Source];

    /// In metrics and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Source => "source",
        }
    }
}

// === impl Closed ===

impl Closed {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Evicted, Self::Opening, Self::Idle, Self::Overdue];

    /// In metrics and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Opening => "opening",
            Self::Idle => "idle",
            Self::Overdue => "overdue",
        }
    }
}

// === impl Slot ===

impl Slot {
    /// A request begins; it ends when what is returned is dropped.
    #[must_use]
    pub fn use_it(self: &Arc<Self>) -> InUse {
        self.change(|held| {
            held.in_flight += 1;
            held.served = true;
        });
        InUse(Arc::clone(self))
    }

    /// The limits of its listener.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.guard.limits
    }

    /// Completes when the connection is to be closed: it is too long in one state, or another needs
    /// its place.
    pub async fn over(&self) -> Closed {
        loop {
            let Some((until, why)) = self.deadline() else {
                return Closed::Evicted;
            };
            if until <= Instant::now() {
                self.guard.count(why);
                return why;
            }
            tokio::select! {
                () = self.evicted.notified() => return Closed::Evicted,
                () = sleep_until(until) => {}
            }
        }
    }

    /// Until when it may stay in its state. `None`: it was evicted.
    fn deadline(&self) -> Option<(Instant, Closed)> {
        let limits = &self.guard.limits;
        let table = self.guard.lock();
        let held = table.held.get(&self.id)?;
        Some(match (held.in_flight, held.served, limits.exchange) {
            (0, false, _) => (held.since + limits.opening, Closed::Opening),
            (0, true, _) => (held.since + limits.idle, Closed::Idle),
            (_, _, Some(exchange)) => (held.since + exchange, Closed::Overdue),
            // It may go on for ever: looked at again when it could be idle at the earliest.
            (_, _, None) => (Instant::now() + limits.idle, Closed::Idle),
        })
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        // One that was evicted is about to be closed.
        if let Some(held) = self.guard.lock().held.get_mut(&self.id) {
            change(held);
            held.since = Instant::now();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.guard.lock().remove(self.id);
    }
}

// === impl InUse ===

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.change(|held| held.in_flight -= 1);
    }
}

// === impl Table ===

impl Table {
    /// Connections of a source.
    fn of(&self, source: IpAddr) -> usize {
        self.of_source.get(&source).copied().unwrap_or(0)
    }

    fn remove(&mut self, id: u64) -> Option<Held> {
        let held = self.held.remove(&id)?;
        if let Some(count) = self.of_source.get_mut(&held.source) {
            *count -= 1;
            if *count == 0 {
                self.of_source.remove(&held.source);
            }
        }
        Some(held)
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests;
