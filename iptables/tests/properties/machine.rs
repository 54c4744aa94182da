//! A model of `iptables-restore --noflush`, strict about what the real one is strict about.

use weir_iptables::saved::{Saved, SavedChain, SavedRule, SavedTable};

/// The state after `text` was fed to a machine in the state `before`.
pub(crate) fn restored(before: &Saved, text: &str) -> Saved {
    let mut after = before.clone();
    let mut table = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name.to_owned();
            if after.table(name).is_none() {
                after.tables.push(SavedTable {
                    name: table.clone(),
                    chains: Vec::new(),
                });
            }
            continue;
        }
        let current = after
            .tables
            .iter_mut()
            .find(|known| known.name == table)
            .expect("table");
        step(&mut current.chains, line);
    }
    after
}

/// Everything that is not ours, with its place.
pub(crate) fn foreign(saved: &Saved) -> Vec<(String, String, Vec<String>)> {
    let mut foreign = Vec::new();
    for table in &saved.tables {
        for chain in table
            .chains
            .iter()
            .filter(|chain| !chain.name.starts_with("WEIR_"))
        {
            let into_ours = |rule: &&SavedRule| {
                !["-j WEIR_", "-g WEIR_"]
                    .iter()
                    .any(|jump| rule.text.contains(jump) && !rule.text.contains("--comment"))
            };
            let rules = chain.rules.iter().filter(into_ours);
            let rules: Vec<_> = rules.map(|rule| rule.text.clone()).collect();
            // The kernel's own chains appear once they are used.
            if !rules.is_empty() {
                foreign.push((table.name.clone(), chain.name.clone(), rules));
            }
        }
    }
    foreign
}

fn step(chains: &mut Vec<SavedChain>, line: &str) {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
    match command {
        "-A" => {
            assert!(text.split("-j ").nth(1).is_some(), "{line}: no target");
            find(chains, name).rules.push(SavedRule {
                text: text.to_owned(),
            });
        }
        "-D" => {
            let rules = &mut find(chains, name).rules;
            let place = rules.iter().position(|rule| rule.text == text);
            rules.remove(place.unwrap_or_else(|| panic!("{line}: no such rule")));
        }
        "-F" => find(chains, name).rules.clear(),
        "-X" => {
            let chain = find(chains, name);
            assert!(chain.rules.is_empty(), "{line}: not empty");
            let used = |rule: &SavedRule| rule.text.ends_with(&format!(" {name}"));
            let used = chains.iter().flat_map(|chain| &chain.rules).any(used);
            assert!(!used, "{line}: still referred to");
            chains.retain(|chain| chain.name != name);
        }
        "COMMIT" => {}
        declaration => {
            let name = declaration
                .strip_prefix(':')
                .unwrap_or_else(|| panic!("{line}"));
            match chains.iter_mut().find(|chain| chain.name == name) {
                Some(chain) => chain.rules.clear(),
                None => chains.push(SavedChain {
                    name: name.to_owned(),
                    rules: Vec::new(),
                }),
            }
        }
    }
}

/// The kernel's own chains are always there.
fn find<'a>(chains: &'a mut Vec<SavedChain>, name: &str) -> &'a mut SavedChain {
    if !chains.iter().any(|chain| chain.name == name) {
        assert!(["PREROUTING", "OUTPUT"].contains(&name), "no chain {name}");
        chains.push(SavedChain {
            name: name.to_owned(),
            rules: Vec::new(),
        });
    }
    chains
        .iter_mut()
        .find(|chain| chain.name == name)
        .expect("just made")
}
