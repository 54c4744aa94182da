//! Golden files: `values/x.yaml` renders to `golden/x.yaml`. That of `default` has every object, the
//! others what differs from it. `REFRESH_GOLDEN=1` rewrites them.

use std::{collections::BTreeSet, env, fmt::Write, fs};

use serde_json::Value;
use weir_tests::helm::{Rendered, available, chart, data, helm, identity, matrix};

#[test]
fn helm_has_nothing_to_say_about_the_chart() {
    if !available() {
        return;
    }
    for (name, values) in matrix() {
        let (chart, values) = (chart(), values.to_string_lossy().into_owned());
        let lint = helm(&["lint", "--strict", "-f", &values, &chart.to_string_lossy()]);
        let said = lint.unwrap_or_else(|error| panic!("{name}: {error}"));
        for level in ["[WARNING]", "[ERROR]"] {
            assert!(!said.contains(level), "{name}: {said}");
        }
    }
}

#[test]
fn values_render_to_their_golden_files() {
    if !available() {
        return;
    }
    let default = Rendered::with("");
    let mut wrong = Vec::new();
    let mut known = BTreeSet::new();
    for (name, values) in matrix() {
        let rendered = Rendered::with_file(&values);
        let text = match name.as_str() {
            "default" => print(&rendered.sorted()),
            _ => difference(&default, &rendered),
        };
        let path = data().join("golden").join(format!("{name}.yaml"));
        if env::var_os("REFRESH_GOLDEN").is_some() {
            fs::write(&path, &text).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != text {
            wrong.push(name.clone());
        }
        known.insert(path);
    }
    for entry in fs::read_dir(data().join("golden")).unwrap() {
        let path = entry.unwrap().path();
        assert!(known.contains(&path), "{} has no values", path.display());
    }
    assert!(
        wrong.is_empty(),
        "{wrong:?} differ; REFRESH_GOLDEN=1 rewrites golden files, then read git diff"
    );
}

#[test]
fn a_chart_renders_the_same_each_time() {
    if !available() {
        return;
    }
    // Nothing is drawn by lot or made by Helm, such as a certificate: an upgrade or a GitOps
    // controller would replace it.
    for (name, values) in matrix() {
        let once = Rendered::with_file(&values);
        let again = Rendered::again_with_file(&values);
        assert_eq!(once, again, "{name}");
    }
}

/// Objects that the default does not have, or has otherwise; and the names of those it has alone.
fn difference(default: &Rendered, rendered: &Rendered) -> String {
    let default = default.sorted();
    let rendered = rendered.sorted();
    let mut text = String::new();
    for object in &default {
        let name = identity(object);
        if !rendered.iter().any(|other| identity(other) == name) {
            let _ = writeln!(text, "# without {name}");
        }
    }
    let changed: Vec<&Value> = rendered
        .into_iter()
        .filter(|object| !default.contains(object))
        .collect();
    text + &print(&changed)
}

fn print(objects: &[&Value]) -> String {
    objects.iter().fold(String::new(), |text, object| {
        text + "---\n" + &yaml_serde::to_string(object).unwrap()
    })
}
