//! What a rule set does with a packet, by going through the rules as the kernel does.

use std::net::IpAddr;

use proptest::prelude::*;
use weir_iptables::{
    Family, RuleSet,
    rule::{Chain, Hook, Match, Owner, Rule, Target},
};

use crate::any::{any_address, any_port};

/// First packet of a TCP connection.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) destination_port: u16,
    pub(crate) in_interface: &'static str,
    pub(crate) out_interface: &'static str,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Untouched,
    Redirected(u16),
}

pub(crate) fn any_packet() -> impl Strategy<Value = Packet> {
    (any_address(), any_port()).prop_map(|(destination, destination_port)| Packet {
        source: destination,
        destination,
        destination_port,
        in_interface: "",
        out_interface: "",
        uid: 0,
        gid: 0,
    })
}

pub(crate) fn verdict(rules: &RuleSet, hook: Hook, packet: &Packet) -> Verdict {
    let jumps = rules
        .jumps
        .iter()
        .filter(|(from, _)| *from == hook)
        .map(|(_, rule)| rule);
    walk(rules, jumps, packet).unwrap_or(Verdict::Untouched)
}

/// None where the chain returns.
fn walk<'a>(
    rules: &RuleSet,
    chain: impl Iterator<Item = &'a Rule>,
    packet: &Packet,
) -> Option<Verdict> {
    for rule in chain.filter(|rule| packet.matches(rule)) {
        match rule.target {
            Target::Return => return None,
            Target::RedirectTo(port) => return Some(Verdict::Redirected(port)),
            Target::Jump(chain) => {
                let verdict = walk(rules, in_chain(rules, chain), packet);
                if verdict.is_some() {
                    return verdict;
                }
            }
        }
    }
    None
}

fn in_chain(rules: &RuleSet, name: Chain) -> std::slice::Iter<'_, Rule> {
    let (_, rules) = rules
        .chains
        .iter()
        .find(|(chain, _)| *chain == name)
        .expect("chain");
    rules.iter()
}

impl Packet {
    /// The same in `family`: an address of the other is replaced.
    pub(crate) fn of(mut self, family: Family) -> Self {
        if Family::of(self.destination) != family {
            let other = match family {
                Family::V4 => "10.1.2.3",
                Family::V6 => "2001:db8:1::3",
            };
            self.destination = other.parse().expect("address");
            self.source = self.destination;
        }
        self
    }

    fn matches(&self, rule: &Rule) -> bool {
        holds(rule.source.as_ref(), |net| net.contains(&self.source))
            && holds(rule.destination.as_ref(), |net| {
                net.contains(&self.destination)
            })
            && holds(rule.in_interface.as_ref(), |name| {
                name.as_str() == self.in_interface
            })
            && holds(rule.out_interface.as_ref(), |name| {
                name.as_str() == self.out_interface
            })
            && holds(rule.destination_port.as_ref(), |port| {
                *port == self.destination_port
            })
            && holds(rule.owner.as_ref(), |owner| match owner {
                Owner::User(uid) => *uid == self.uid,
                Owner::Group(gid) => *gid == self.gid,
            })
    }
}

fn holds<T>(expected: Option<&Match<T>>, found: impl Fn(&T) -> bool) -> bool {
    match expected {
        None => true,
        Some(Match::Is(value)) => found(value),
        Some(Match::Not(value)) => !found(value),
    }
}
