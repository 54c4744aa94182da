//! From the rules in force and the rules wanted to the text of one `iptables-restore --noflush`.
//!
//! Within a table the kernel takes the whole text or none of it. Chains of ours are emptied and
//! filled anew, what others made stays where it is.

use std::fmt::{self, Write};

use crate::{
    rule::{Chain, Rule},
    rules::RuleSet,
    saved::{Saved, SavedRule, SavedTable},
};

/// The table our rules are in.
pub const TABLE: &str = "nat";

/// What must be done so that exactly the wanted rules are in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// They are.
    Nothing,
    /// This text is to be fed to `iptables-restore --noflush`.
    Restore(String),
}

// === impl Plan ===

impl Plan {
    /// Compares the rules in force with `wanted`, order included.
    #[must_use]
    pub fn new(saved: &Saved, wanted: &RuleSet) -> Self {
        let elsewhere = saved
            .tables
            .iter()
            .any(|table| table.name != TABLE && table.has_ours());
        let empty = empty_table();
        let nat = saved.table(TABLE).unwrap_or(&empty);
        if !elsewhere && same_chains(nat, wanted) && same_jumps(nat, wanted) {
            return Self::Nothing;
        }
        let mut text = restore_text(nat, wanted);
        for table in saved
            .tables
            .iter()
            .filter(|table| table.name != TABLE && table.has_ours())
        {
            text.push_str(&removal_text(table));
        }
        Self::Restore(text)
    }

    /// Removes everything of ours.
    #[must_use]
    pub fn removal(saved: &Saved) -> Self {
        if !saved.has_ours() {
            return Self::Nothing;
        }
        let tables = saved.tables.iter().filter(|table| table.has_ours());
        Self::Restore(tables.map(removal_text).collect())
    }
}

impl fmt::Display for RuleSet {
    /// The text that puts these rules in force where nothing of ours is yet.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&restore_text(&empty_table(), self))
    }
}

fn empty_table() -> SavedTable {
    SavedTable {
        name: TABLE.to_owned(),
        chains: Vec::new(),
    }
}

fn same_chains(nat: &SavedTable, wanted: &RuleSet) -> bool {
    let is_same = |(chain, rules): &(Chain, Vec<Rule>)| {
        let own = nat.own_chains().find(|own| own.name == chain.name());
        own.is_some_and(|own| {
            own.rules
                .iter()
                .map(SavedRule::rule)
                .eq(rules.iter().cloned().map(Some))
        })
    };
    nat.own_chains().count() == wanted.chains.len() && wanted.chains.iter().all(is_same)
}

fn same_jumps(nat: &SavedTable, wanted: &RuleSet) -> bool {
    nat.jumps().count() == wanted.jumps.len() && missing_jumps(nat, wanted).next().is_none()
}

fn missing_jumps<'a>(
    nat: &'a SavedTable,
    wanted: &'a RuleSet,
) -> impl Iterator<Item = String> + 'a {
    let missing = wanted.jumps.iter().filter(|(hook, jump)| {
        !nat.jumps()
            .any(|(chain, rule)| chain == hook.name() && rule.rule().as_ref() == Some(jump))
    });
    missing.map(|(hook, jump)| format!("-A {} {jump}", hook.name()))
}

/// Jumps that are not wanted, or are there more than once. One that is wanted keeps its place.
fn surplus_jumps(nat: &SavedTable, wanted: &RuleSet) -> Vec<String> {
    let mut expected: Vec<_> = wanted.jumps.iter().collect();
    let mut surplus = Vec::new();
    for (chain, rule) in nat.jumps() {
        let parsed = rule.rule();
        let known = expected
            .iter()
            .position(|(hook, jump)| hook.name() == chain && parsed.as_ref() == Some(jump));
        match known {
            Some(index) => drop(expected.swap_remove(index)),
            None => surplus.push(format!("-D {chain} {}", rule.text)),
        }
    }
    surplus
}

/// A declared chain is made, or emptied if it is there.
fn restore_text(nat: &SavedTable, wanted: &RuleSet) -> String {
    let stale = || {
        nat.own_chains()
            .filter(|chain| Chain::from_name(&chain.name).is_none())
    };
    let declared = Chain::ALL.iter().map(|chain| chain.name());
    let declarations = declared
        .chain(stale().map(|chain| chain.name.as_str()))
        .map(|chain| format!(":{chain} - [0:0]"));
    let rules = wanted.chains.iter().flat_map(|(chain, rules)| {
        rules
            .iter()
            .map(|rule| format!("-A {} {rule}", chain.name()))
    });
    let removals = stale().map(|chain| format!("-X {}", chain.name));
    let lines = declarations
        .chain(surplus_jumps(nat, wanted))
        .chain(missing_jumps(nat, wanted))
        .chain(rules)
        .chain(removals);
    table_text(TABLE, lines)
}

fn removal_text(table: &SavedTable) -> String {
    let own = || table.own_chains().map(|chain| chain.name.as_str());
    let flushes = own().map(|chain| format!("-F {chain}"));
    let jumps = table
        .jumps()
        .map(|(chain, rule)| format!("-D {chain} {}", rule.text));
    let removals = own().map(|chain| format!("-X {chain}"));
    table_text(&table.name, flushes.chain(jumps).chain(removals))
}

fn table_text(name: &str, lines: impl Iterator<Item = String>) -> String {
    let mut text = format!("*{name}\n");
    for line in lines {
        writeln!(text, "{line}").expect("writing to a string does not fail");
    }
    text.push_str("COMMIT\n");
    text
}
