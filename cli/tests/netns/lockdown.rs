//! `docs/policy.md` step by step: its commands run, and print what it says.

use std::{fs, path::Path, time::Duration};

use weir_tests::eventually::eventually;

use super::{
    demo::{Demos, text},
    mesh::mesh_works,
    pods::apply,
};

/// Far longer than a policy takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A command of the page, and what it prints, if the page says so.
struct Step {
    command: String,
    printed: Option<String>,
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The commands of the part that is to be followed.
fn steps() -> Vec<Step> {
    let page = fs::read_to_string(root().join("docs/policy.md")).expect("the page");
    let part = page.split("\n## ").find(|part| part.starts_with("Locking"));
    let mut steps = Vec::<Step>::new();
    for block in part.expect("the part").split("```sh\n").skip(1) {
        let (commands, rest) = block.split_once("```\n").expect("an end");
        steps.extend(commands.lines().map(|line| Step {
            command: line.to_owned(),
            printed: None,
        }));
        let printed = rest.strip_prefix("```text\n");
        let printed = printed.and_then(|rest| rest.split_once("```"));
        let last = steps.last_mut().expect("a command");
        last.printed = printed.map(|(printed, _)| printed.to_owned());
    }
    steps
}

/// Words of each line, numbers aside: how often something was called is not the page's business.
fn told(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().map(str::split_whitespace);
    let told = lines.map(|words| {
        let words = words.map(|word| {
            if word.parse::<u64>().is_ok() {
                "N"
            } else {
                word
            }
        });
        words.collect()
    });
    told.collect()
}

#[test]
fn a_namespace_is_locked_down_as_the_page_says() {
    if !mesh_works() {
        return;
    }
    let demos = Demos::new();
    let mut demo = None;
    for Step { command, printed } in steps() {
        let words: Vec<_> = command.split_whitespace().collect();
        match words.as_slice() {
            ["weir", "demo", "--manifests", file] => {
                demo = Some(demos.start_with_mesh(&root().join(file)));
            }
            ["weir", arguments @ ..] => run(&demos, arguments, printed.as_deref()),
            ["cp", files @ .., _] => {
                for file in files {
                    let policy = fs::read_to_string(root().join(file)).expect("a policy");
                    let name = Path::new(file).file_name().expect("a name");
                    apply(&demos.run(), &name.to_string_lossy(), &policy);
                }
            }
            _ => panic!("what is {command}?"),
        }
    }
    assert!(demo.is_some());

    // They are in force now, and the same again changes nothing.
    let again = ["policy", "test", "examples/lockdown", "--output", "json"];
    let look = || {
        let output = demos.output(&from_root(&again));
        (output.status.code() == Some(0)).then_some(output.stdout)
    };
    let json = eventually(PATIENCE, look).expect("nothing would change");
    let outcome: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(outcome["changes"], serde_json::json!([]));
    assert_ne!(outcome["unchanged"]["count"], 0);
    let refused = [
        "exec",
        "guest",
        "--",
        "curl",
        "-s",
        "-X",
        "DELETE",
        "http://web/accounts/1",
    ];
    let look = || {
        let body = demos.output(&refused).stdout;
        body.contains("RBAC").then_some(())
    };
    eventually(PATIENCE, look).expect("refused");
    offline(&demos);
}

/// What was kept says the same as the sidecars, also that a flow was denied.
fn offline(demos: &Demos) {
    let kept = demos.output(&["policy", "flows", "--namespace", "default"]);
    assert_eq!(kept.status.code(), Some(0), "{}", text(&kept));
    let saved: serde_json::Value = serde_json::from_str(&kept.stdout).expect("JSON");
    let flows = saved["pods"].as_array().expect("pods").iter();
    let mut flows = flows.flat_map(|pod| pod["summary"]["flows"].as_array().expect("flows"));
    let denied = flows.any(|flow| flow["verdict"] == "denied" && flow["method"] == "DELETE");
    assert!(denied, "{saved:#}");
    assert_eq!(saved["policies"].as_array().map(Vec::len), Some(3));
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("kept.json");
    fs::write(&file, &kept.stdout).expect("write");
    let opened = directory.path().join("open.yaml");
    let everybody = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
        metadata: {name: nobody}\nspec: {rules: [{}]}\n";
    fs::write(&opened, everybody).expect("write");
    let [file, opened] = [&file, &opened].map(|path| path.to_str().expect("a path"));
    let test = demos.output(&["policy", "test", opened, "-n", "default", "--flows", file]);
    assert_eq!(test.status.code(), Some(1), "{}", text(&test));
    let by = "by AuthorizationPolicy default/nobody rule 0";
    assert!(test.stdout.contains(by), "{}", text(&test));
    let wrong = demos.output(&["policy", "test", file, "--flows", opened]);
    assert_eq!(wrong.status.code(), Some(64), "{}", text(&wrong));
}

/// With paths as they are from the root of the repository.
fn from_root<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let path = |word: &&'a str| -> &'a str {
        match word.starts_with("examples/") {
            // A test's words may live as long as it does.
            true => Box::leak(root().join(word).display().to_string().into_boxed_str()),
            false => word,
        }
    };
    arguments.iter().map(path).collect()
}

/// Runs a command of the page until it prints what the page says.
fn run(demos: &Demos, arguments: &[&str], printed: Option<&str>) {
    let arguments = from_root(arguments);
    let mut last = None;
    let look = || {
        let output = demos.output(&arguments);
        let is_right = match printed {
            Some(printed) => {
                assert_eq!(output.status.code(), Some(1), "{}", text(&output));
                told(&output.stdout) == told(printed)
            }
            None => output.status.success(),
        };
        last = Some(text(&output));
        is_right.then_some(())
    };
    let said = eventually(PATIENCE, look);
    assert!(said.is_ok(), "{arguments:?}: {last:?}");
}
