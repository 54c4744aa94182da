//! From a [`CaptureSpec`] to the rules of one family. No I/O: the same specification gives the
//! same rules everywhere.

use ipnet::IpNet;
use weir_api::{
    CaptureSpec,
    capture::{CaptureMode, InterfaceName, Selection},
    ports,
};

use crate::{
    family::Family,
    rule::{Chain, Hook, Match, Owner, Protocol, Rule, Target},
};

/// Rules of one family: chains of ours, and the jumps that reach them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSet {
    /// Jumps from the kernel's chains.
    pub jumps: Vec<(Hook, Rule)>,
    /// Every chain of ours with its rules in order, in the order of [`Chain::ALL`].
    pub chains: [(Chain, Vec<Rule>); 4],
}

/// A specification from which no rules are made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Known, but not built.
    #[error("capture mode tproxy is not supported yet; use redirect, or none to capture nothing")]
    Tproxy,
    /// There is nothing to make rules for.
    #[error("capture mode none makes no rules")]
    None,
    /// Two things on one port.
    #[error("{0} and {1} are both {2}; each needs a port of its own")]
    SamePort(&'static str, &'static str, u16),
    /// Nobody is let past.
    #[error(
        "no proxy user and no proxy group: the sidecar's own connections would be captured and \
         come back to it for ever; name the user the sidecar runs as"
    )]
    NoProxyIdentity,
    /// The number that the kernel takes for "unchanged" (setuid(2)), and nobody can have.
    #[error("{} is not a user or group id", u32::MAX)]
    InvalidId,
}

// === impl RuleSet ===

impl RuleSet {
    /// The rules that capture what `spec` says, in `family`.
    pub fn new(spec: &CaptureSpec, family: Family) -> Result<Self, SpecError> {
        check(spec)?;
        let builder = Builder { spec, family };
        Ok(Self {
            jumps: builder.jumps(),
            chains: [
                (Chain::Inbound, builder.inbound()),
                (Chain::InRedirect, vec![redirect(spec.inbound_port)]),
                (Chain::Output, builder.output()),
                (Chain::Redirect, vec![redirect(spec.outbound_port)]),
            ],
        })
    }

    /// How many rules, jumps included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.jumps.len()
            + self
                .chains
                .iter()
                .map(|(_, rules)| rules.len())
                .sum::<usize>()
    }
}

/// Whether rules can be made from `spec` at all.
pub fn check(spec: &CaptureSpec) -> Result<(), SpecError> {
    match spec.mode {
        CaptureMode::Redirect => {}
        CaptureMode::Tproxy => return Err(SpecError::Tproxy),
        CaptureMode::None => return Err(SpecError::None),
    }
    let ports = [
        ("the outbound port", spec.outbound_port),
        ("the inbound port", spec.inbound_port),
        ("the tunnel port", spec.tunnel_port),
    ];
    for (index, (name, port)) in ports.iter().enumerate() {
        if let Some((other, _)) = ports[..index].iter().find(|(_, earlier)| earlier == port) {
            return Err(SpecError::SamePort(other, name, *port));
        }
    }
    if spec.proxy_uids.is_empty() && spec.proxy_gids.is_empty() {
        return Err(SpecError::NoProxyIdentity);
    }
    if spec
        .proxy_uids
        .iter()
        .chain(&spec.proxy_gids)
        .any(|id| *id == u32::MAX)
    {
        return Err(SpecError::InvalidId);
    }
    Ok(())
}

fn redirect(port: u16) -> Rule {
    Rule::tcp(Target::RedirectTo(port))
}

struct Builder<'a> {
    spec: &'a CaptureSpec,
    family: Family,
}

// === impl Builder ===

