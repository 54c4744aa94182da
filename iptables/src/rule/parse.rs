//! Reads a [`Rule`] back. What this does not know is not a rule of ours as we would write it, and
//! so is not read as one.

use std::str::FromStr;

use ipnet::IpNet;
use weir_api::capture::InterfaceName;

use super::{Chain, Match, Owner, Protocol, Rule, Target};

/// A rule with a match or a target that capture never writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a capture rule: {0:?} is not understood")]
pub struct UnknownRule(pub String);

impl FromStr for Rule {
    type Err = UnknownRule;

    /// Reads the arguments of `iptables -A CHAIN`, in any order.
    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        let mut words = Words(text.split_ascii_whitespace());
        let mut rule = Self::any(Target::Return);
        let mut target = None;
        while let Some(word) = words.0.next() {
            let (negated, option) = match word {
                "!" => (true, words.value("!")?),
                option => (false, option),
            };
            let value = words.value(option)?;
            match (option, negated) {
                ("-s", _) => set(&mut rule.source, value, negated, net)?,
                ("-d", _) => set(&mut rule.destination, value, negated, net)?,
                ("-i", _) => set(&mut rule.in_interface, value, negated, interface)?,
                ("-o", _) => set(&mut rule.out_interface, value, negated, interface)?,
                ("--dport", _) => set(&mut rule.destination_port, value, negated, number)?,
                ("--uid-owner", _) => set(&mut rule.owner, value, negated, |text| {
                    number(text).map(Owner::User)
                })?,
                ("--gid-owner", _) => set(&mut rule.owner, value, negated, |text| {
                    number(text).map(Owner::Group)
                })?,
                ("-p", false) if matches!(value, "tcp" | "6") => {
                    rule.protocol = Some(Protocol::Tcp);
                }
                ("-m", false) if matches!(value, "tcp" | "owner") => {}
                ("-j", false) => target = Some(value),
                ("--to-ports", false) if target == Some("REDIRECT") => {
                    let port = number(value).ok_or_else(|| UnknownRule(value.to_owned()))?;
                    rule.target = Target::RedirectTo(port);
                }
                _ => return Err(UnknownRule(option.to_owned())),
            }
        }
        rule.target = match target {
            Some("RETURN") => Target::Return,
            Some("REDIRECT") if matches!(rule.target, Target::RedirectTo(_)) => rule.target,
            Some(name) => Chain::from_name(name)
                .map(Target::Jump)
                .ok_or_else(|| UnknownRule(name.to_owned()))?,
            None => return Err(UnknownRule(text.to_owned())),
        };
        rule.without_empty_matches()
    }
}

impl Rule {
    /// `-s 0.0.0.0/0` says nothing, and `iptables-save` leaves it out; `! -s 0.0.0.0/0` never holds.
    fn without_empty_matches(mut self) -> Result<Self, UnknownRule> {
        for place in [&mut self.source, &mut self.destination] {
            match place {
                Some(Match::Is(net)) if net.prefix_len() == 0 => *place = None,
                Some(Match::Not(net)) if net.prefix_len() == 0 => {
                    return Err(UnknownRule(format!("! {net}")));
                }
                _ => {}
            }
        }
        Ok(self)
    }
}

struct Words<'a>(std::str::SplitAsciiWhitespace<'a>);

impl<'a> Words<'a> {
    fn value(&mut self, option: &str) -> Result<&'a str, UnknownRule> {
        self.0.next().ok_or_else(|| UnknownRule(option.to_owned()))
    }
}

/// Fills a place once; a second match of the same kind is a rule we never write.
fn set<T>(
    place: &mut Option<Match<T>>,
    text: &str,
    negated: bool,
    read: impl Fn(&str) -> Option<T>,
) -> Result<(), UnknownRule> {
    let unknown = || UnknownRule(text.to_owned());
    let value = read(text).ok_or_else(unknown)?;
    let value = if negated {
        Match::Not(value)
    } else {
        Match::Is(value)
    };
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(unknown()),
    }
}

fn net(text: &str) -> Option<IpNet> {
    let address = || {
        text.parse()
            .ok()
            .map(|address: std::net::IpAddr| address.into())
    };
    text.parse()
        .ok()
        .or_else(address)
        .map(|net: IpNet| net.trunc())
}

fn interface(text: &str) -> Option<InterfaceName> {
    InterfaceName::try_from(text.to_owned()).ok()
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}
