//! Reads what `iptables-save` printed: the rules in force.

use crate::rule::{OWN_PREFIX, Rule};

/// Everything in force in one family and one backend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saved {
    /// Tables in the order of the text.
    pub tables: Vec<SavedTable>,
}

/// A table in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedTable {
    /// Such as `nat`.
    pub name: String,
    /// Chains in the order of the text.
    pub chains: Vec<SavedChain>,
}

/// A chain in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedChain {
    /// Such as `OUTPUT`.
    pub name: String,
    /// Rules in order.
    pub rules: Vec<SavedRule>,
}

/// A rule in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedRule {
    /// Its arguments as printed, without `-A CHAIN`.
    pub text: String,
}

// === impl Saved ===

impl Saved {
    /// Reads the text. Whatever it does not know it passes over: what is in force need not be ours,
    /// and a later version may print more.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut saved = Self::default();
        for line in text.lines() {
            saved.read_line(line.trim());
        }
        saved
    }

    fn read_line(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix('*') {
            self.tables.push(SavedTable {
                name: name.trim().to_owned(),
                chains: Vec::new(),
            });
            return;
        }
        let Some(table) = self.tables.last_mut() else {
            return;
        };
        if let Some(chain) = line.strip_prefix(':') {
            if let Some(name) = chain.split_ascii_whitespace().next() {
                table.chain(name);
            }
            return;
        }
        // With counters a rule reads "[packets:bytes] -A ...".
        let rule = match line.split_once("] ") {
            Some((counters, rule)) if counters.starts_with('[') => rule,
            _ => line,
        };
        if let Some(rule) = rule.strip_prefix("-A ") {
            let (chain, text) = rule.split_once(' ').unwrap_or((rule, ""));
            table.chain(chain).rules.push(SavedRule {
                text: text.trim().to_owned(),
            });
        }
    }

    /// Whether anything of ours is in force.
    #[must_use]
    pub fn has_ours(&self) -> bool {
        self.tables.iter().any(SavedTable::has_ours)
    }

    /// The table of that name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&SavedTable> {
        self.tables.iter().find(|table| table.name == name)
    }
}

// === impl SavedTable ===

impl SavedTable {
    /// A rule names a chain only after the chain was declared; should that not be so, it is made.
    fn chain(&mut self, name: &str) -> &mut SavedChain {
        let known = self.chains.iter().position(|chain| chain.name == name);
        let index = known.unwrap_or_else(|| {
            self.chains.push(SavedChain {
                name: name.to_owned(),
                rules: Vec::new(),
            });
            self.chains.len() - 1
        });
        &mut self.chains[index]
    }

    /// Whether anything of ours is in it.
    #[must_use]
    pub fn has_ours(&self) -> bool {
        self.own_chains().next().is_some() || self.jumps().next().is_some()
    }

    /// Chains of ours, of this version or another.
    pub fn own_chains(&self) -> impl Iterator<Item = &SavedChain> {
        self.chains.iter().filter(|chain| chain.is_ours())
    }

    /// Rules outside our chains that lead into one, each with the name of the chain it is in.
    pub fn jumps(&self) -> impl Iterator<Item = (&str, &SavedRule)> {
        let foreign = self.chains.iter().filter(|chain| !chain.is_ours());
        foreign.flat_map(|chain| {
            let jumps = chain.rules.iter().filter(|rule| rule.leads_to_ours());
            jumps.map(|rule| (chain.name.as_str(), rule))
        })
    }
}

// === impl SavedChain ===

impl SavedChain {
    fn is_ours(&self) -> bool {
        self.name.starts_with(OWN_PREFIX)
    }
}

// === impl SavedRule ===

impl SavedRule {
    /// The rule, if it is one that capture could have written.
    #[must_use]
    pub fn rule(&self) -> Option<Rule> {
        self.text.parse().ok()
    }

    fn leads_to_ours(&self) -> bool {
        let words = words(&self.text);
        let mut pairs = words.windows(2);
        pairs.any(|pair| matches!(pair[0], "-j" | "-g") && pair[1].starts_with(OWN_PREFIX))
    }
}

/// Words of a rule, a quoted string (such as a comment) being one word with its quotes.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut quoted, mut escaped) = (None, false, false);
    for (index, character) in text.char_indices() {
        if character.is_ascii_whitespace() && !quoted {
            words.extend(start.take().map(|start: usize| &text[start..index]));
            continue;
        }
        start.get_or_insert(index);
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
    }
    words.extend(start.map(|start| &text[start..]));
    words
}