impl Builder<'_> {
    /// Only TCP goes into our chains, so that nothing else costs more than one match.
    fn jumps(&self) -> Vec<(Hook, Rule)> {
        let inbound = match &self.spec.include_inbound_ports {
            Selection::Only(ports) if ports.is_empty() => None,
            _ => Some((Hook::Prerouting, Rule::tcp(Target::Jump(Chain::Inbound)))),
        };
        let outbound = (Hook::Output, Rule::tcp(Target::Jump(Chain::Output)));
        inbound.into_iter().chain([outbound]).collect()
    }

    fn inbound(&self) -> Vec<Rule> {
        let spec = self.spec;
        let mut rules: Vec<_> = unique(&spec.exclude_interfaces)
            .map(|interface| Rule {
                in_interface: Some(Match::Is(interface.clone())),
                ..Rule::any(Target::Return)
            })
            .collect();
        rules.push(Rule::tcp_port(spec.tunnel_port, Target::Return));
        match &spec.include_inbound_ports {
            Selection::All => {
                let left_alone = unique(&spec.exclude_inbound_ports);
                rules.extend(left_alone.map(|port| Rule::tcp_port(*port, Target::Return)));
                rules.push(Rule::tcp(Target::Jump(Chain::InRedirect)));
            }
            Selection::Only(ports) => {
                let target = Target::Jump(Chain::InRedirect);
                rules.extend(unique(ports).map(|port| Rule::tcp_port(*port, target)));
            }
        }
        rules
    }

    /// The order decides: the first rule that returns or redirects is the last one seen.
    fn output(&self) -> Vec<Rule> {
        let spec = self.spec;
        let mut rules = vec![self.probe()];
        rules.extend(unique(&spec.exclude_interfaces).map(outgoing));
        let excluded_ports = unique(&spec.exclude_outbound_ports);
        rules.extend(excluded_ports.map(|port| Rule::tcp_port(*port, Target::Return)));
        // From the inbound listener to the application: must not come back to that listener.
        rules.push(Rule {
            source: Some(Match::Is(self.family.inbound_passthrough().into())),
            ..outgoing(&lo())
        });
        let users = unique(&spec.proxy_uids).map(|id| Owner::User(*id));
        let groups = unique(&spec.proxy_gids).map(|id| Owner::Group(*id));
        rules.extend(users.chain(groups).flat_map(|owner| self.proxy(owner)));
        // The application to itself.
        rules.push(to(self.family.loopback().into(), Target::Return));
        let excluded = unique(&spec.exclude_outbound_cidrs).filter(|net| self.family.has(net));
        rules.extend(excluded.map(|net| to(*net, Target::Return)));
        let capture = Target::Jump(Chain::Redirect);
        let included_ports = unique(&spec.include_outbound_ports);
        rules.extend(included_ports.map(|port| Rule::tcp_port(*port, capture)));
        match &spec.include_outbound_cidrs {
            Selection::All => rules.push(Rule::any(capture)),
            Selection::Only(nets) => {
                let included = unique(nets).filter(|net| self.family.has(net));
                rules.extend(included.map(|net| to(*net, capture)));
            }
        }
        rules
    }

    /// Lets anyone prove the redirect: without it only the proxy's user could, and an init
    /// container that has `NET_ADMIN` and nothing else cannot become that user. First, so that
    /// no setting of the person's turns the proof off. Nothing listens on that port.
    fn probe(&self) -> Rule {
        Rule {
            destination: Some(Match::Is(self.family.inbound_passthrough().into())),
            out_interface: Some(Match::Is(lo())),
            ..Rule::tcp_port(ports::REDIRECT_PROBE, Target::Jump(Chain::InRedirect))
        }
    }

    fn proxy(&self, owner: Owner) -> Vec<Rule> {
        // The proxy calls its own pod through a Service: in again by the inbound listener.
        let to_own_pod = Rule {
            destination: Some(Match::Not(self.family.loopback().into())),
            out_interface: Some(Match::Is(lo())),
            protocol: Some(Protocol::Tcp),
            destination_port: Some(Match::Not(self.spec.tunnel_port)),
            owner: Some(Match::Is(owner)),
            ..Rule::any(Target::Jump(Chain::InRedirect))
        };
        // Whoever else calls over lo is the application calling itself.
        let application = Rule {
            owner: Some(Match::Not(owner)),
            ..outgoing(&lo())
        };
        let proxy = Rule {
            owner: Some(Match::Is(owner)),
            ..Rule::any(Target::Return)
        };
        let mut rules = vec![to_own_pod];
        if !self.captures_loopback() {
            rules.push(application);
        }
        rules.push(proxy);
        rules
    }

    fn captures_loopback(&self) -> bool {
        let Selection::Only(nets) = &self.spec.include_outbound_cidrs else {
            return false;
        };
        nets.iter()
            .any(|net| self.family.has(net) && net.addr().is_loopback())
    }
}

fn outgoing(interface: &InterfaceName) -> Rule {
    Rule {
        out_interface: Some(Match::Is(interface.clone())),
        ..Rule::any(Target::Return)
    }
}

/// A destination of prefix length 0 is every destination, which is written as no match.
fn to(net: IpNet, target: Target) -> Rule {
    let destination = (net.prefix_len() > 0).then_some(Match::Is(net));
    Rule {
        destination,
        ..Rule::any(target)
    }
}

fn lo() -> InterfaceName {
    InterfaceName::try_from("lo".to_owned()).expect("lo is a valid interface name")
}

/// The elements, each where it is first named.
fn unique<T: PartialEq>(elements: &[T]) -> impl Iterator<Item = &T> {
    let first = |(index, element): &(usize, &T)| !elements[..*index].contains(element);
    elements
        .iter()
        .enumerate()
        .filter(first)
        .map(|(_, element)| element)
}
