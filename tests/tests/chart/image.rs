//! The image is what chart and injector take it for. Nothing here builds it: these are the parts that can
//! be held without an engine.

use std::fs;

use serde_json::{Value, json};
use weir_api::sidecar;
use weir_tests::helm::{Rendered, available, root};

/// An instruction of the Dockerfile with its words.
struct Instruction {
    name: String,
    words: Vec<String>,
}

fn dockerfile() -> Vec<Instruction> {
    let text = fs::read_to_string(root().join("Dockerfile")).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let instructions = joined.lines().filter(|line| !line.trim().is_empty());
    instructions
        .map(|line| {
            let mut words = line.split_whitespace().map(ToOwned::to_owned);
            let name = words.next().unwrap();
            Instruction {
                name,
                words: words.collect(),
            }
        })
        .collect()
}

/// Instructions of the last stage: what the image is.
fn last_stage() -> Vec<Instruction> {
    let mut instructions = dockerfile();
    let from = instructions
        .iter()
        .rposition(|it| it.name == "FROM")
        .unwrap();
    instructions.split_off(from)
}

fn words<'a>(stage: &'a [Instruction], name: &str) -> &'a [String] {
    let found = stage.iter().find(|it| it.name == name);
    &found.unwrap_or_else(|| panic!("no {name}")).words
}

/// A setting of the Makefile.
fn makefile(name: &str) -> String {
    let text = fs::read_to_string(root().join("Makefile")).unwrap();
    let prefix = format!("{name} ?= ");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap().to_owned()
}

#[test]
fn one_name_of_the_image_is_built_injected_and_installed() {
    assert_eq!(makefile("IMAGE"), sidecar::DEFAULT_IMAGE);
    if available() {
        let rendered = Rendered::with("");
        let pod = &rendered.one("Deployment")["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["image"], sidecar::DEFAULT_IMAGE);
    }
}

#[test]
fn the_image_holds_the_programs_where_chart_and_injector_look() {
    let stage = last_stage();
    let mut copies = stage.iter().filter(|it| it.name == "COPY");
    let copied = &copies.next_back().unwrap().words;
    let (target, sources) = copied[1..].split_last().unwrap();
    let programs: Vec<_> = sources
        .iter()
        .map(|source| source.replace("/out/", target))
        .collect();
    let expected =
        ["weir-agent", "weir-control", "weir"].map(|name| format!("/usr/local/bin/{name}"));
    assert_eq!(programs, expected);
    // Injected containers give arguments only, such as `capture` and `run`.
    assert_eq!(
        words(&stage, "ENTRYPOINT"),
        [r#"["/usr/local/bin/weir-agent"]"#]
    );
    if available() {
        let rendered = Rendered::with("");
        let pod = &rendered.one("Deployment")["spec"]["template"]["spec"];
        let command = &pod["containers"][0]["command"];
        assert!(
            programs.iter().any(|program| *command == json!([program])),
            "{command}"
        );
    }
}

#[test]
fn the_image_has_iptables_and_a_user_who_is_not_root_by_number() {
    let stage = last_stage();
    let root_of_image = fs::read_to_string(root().join("scripts/image-root")).unwrap();
    assert!(root_of_image.contains("--download-only install iptables "));
    assert_eq!(
        words(&stage, "FROM"),
        ["scratch"],
        "a base image has a shell"
    );
    let user = words(&stage, "USER").concat();
    let ids: Vec<u32> = user.split(':').map(|id| id.parse().unwrap()).collect();
    assert!(ids.len() == 2 && ids.iter().all(|id| *id > 0), "{user}");
}

#[test]
fn the_image_is_built_with_the_rust_that_the_workspace_asks_for() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let asked = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "));
    let image = format!("RUST_IMAGE=rust:{}-", asked.unwrap().trim_matches('"'));
    let mut instructions = dockerfile().into_iter();
    assert!(instructions.any(|it| it.name == "ARG" && it.words[0].starts_with(&image)));
}

#[test]
fn what_the_image_is_built_from_exists_and_is_not_ignored() {
    let ignored = fs::read_to_string(root().join(".dockerignore")).unwrap();
    let ignored: Vec<_> = ignored
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    for Instruction { words, .. } in dockerfile().iter().filter(|it| it.name == "COPY") {
        let sources = &words[..words.len() - 1];
        for source in sources
            .iter()
            .filter(|word| !word.starts_with("--") && !word.starts_with('/'))
        {
            assert!(root().join(source).exists(), "{source}");
            assert!(!ignored.contains(&source.as_str()), "{source}");
        }
    }
    // Every crate is copied, for Cargo reads the manifest of each.
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest
        .lines()
        .find_map(|line| line.strip_prefix("members = "));
    let members: Vec<Value> = serde_json::from_str(members.unwrap()).unwrap();
    for member in members {
        assert!(!ignored.contains(&member.as_str().unwrap()), "{member}");
    }
    // And nothing that is compiled in is left out.
    for kept in ["Cargo.lock", "api/descriptors.bin"] {
        assert!(
            root().join(kept).exists() && !ignored.contains(&kept),
            "{kept}"
        );
    }
}
