//! The commands in blocks marked `sh`: those of the project exist, and so do their flags.

use crate::{documents, read};

/// Programs of others that a document may use.
const OTHERS: [&str; 11] = [
    "cd",
    "cp",
    "cargo",
    "curl",
    "envoy",
    "git",
    "helm",
    "ip",
    "kubectl",
    "rustup",
    "scripts/setup",
];
/// Our programs, each with the file that lists its subcommands (if it has any) and the directory of
/// its flags.
const OURS: [(&str, Option<&str>, &str); 3] = [
    ("weir", Some("cli/src/args.rs"), "cli/src"),
    ("weir-agent", Some("agent/src/main.rs"), "agent/src"),
    ("weir-control", None, "control/src"),
];

/// Every line of a block marked `sh`, comments and assignments left out, with the document it is in.
fn commands() -> Vec<(String, String)> {
    let mut commands = Vec::new();
    for document in documents() {
        for block in read(&document).split("```sh\n").skip(1) {
            let block = block.split("```").next().unwrap_or_default().to_owned();
            let lines = block
                .lines()
                .map(|line| line.split(" #").next().unwrap_or(line).trim());
            let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
            commands.extend(lines.map(|line| (document.clone(), line.to_owned())));
        }
    }
    commands
}

/// Names of the variants of `enum Command`, as clap spells them.
fn subcommands(source: &str) -> Vec<String> {
    let body = source
        .split_once("enum Command {\n")
        .and_then(|(_, rest)| rest.split_once("\n}"))
        .expect("enum Command")
        .0;
    body.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(char::is_uppercase))
        .map(|line| {
            let name = line.split(['(', ' ', ',']).next().unwrap_or_default();
            let mut kebab = String::new();
            for letter in name.chars() {
                if letter.is_uppercase() && !kebab.is_empty() {
                    kebab.push('-');
                }
                kebab.extend(letter.to_lowercase());
            }
            kebab
        })
        .collect()
}

/// All source of a crate.
fn source_of(directory: &str) -> String {
    let mut text = String::new();
    let mut left = vec![crate::root().join(directory)];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a directory").flatten();
            left.extend(entries.map(|entry| entry.path()));
        } else {
            text.push_str(&std::fs::read_to_string(&path).unwrap_or_default());
        }
    }
    text
}

/// What is wrong with a command, if anything is.
fn fault(line: &str, makefile: &str) -> Option<String> {
    let mut words = line
        .split_whitespace()
        .skip_while(|word| *word == "sudo" || word.contains('='));
    let program = words.next()?;
    if program == "make" {
        let target = words.find(|word| !word.contains('=') && !word.starts_with('-'))?;
        let known = makefile
            .lines()
            .any(|line| line.starts_with(&format!("{target}:")));
        return (!known).then(|| format!("there is no make target {target}"));
    }
    let name = program.rsplit('/').next().unwrap_or(program);
    let Some((_, list, directory)) = OURS.iter().find(|(known, ..)| *known == name) else {
        return (!OTHERS.contains(&program)).then(|| format!("{program} is not in OTHERS"));
    };
    let mut words = words
        .take_while(|word| *word != "--" && *word != "|")
        .peekable();
    if let Some(list) = list {
        let known = subcommands(&read(list));
        let subcommand = words.next().unwrap_or_default();
        if !subcommand.starts_with('-') && !known.iter().any(|known| known == subcommand) {
            return Some(format!(
                "{name} has no subcommand {subcommand:?}, only {known:?}"
            ));
        }
    }
    // A flag is a field of that name, or a constant in weir-api.
    let source = source_of(directory) + &source_of("api/src");
    words
        .filter_map(|word| word.strip_prefix("--"))
        .map(|flag| flag.split('=').next().unwrap_or(flag))
        .find(|flag| {
            let field = format!("{}:", flag.replace('-', "_"));
            !source.contains(&field) && !["help", "version"].contains(flag)
        })
        .map(|flag| format!("{name} has no flag --{flag}"))
}

#[test]
fn commands_in_the_documents_exist() {
    let makefile = read("Makefile");
    let commands = commands();
    assert!(!commands.is_empty(), "no block marked sh");
    let faults: Vec<String> = commands
        .iter()
        .filter_map(|(document, line)| {
            Some(format!("{document}: {line}: {}", fault(line, &makefile)?))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_command_that_does_not_exist_is_found() {
    let makefile = "demo: ## x\n";
    assert_eq!(fault("sudo make demo ARGS=--once", makefile), None);
    assert_eq!(fault("weir-agent capture --dry-run", makefile), None);
    assert_eq!(fault("target/debug/weir demo --once", makefile), None);
    for wrong in [
        "make nothing",
        "weir nothing",
        "weir demo --no-such-flag",
        "weir-agent capture --no-such-flag=1",
        "nothing",
    ] {
        assert!(fault(wrong, makefile).is_some(), "{wrong}");
    }
}
