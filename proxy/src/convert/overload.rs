//! The overload manager.

use std::time::Duration;

use weir_api::xds::{
    codec,
    envoy::{
        config::overload::v3::{self as pb, resource_monitor::ConfigType, trigger::TriggerOneof},
        extensions::resource_monitors::{
            cgroup_memory::v3::CgroupMemoryConfig,
            downstream_connections::v3::DownstreamConnectionsConfig,
            fixed_heap::v3::FixedHeapConfig,
        },
    },
};

use super::{
    at::{At, take},
    value::{positive_duration, type_name, unpack},
};
use crate::config::overload::{
    ActionKind, OverloadAction, OverloadManager, ResourceMonitor, Trigger,
};

/// Envoy's default.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// The monitor that bounds connections, which no action refers to.
const CONNECTIONS: &str = "envoy.resource_monitors.global_downstream_max_connections";

pub(super) fn overload_manager(at: &At<'_>, message: pb::OverloadManager) -> OverloadManager {
    take!(at, message => pb::OverloadManager {
        supported: refresh_interval, resource_monitors, actions;
        refused: loadshed_points, buffer_factory_config;
    });
    let mut manager = OverloadManager {
        refresh_interval: positive_duration(&at.field("refresh_interval"), refresh_interval)
            .unwrap_or(REFRESH_INTERVAL),
        monitors: Vec::new(),
        max_active_downstream_connections: None,
        actions: Vec::new(),
    };
    if resource_monitors.is_empty() {
        at.field("resource_monitors")
            .error("at least one is required");
    }
    for (index, message) in resource_monitors.into_iter().enumerate() {
        monitor(
            &at.field("resource_monitors").index(index),
            message,
            &mut manager,
        );
    }
    for (index, message) in actions.into_iter().enumerate() {
        let at_actions = at.field("actions");
        let at = at_actions.index(index);
        if let Some(action) = action(&at, message, &manager.monitors) {
            if manager
                .actions
                .iter()
                .any(|known| known.kind == action.kind)
            {
                at.field("name").error("appears more than once");
            }
            manager.actions.push(action);
        }
    }
    manager
}

fn monitor(at: &At<'_>, message: pb::ResourceMonitor, manager: &mut OverloadManager) {
    take!(at, message => pb::ResourceMonitor { supported: name, config_type; });
    let at_config = at.field("typed_config");
    let Some(ConfigType::TypedConfig(any)) = at_config.required(config_type) else {
        return;
    };
    let monitor = match type_name(&any) {
        "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig" => {
            unpack(&at_config, &any, codec::unpack_fixed_heap)
                .and_then(|message| fixed_heap(&at_config, message))
        }
        "envoy.extensions.resource_monitors.cgroup_memory.v3.CgroupMemoryConfig" => {
            let message = unpack(&at_config, &any, codec::unpack_cgroup_memory);
            message.map(|message| cgroup_memory(&at_config, message))
        }
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig" =>
        {
            let message = unpack(&at_config, &any, codec::unpack_downstream_connections);
            named(at, &name, CONNECTIONS);
            if let Some(message) = message {
                manager.max_active_downstream_connections = connections(&at_config, message);
            }
            return;
        }
        other => {
            at_config.unsupported(format!("resource monitor {other}"));
            return;
        }
    };
    if let Some(monitor) = monitor {
        named(at, &name, monitor.name());
        if manager
            .monitors
            .iter()
            .any(|known| known.name() == monitor.name())
        {
            at.field("name").error("appears more than once");
        }
        manager.monitors.push(monitor);
    }
}

/// Triggers and statistics go by the name, and Envoy finds the monitor by it.
fn named(at: &At<'_>, name: &str, expected: &str) {
    if name != expected {
        at.field("name").error(format!("must be {expected}"));
    }
}

fn fixed_heap(at: &At<'_>, message: FixedHeapConfig) -> Option<ResourceMonitor> {
    take!(at, message => FixedHeapConfig {
        supported: max_heap_size_bytes;
        refused: max_heap_size_bytes_runtime;
    });
    if max_heap_size_bytes == 0 {
        at.field("max_heap_size_bytes")
            .error("must be greater than 0");
        return None;
    }
    Some(ResourceMonitor::FixedHeap(max_heap_size_bytes))
}

fn cgroup_memory(at: &At<'_>, message: CgroupMemoryConfig) -> ResourceMonitor {
    take!(at, message => CgroupMemoryConfig { supported: max_memory_bytes; });
    ResourceMonitor::CgroupMemory(Some(max_memory_bytes).filter(|most| *most > 0))
}

fn connections(at: &At<'_>, message: DownstreamConnectionsConfig) -> Option<u64> {
    take!(at, message => DownstreamConnectionsConfig { supported: max_active_downstream_connections; });
    let most = u64::try_from(max_active_downstream_connections)
        .ok()
        .filter(|most| *most > 0);
    if most.is_none() {
        at.field("max_active_downstream_connections")
            .error("must be greater than 0");
    }
    most
}

fn action(
    at: &At<'_>,
    message: pb::OverloadAction,
    monitors: &[ResourceMonitor],
) -> Option<OverloadAction> {
    take!(at, message => pb::OverloadAction {
        supported: name, triggers;
        refused: typed_config;
    });
    let kind = ActionKind::ALL.into_iter().find(|kind| kind.name() == name);
    if kind.is_none() {
        at.field("name").unsupported(name);
    }
    if triggers.is_empty() {
        at.field("triggers").error("at least one is required");
    }
    let at = at.field("triggers");
    let triggers = triggers.into_iter().enumerate();
    let triggers =
        triggers.filter_map(|(index, message)| trigger(&at.index(index), message, monitors));
    Some(OverloadAction {
        triggers: triggers.collect(),
        kind: kind?,
    })
}

fn trigger(at: &At<'_>, message: pb::Trigger, monitors: &[ResourceMonitor]) -> Option<Trigger> {
    take!(at, message => pb::Trigger { supported: name, trigger_oneof; });
    let monitor = monitors.iter().position(|monitor| monitor.name() == name);
    if monitor.is_none() {
        at.field("name").error(format!(
            "{name:?} is no resource monitor that actions can have"
        ));
    }
    let share = |at: &At<'_>, name: &str, value: f64| {
        if !(0.0..=1.0).contains(&value) {
            at.field(name).error("must be from 0 to 1");
        }
        value
    };
    let (scaling, saturation) = match at.field("threshold").required(trigger_oneof)? {
        TriggerOneof::Threshold(message) => {
            take!(at, message => pb::ThresholdTrigger { supported: value; });
            let value = share(&at.field("threshold"), "value", value);
            (value, value)
        }
        TriggerOneof::Scaled(message) => {
            let at = at.field("scaled");
            take!(at, message => pb::ScaledTrigger {
                supported: scaling_threshold, saturation_threshold;
            });
            if scaling_threshold >= saturation_threshold {
                at.field("scaling_threshold")
                    .error("must be less than saturation_threshold");
            }
            (
                share(&at, "scaling_threshold", scaling_threshold),
                share(&at, "saturation_threshold", saturation_threshold),
            )
        }
    };
    Some(Trigger {
        monitor: monitor?,
        scaling,
        saturation,
    })
}
