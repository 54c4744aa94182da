//! The task that measures resources and sets how far actions are taken.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{Overload, SPARED};
use crate::{
    config::overload::{ActionKind, OverloadManager},
    stat_set,
    stats::{Registry, Scope, Within},
};

/// Before free memory is given back again, which stops all threads for a moment. Envoy's default.
const SHRINK_PERIOD: Duration = Duration::from_secs(10);
/// The monitor of connections, as statistics call it.
const CONNECTIONS: &str = "envoy.resource_monitors.global_downstream_max_connections";

stat_set! {
    /// `overload.<resource monitor>.*`
    struct PressureStats {
        /// How much of the resource is in use, in percent.
        pressure: Gauge,
        /// Times at which it could not be measured; of connections, those that were refused.
        failed_updates: Counter,
    }
}

stat_set! {
    /// `overload.<action>.*`
    struct ActionStats {
        /// 1 while the action is taken always.
        active: Gauge,
        /// How far it is taken, in percent.
        scale_percent: Gauge,
    }
}

stat_set! {
    /// `overload.envoy.overload_actions.shrink_heap.*`
    struct ShrinkStats {
        /// Times at which free memory was given back.
        shrink_count: Counter,
    }
}

/// The statistics of what is configured.
struct Stats {
    monitors: Vec<Arc<Within<PressureStats>>>,
    connections: Option<Arc<Within<PressureStats>>>,
    actions: Vec<Arc<Within<ActionStats>>>,
    shrinks: Arc<Within<ShrinkStats>>,
}

/// Measures until the process ends. `trim`: gives free memory back.
pub(crate) async fn keep(
    overload: Arc<Overload>,
    config: Arc<OverloadManager>,
    registry: Arc<Registry>,
    trim: Option<fn() -> bool>,
) {
    let stats = Stats::new(&config, &registry);
    let mut shrunk: Option<Instant> = None;
    loop {
        tokio::time::sleep(config.refresh_interval).await;
        let shrinks = update(&overload, &config, &stats);
        let is_due = shrunk.is_none_or(|shrunk| shrunk.elapsed() >= SHRINK_PERIOD);
        if shrinks
            && is_due
            && let Some(trim) = trim
        {
            trim();
            stats.shrinks.shrink_count.inc();
            shrunk = Some(Instant::now());
        }
    }
}

/// Measures, and sets how far each action is taken. True if memory is to be given back.
fn update(overload: &Overload, config: &OverloadManager, stats: &Stats) -> bool {
    let mut pressures = Vec::with_capacity(config.monitors.len());
    for (monitor, stats) in config.monitors.iter().zip(&stats.monitors) {
        let pressure = monitor.pressure();
        match pressure {
            Some(pressure) => stats.pressure.set((pressure * 100.0) as i64),
            None => stats.failed_updates.inc(),
        }
        pressures.push(pressure);
    }
    overload.spared.store(SPARED, Ordering::Relaxed);
    if let Some(stats) = &stats.connections {
        let refused = overload.refused.swap(0, Ordering::Relaxed);
        stats.failed_updates.add(refused);
    }
    let mut shrinks = false;
    for (action, stats) in config.actions.iter().zip(&stats.actions) {
        let extents = action.triggers.iter().map(|trigger| {
            // What cannot be measured is no pressure.
            let pressure = pressures.get(trigger.monitor).copied().flatten();
            trigger.extent(pressure.unwrap_or_default())
        });
        let extent = extents.fold(0.0, f64::max);
        overload.set(action.kind, extent);
        let is_active = extent >= 1.0;
        if stats.active.get() != i64::from(is_active) {
            let action = action.kind.name();
            match is_active {
                true => tracing::warn!(action, "overloaded"),
                false => tracing::info!(action, "no longer overloaded"),
            }
        }
        stats.active.set(i64::from(is_active));
        stats.scale_percent.set((extent * 100.0) as i64);
        shrinks |= is_active && action.kind == ActionKind::ShrinkHeap;
    }
    shrinks
}

// === impl Stats ===

impl Stats {
    fn new(config: &OverloadManager, registry: &Registry) -> Self {
        let scope = || Scope::process("overload");
        let pressure = |name: &str| {
            registry.register_within(scope(), format!("{name}."), PressureStats::default())
        };
        let monitors = config.monitors.iter();
        let actions = config.actions.iter().map(|action| {
            let prefix = format!("{}.", action.kind.name());
            registry.register_within(scope(), prefix, ActionStats::default())
        });
        let shrink_heap = format!("{}.", ActionKind::ShrinkHeap.name());
        Self {
            monitors: monitors.map(|monitor| pressure(monitor.name())).collect(),
            connections: config
                .max_active_downstream_connections
                .map(|_| pressure(CONNECTIONS)),
            actions: actions.collect(),
            shrinks: registry.register_within(scope(), shrink_heap, ShrinkStats::default()),
        }
    }
}
