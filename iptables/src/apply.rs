//! Puts rules in force, proves them, and takes them out: the part that changes the machine.

mod error;
mod report;

use std::io;

use weir_api::{CaptureSpec, identity};

pub use error::ApplyError;
pub use report::{Change, Cleaned, Outcome, Report};

use crate::{
    address::{self, Presence},
    backend::{Backend, Tools},
    diagnose::{Attempt, Missing},
    family::Family,
    host_network,
    rules::{self, RuleSet},
    transaction::Plan,
    verify,
};

/// What to do in the machine's own network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostNetwork {
    /// Refuse: capture would take the traffic of the whole machine.
    Refuse,
    /// Go on: the machine is the pod, as with a virtual machine for each pod.
    Allow,
}

/// Makes the rules of `spec` the ones in force in this network namespace, in both families where
/// both exist, and proves them. Changes nothing where they are in force already. What failed half
/// way is undone, unless rules of ours were there before: to take those out would let traffic
/// past the sidecar.
pub fn apply(spec: &CaptureSpec, host_network: HostNetwork) -> Result<Report, ApplyError> {
    rules::check(spec)?;
    if host_network == HostNetwork::Refuse && host_network::is_initial_namespace() {
        return Err(ApplyError::HostNetwork);
    }
    let mut undo = Undo(Vec::new());
    let mut report = Report {
        families: Vec::new(),
    };
    let mut unavailable = None;
    for family in Family::ALL {
        let presence = address::presence(family).map_err(ApplyError::Addresses)?;
        let outcome = match presence {
            Presence::Absent => Outcome::Absent,
            _ => match apply_family(spec, family, &mut undo) {
                // Nobody is reached in this family, so nothing gets past the sidecar by it.
                Err(error) if presence == Presence::Local && error.is_unavailable() => {
                    let outcome = Outcome::Unavailable(error.to_string());
                    unavailable.get_or_insert(error);
                    outcome
                }
                other => other?,
            },
        };
        report.families.push((family, outcome));
    }
    if !report.in_force() {
        return Err(unavailable.unwrap_or(ApplyError::NoLoopback));
    }
    undo.0.clear();
    Ok(report)
}

/// Removes everything of ours from this network namespace, in both backends and both families.
pub fn cleanup() -> Result<Cleaned, ApplyError> {
    let mut cleaned = Cleaned::default();
    let mut attempts = Vec::new();
    let mut asked = false;
    for family in Family::ALL {
        for backend in Backend::ALL {
            let tools = match Tools::find(backend, family) {
                Ok(tools) => tools,
                Err(error) => {
                    attempts.push(Attempt::without_commands(backend, family, error));
                    continue;
                }
            };
            asked = true;
            match remove_from(&tools) {
                Ok(true) => cleaned.removed.push((family, backend)),
                Ok(false) => {}
                Err(error) => attempts.push(Attempt::diagnosed(&tools, family, error)),
            }
        }
    }
    let denied = attempts
        .iter()
        .any(|attempt| attempt.missing == Missing::Permission);
    if !asked || denied {
        return Err(ApplyError::cleanup(attempts));
    }
    for attempt in attempts {
        tracing::debug!(%attempt, "a backend that cannot be asked holds no rules");
    }
    if cleaned
        .removed
        .iter()
        .any(|(family, _)| *family == Family::V6)
    {
        address::remove_from_lo(identity::INBOUND_PASSTHROUGH_V6).map_err(ApplyError::Lo)?;
    }
    Ok(cleaned)
}

fn apply_family(
    spec: &CaptureSpec,
    family: Family,
    undo: &mut Undo,
) -> Result<Outcome, ApplyError> {
    let rules = RuleSet::new(spec, family)?;
    let (tools, change) =
        put_in_force(&rules, family).map_err(|attempts| ApplyError::backends(family, attempts))?;
    if change == Change::Made {
        undo.0.push((family, tools.clone()));
    }
    if family == Family::V6 {
        address::add_to_lo(identity::INBOUND_PASSTHROUGH_V6).map_err(ApplyError::Lo)?;
    }
    let backend = tools.backend();
    let replaced_other = remove_from_others(&tools, family)?;
    let unproven = |source| ApplyError::proof(family, backend, change, source);
    Ok(Outcome::InForce {
        backend,
        change: if replaced_other {
            Change::Replaced
        } else {
            change
        },
        rules: rules.count(),
        inbound: verify::prove_inbound(spec, family).map_err(unproven)?,
        outbound: verify::prove_outbound(spec, family).map_err(unproven)?,
    })
}

/// The first backend that takes the rules has them.
fn put_in_force(rules: &RuleSet, family: Family) -> Result<(Tools, Change), Vec<Attempt>> {
    let mut attempts = Vec::new();
    for backend in Backend::ALL {
        let tools = match Tools::find(backend, family) {
            Ok(tools) => tools,
            Err(error) => {
                attempts.push(Attempt::without_commands(backend, family, error));
                continue;
            }
        };
        let changed = tools.save().and_then(|saved| {
            let change = match Plan::new(&saved, rules) {
                Plan::Nothing => return Ok(Change::None),
                Plan::Restore(_) if saved.has_ours() => Change::Replaced,
                Plan::Restore(_) => Change::Made,
            };
            if let Plan::Restore(text) = Plan::new(&saved, rules) {
                tools.restore(&text)?;
            }
            Ok(change)
        });
        match changed {
            Ok(change) => return Ok((tools, change)),
            Err(error) => attempts.push(Attempt::diagnosed(&tools, family, error)),
        }
    }
    Err(attempts)
}

/// Rules an earlier run left in another backend would still act. They go last, so that at no
/// moment nothing is captured.
fn remove_from_others(chosen: &Tools, family: Family) -> Result<bool, ApplyError> {
    let mut removed = false;
    for backend in Backend::ALL
        .into_iter()
        .filter(|backend| *backend != chosen.backend())
    {
        let Ok(tools) = Tools::find(backend, family) else {
            continue;
        };
        match remove_from(&tools) {
            Ok(some) => removed |= some,
            Err(error) => tracing::debug!(%backend, %error, "the other backend cannot be asked"),
        }
    }
    Ok(removed)
}

/// Whether there was anything to remove.
fn remove_from(tools: &Tools) -> Result<bool, crate::command::CommandError> {
    if !tools.may_have_rules() {
        return Ok(false);
    }
    match Plan::removal(&tools.save()?) {
        Plan::Nothing => Ok(false),
        Plan::Restore(text) => tools.restore(&text).map(|()| true),
    }
}

/// Rules made by this run where there were none before; taken out again when dropped.
struct Undo(Vec<(Family, Tools)>);

// === impl Undo ===

impl Drop for Undo {
    fn drop(&mut self) {
        for (family, tools) in self.0.drain(..) {
            if let Err(error) = remove_from(&tools) {
                tracing::warn!(%family, %error, "rules just made could not be removed");
            }
            if family == Family::V6 {
                let removed: io::Result<()> =
                    address::remove_from_lo(identity::INBOUND_PASSTHROUGH_V6);
                if let Err(error) = removed {
                    tracing::warn!(%error, "::6 could not be removed from lo");
                }
            }
        }
    }
}
