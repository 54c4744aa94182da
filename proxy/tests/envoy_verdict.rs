//! The verdict on a bootstrap is that of `envoy --mode validate`: what Envoy refuses is refused,
//! and what Envoy takes is taken, or refused as "not supported".

use std::{fs, path::Path, process::Command, thread};

use weir_api::xds::json;
use weir_proxy::convert;

use crate::{
    cases::{CASES, Case},
    filters::FILTERS,
};
use weir_tests::skip::{Need, skip};

#[path = "envoy_verdict/cases.rs"]
mod cases;
#[path = "envoy_verdict/filters.rs"]
mod filters;

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Envoy and Weir take it.
    Taken,
    /// Envoy and Weir refuse it.
    Refused,
    /// Envoy takes it, Weir names what it does not support.
    Unsupported,
}

fn all() -> impl Iterator<Item = &'static Case> {
    CASES.iter().chain(FILTERS)
}

impl Case {
    fn text(&self) -> String {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bootstraps");
        let example = fs::read_to_string(directory.join(self.example)).expect(self.example);
        assert!(
            example.contains(self.sound),
            "{} has no {}",
            self.example,
            self.sound
        );
        example.replacen(self.sound, self.spoilt, 1)
    }

    fn title(&self) -> String {
        format!("{}: {:?} => {:?}", self.example, self.sound, self.spoilt)
    }
}

/// What Weir says of a bootstrap; empty if it takes it.
fn weir(text: &str) -> String {
    let said = match json::read_bootstrap(text) {
        Ok(message) => convert::bootstrap(message)
            .err()
            .map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    said.unwrap_or_default()
}

#[test]
fn each_file_is_taken_or_refused_with_the_place_and_the_reason() {
    let mut wrong = Vec::new();
    for case in all() {
        let said = weir(&case.text());
        let as_expected = match case.verdict {
            Verdict::Taken => said.is_empty(),
            Verdict::Refused => !said.is_empty() && said.contains(case.says),
            Verdict::Unsupported => {
                said.lines().all(|line| line.contains("not supported"))
                    && !said.is_empty()
                    && said.contains(case.says)
            }
        };
        if !as_expected {
            wrong.push(format!(
                "{}\n  {:?} {:?}, but: {said}",
                case.title(),
                case.verdict,
                case.says
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_says_what_envoy_says() {
    if Command::new("envoy").arg("--version").output().is_err() {
        skip(Need::Peers, "no envoy on PATH");
        return;
    }
    let directory = tempfile::tempdir().expect("temporary directory");
    let cases: Vec<&Case> = all().collect();
    let half = cases.len() / 2;
    let wrong: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = [&cases[..half], &cases[half..]]
            .into_iter()
            .enumerate()
            .map(|(index, cases)| {
                let file = directory.path().join(format!("{index}.yaml"));
                scope.spawn(move || {
                    cases
                        .iter()
                        .filter_map(|case| disagrees(case, &file))
                        .collect()
                })
            })
            .collect();
        let results = threads
            .into_iter()
            .map(|thread| thread.join().expect("thread"));
        results.flat_map(|wrong: Vec<String>| wrong).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How Envoy's verdict differs from the one in the table, if it does.
fn disagrees(case: &Case, file: &Path) -> Option<String> {
    fs::write(file, case.text()).expect("write");
    let output = Command::new("envoy")
        .args(["--mode", "validate", "--log-level", "error", "-c"])
        .arg(file)
        .output()
        .expect("envoy");
    let taken = output.status.success();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = case.verdict != Verdict::Refused;
    (taken != expected)
        .then(|| format!("{}\n  {:?}, but Envoy: {said}", case.title(), case.verdict))
}
