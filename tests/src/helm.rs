//! Running Helm, and reading what it renders.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use serde::Deserialize;
use serde_json::Value;
use weir_process::command::{CommandError, LIMIT, execute};

use crate::skip;

/// Namespace of every rendered release.
pub const NAMESPACE: &str = "weir-system";

/// Objects of a rendered chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    objects: Vec<Value>,
}

/// Root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Directory of the chart.
pub fn chart() -> PathBuf {
    root().join("charts/weir")
}

/// Data of these tests.
pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chart")
}

/// Whether there is Helm; says `SKIP` where there is none.
///
/// # Panics
/// Where peers are required.
#[must_use]
pub fn available() -> bool {
    skip::has("helm")
}

/// Runs Helm and gives what it printed: on standard output, or on standard error if it failed.
///
/// # Errors
/// It failed.
pub fn helm(arguments: &[&str]) -> Result<String, String> {
    execute(Command::new("helm").args(arguments), "", LIMIT).map_err(|error| match error {
        CommandError::Failed { stderr, .. } => stderr,
        other => other.to_string(),
    })
}

/// Names of the values files of the matrix, with their paths.
pub fn matrix() -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(data().join("values")).expect("the matrix");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let name = path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, path)
        })
        .collect();
    files.sort();
    assert!(files.len() > 10, "the matrix was not found");
    files
}

/// Every document of a text in YAML. A key that is there twice is an error.
pub fn documents(text: &str) -> Vec<Value> {
    let documents = yaml_serde::Deserializer::from_str(text);
    documents
        .map(|document| yaml_serde::Value::deserialize(document).expect("YAML"))
        .filter(|document| !document.is_null())
        .map(|document| serde_json::to_value(document).expect("JSON"))
        .collect()
}

// === impl Rendered ===

impl Rendered {
    /// The chart with the values of a file.
    pub fn with_file(values: &Path) -> Self {
        Self::of(&["--values", &values.to_string_lossy()])
    }

    /// The chart with values as `--set` takes them; "" for none.
    pub fn with(values: &str) -> Self {
        Self::of(&["--set", values])
    }

    /// What `helm test` makes, with the values of a file.
    pub fn test_with_file(values: &Path) -> Self {
        let test = "templates/tests/check.yaml";
        Self::remembered(&["--show-only", test, "--values", &values.to_string_lossy()])
    }

    /// The chart with the values of a file, rendered anew.
    pub fn again_with_file(values: &Path) -> Self {
        Self::render(&["--no-hooks", "--values", &values.to_string_lossy()])
    }

    /// Without hooks such as the test: they are not part of what is installed.
    fn of(values: &[&str]) -> Self {
        Self::remembered(&[&["--no-hooks"], values].concat())
    }

    /// What these arguments gave before, if they did: Helm costs more than all else in these tests.
    fn remembered(arguments: &[&str]) -> Self {
        static KNOWN: Mutex<BTreeMap<String, Rendered>> = Mutex::new(BTreeMap::new());
        let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let key = arguments.join(" ");
        if let Some(rendered) = known().get(&key) {
            return rendered.clone();
        }
        let rendered = Self::render(arguments);
        known().insert(key, rendered.clone());
        rendered
    }

    fn render(arguments: &[&str]) -> Self {
        let chart = chart().to_string_lossy().into_owned();
        let command = ["template", "weir", &chart, "--namespace", NAMESPACE];
        let text = helm(&[&command, arguments].concat()).expect("helm template");
        Self {
            objects: documents(&text),
        }
    }

    /// All objects, in the order of their kinds and names, whichever Helm prints them in.
    pub fn sorted(&self) -> Vec<&Value> {
        let mut objects: Vec<&Value> = self.objects.iter().collect();
        objects.sort_by_key(|object| identity(object));
        objects
    }

    /// All objects of a kind.
    pub fn all(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.objects
            .iter()
            .filter(move |object| object["kind"] == kind)
    }

    /// The only object of a kind.
    pub fn one(&self, kind: &str) -> &Value {
        let mut found = self.all(kind);
        let first = found.next().unwrap_or_else(|| panic!("no {kind}"));
        assert!(found.next().is_none(), "more than one {kind}");
        first
    }
}

/// Kind, namespace and name.
pub fn identity(object: &Value) -> String {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
    let part = |pointer| text(pointer).unwrap_or_default();
    format!(
        "{} {}/{}",
        part("/kind"),
        part("/metadata/namespace"),
        part("/metadata/name")
    )
}
