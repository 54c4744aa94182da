use std::{collections::BTreeSet, fs};

use weir_tests::golden;

use super::*;

/// Files of objects, each with what is to be found in it: `NAME.in.yaml` gives `NAME.out.txt`.
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/analyze");

fn world(file: &Path, is_live: bool) -> World {
    let mut objects = crate::objects::read(&[file.to_owned()]).expect("objects");
    // Where the file is does not matter, but in which it is does.
    for placed in &mut objects {
        let name = placed.file.as_ref().and_then(|file| file.file_name());
        placed.file = name.map(PathBuf::from);
    }
    World {
        objects,
        settings: Settings::default(),
        is_live,
    }
}

#[test]
fn every_code_is_found_where_it_is_so_and_nowhere_else() {
    let mut found = BTreeSet::new();
    let files = fs::read_dir(CASES)
        .expect("cases")
        .map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = files
        .filter(|it| it.to_string_lossy().ends_with(".in.yaml"))
        .collect();
    files.sort();
    for file in files {
        let is_live = file
            .file_name()
            .is_some_and(|it| it.to_string_lossy().starts_with("live"));
        let report = Report::of(&world(&file, is_live));
        found.extend(report.findings.iter().map(|it| it.code));
        let expected = file.to_string_lossy().replace(".in.yaml", ".out.txt");
        golden::check(Path::new(&expected), &report.text());
    }
    let all: BTreeSet<_> = codes::ALL.iter().map(|it| it.code).collect();
    assert_eq!(found, all, "each code has a case");
    assert_eq!(all.len(), codes::ALL.len(), "no code is given twice");
}

#[test]
fn the_examples_are_clean() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    for example in ["shop", "lockdown"] {
        let report = Report::of(&world(&Path::new(examples).join(example), false));
        // A Service of the shop leads nowhere on purpose.
        let bad = report
            .findings
            .iter()
            .filter(|it| it.severity > Severity::Info && it.object != "Service shop/returns");
        assert_eq!(bad.count(), 0, "{}", report.text());
    }
}

/// The table of docs/analyze.md.
#[test]
fn every_code_is_documented() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/analyze.md");
    let text = fs::read_to_string(&page).expect("the page");
    let (before, rest) = text.split_once("| Code |").expect("the table");
    let (_, after) = rest.split_once("\n\n").expect("the end of the table");
    let rows = codes::ALL.iter().map(|it| {
        let severity = format!("{:?}", it.severity).to_lowercase();
        format!(
            "| `{}` | {} | {severity} | {} |\n",
            it.code, it.name, it.meaning
        )
    });
    let rows: String = rows.collect();
    let header = "| Code | Name | Severity | What is so |\n|---|---|---|---|\n";
    golden::check(&page, &format!("{before}{header}{rows}\n{after}"));
}

#[test]
fn hosts_of_service_entries_are_there_with_and_without_a_wildcard() {
    let entry =
        serde_json::json!({"kind": "ServiceEntry", "spec": {"hosts": ["*.a.example", "b"]}});
    let world = World {
        objects: vec![Placed {
            file: None,
            object: entry,
        }],
        settings: Settings::default(),
        is_live: false,
    };
    for (host, is_there) in [
        ("x.a.example", true),
        ("a.example", false),
        ("b", true),
        ("c", false),
    ] {
        assert_eq!(world.is_external(host), is_there, "{host}");
    }
}

#[test]
fn files_take_the_place_of_what_the_cluster_has() {
    let placed = |file: Option<&str>, name: &str| Placed {
        file: file.map(PathBuf::from),
        object: serde_json::json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}}),
    };
    let cluster = vec![placed(None, "a"), placed(None, "b")];
    let all = applied(cluster, vec![placed(Some("f"), "b")]);
    let names: Vec<_> = all
        .iter()
        .map(|it| (it.name(), it.file.is_some()))
        .collect();
    assert_eq!(names, [("a", false), ("b", true)]);
}
