//! Puts rules in force, proves them, and takes them out: the part that changes the machine.

mod error;
mod report;

use weir_api::{CaptureSpec, identity};
use weir_process::command::CommandError;

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

/// How the machine may be treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What to do in the machine's own network namespace.
    pub host_network: HostNetwork,
    /// Backends to be tried, in this order.
    pub backends: Vec<Backend>,
}

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
pub fn apply(spec: &CaptureSpec, options: &Options) -> Result<Report, ApplyError> {
    rules::check(spec)?;
    if options.host_network == HostNetwork::Refuse && host_network::is_initial_namespace() {
        return Err(ApplyError::HostNetwork);
    }
    let mut report = Report {
        families: Vec::new(),
    };
    let mut made = Vec::new();
    let mut unavailable = None;
    for family in Family::ALL {
        let presence = address::presence(family).map_err(ApplyError::Addresses)?;
        if !to_be_captured(family, presence) {
            report.families.push((family, Outcome::Absent));
            continue;
        }
        let mut undo = Undo::default();
        let outcome = match apply_family(spec, family, &options.backends, &mut undo) {
            // Nobody is reached in this family, so nothing gets past the sidecar by it.
            Err(error) if presence < Presence::Routable && error.is_unavailable() => {
                let outcome = Outcome::Unavailable(error.to_string());
                unavailable.get_or_insert(error);
                outcome
            }
            other => {
                let outcome = other?;
                made.push(undo);
                outcome
            }
        };
        report.families.push((family, outcome));
    }
    if !report.in_force() {
        return Err(unavailable.unwrap_or(ApplyError::NoLoopback));
    }
    made.into_iter().for_each(Undo::keep);
    Ok(report)
}

/// Where IPv6 is on loopback only it is switched off for everything else, and is left so: `::6`
/// on `lo` would make programs look up IPv6 addresses that they cannot reach.
fn to_be_captured(family: Family, presence: Presence) -> bool {
    match family {
        Family::V4 => presence > Presence::Absent,
        Family::V6 => presence > Presence::Loopback,
    }
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
        .any(|attempt| matches!(attempt.missing, Missing::Permission | Missing::RawSockets));
    if !asked || denied {
        return Err(ApplyError::Cleanup { attempts });
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

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            host_network: HostNetwork::Refuse,
            backends: Backend::ALL.to_vec(),
        }
    }
}

fn apply_family(
    spec: &CaptureSpec,
    family: Family,
    backends: &[Backend],
    undo: &mut Undo,
) -> Result<Outcome, ApplyError> {
    let rules = RuleSet::new(spec, family)?;
    if family == Family::V6 {
        let passthrough = identity::INBOUND_PASSTHROUGH_V6;
        undo.address = address::add_to_lo(passthrough).map_err(ApplyError::Lo)?;
    }
    let (tools, mut change) = put_in_force(&rules, family, backends)
        .map_err(|attempts| ApplyError::Backends { family, attempts })?;
    let backend = tools.backend();
    if change == Change::Made {
        undo.rules = Some(tools);
    }
    if remove_from_others(backend, family) {
        change = Change::Replaced;
    }
    if change != Change::Made {
        // Rules were there before: undoing would leave nothing.
        std::mem::take(undo).keep();
    }
    let unproven = |source| ApplyError::Proof {
        family,
        backend,
        change,
        source,
    };
    Ok(Outcome::InForce {
        backend,
        change,
        rules: rules.count(),
        inbound: verify::prove_inbound(spec, family).map_err(unproven)?,
        outbound: verify::prove_outbound(spec, family).map_err(unproven)?,
    })
}

/// The first backend that takes the rules has them.
fn put_in_force(
    rules: &RuleSet,
    family: Family,
    backends: &[Backend],
) -> Result<(Tools, Change), Vec<Attempt>> {
    let mut attempts = Vec::new();
    for backend in backends.iter().copied() {
        match Tools::find(backend, family) {
            Err(error) => attempts.push(Attempt::without_commands(backend, family, error)),
            Ok(tools) => match restore(&tools, rules) {
                Ok(change) => return Ok((tools, change)),
                Err(error) => attempts.push(Attempt::diagnosed(&tools, family, error)),
            },
        }
    }
    Err(attempts)
}

fn restore(tools: &Tools, rules: &RuleSet) -> Result<Change, CommandError> {
    let saved = tools.save()?;
    let Plan::Restore(text) = Plan::new(&saved, rules) else {
        return Ok(Change::None);
    };
    tools.restore(&text)?;
    Ok(if saved.has_ours() {
        Change::Replaced
    } else {
        Change::Made
    })
}

/// Rules an earlier run left in another backend would still act. They go last, so that at no
/// moment nothing is captured. Says whether there were any.
fn remove_from_others(chosen: Backend, family: Family) -> bool {
    let mut removed = false;
    for backend in Backend::ALL
        .into_iter()
        .filter(|backend| *backend != chosen)
    {
        let Ok(tools) = Tools::find(backend, family) else {
            continue;
        };
        match remove_from(&tools) {
            Ok(some) => removed |= some,
            // A backend the kernel does not have says no too; the proof tells one from the other.
            Err(error) => tracing::debug!(%backend, %family, %error, "cannot be cleaned"),
        }
    }
    removed
}

/// Whether there was anything to remove.
fn remove_from(tools: &Tools) -> Result<bool, CommandError> {
    if !tools.may_have_rules() {
        return Ok(false);
    }
    match Plan::removal(&tools.save()?) {
        Plan::Nothing => Ok(false),
        Plan::Restore(text) => tools.restore(&text).map(|()| true),
    }
}

/// What this run made in one family where there was nothing; taken out again when dropped.
#[derive(Default)]
struct Undo {
    rules: Option<Tools>,
    /// Whether `::6` was given to `lo`.
    address: bool,
}

// === impl Undo ===

impl Undo {
    /// All went well: what was made stays.
    fn keep(mut self) {
        self.rules = None;
        self.address = false;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.rules.take().map(|tools| remove_from(&tools)) {
            tracing::warn!(%error, "rules just made could not be removed again");
        }
        if self.address
            && let Err(error) = address::remove_from_lo(identity::INBOUND_PASSTHROUGH_V6)
        {
            tracing::warn!(%error, "::6 just added could not be taken from lo again");
        }
    }
}
