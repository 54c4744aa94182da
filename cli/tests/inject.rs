//! `weir inject` and `weir uninject` as people run them: files in, objects out, reasons on standard
//! error.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use weir_process::command::{LIMIT, Output, execute, output};

const DEPLOYMENT: &str = "\
# Source: shop/web.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  unknownField: {kept: 0644}
spec:
  template:
    metadata:
      labels: {app: web}
    spec:
      # the only one
      containers:
      - name: app # serves
        image: \"app:1\"
";
const SERVICE: &str = "\
---   # the service
kind:   Service
apiVersion: v1
metadata: {name:   web}
# end of the service
";

fn weir(args: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    output(command.args(args), input, LIMIT).expect("weir")
}

fn out(output: &Output) -> &str {
    &output.stdout
}

fn err(output: &Output) -> &str {
    &output.stderr
}

/// Runs it, and returns what it printed if it succeeded without a word.
fn silently(args: &[&str], input: &str) -> String {
    let output = weir(args, input);
    assert!(output.status.success(), "{}", err(&output));
    assert_eq!(err(&output), "");
    out(&output).to_owned()
}

#[test]
fn what_is_not_changed_passes_byte_for_byte() {
    let input = format!("{SERVICE}--- \n# nothing\n---\r\nkind: ConfigMap\r\ndata: {{a: \"b\"}}");
    assert_eq!(silently(&["inject", "-f", "-"], &input), input);
    assert_eq!(silently(&["uninject", "-f", "-"], &input), input);
    assert_eq!(silently(&["inject", "-f", "-"], ""), "");
}

#[test]
fn a_changed_document_keeps_its_comments_and_its_fields() {
    let input = format!("{DEPLOYMENT}{SERVICE}");
    let injected = silently(&["inject", "-f", "-"], &input);
    for line in DEPLOYMENT.lines() {
        assert!(injected.contains(line), "{line} in\n{injected}");
    }
    assert!(injected.ends_with(SERVICE), "{injected}");
    for part in [
        "name: weir-init",
        "name: weir-proxy",
        "restartPolicy: Always",
        "weir.dev/status",
    ] {
        assert!(injected.contains(part), "{part} in\n{injected}");
    }
    assert_eq!(silently(&["uninject", "-f", "-"], &injected), input);
}

#[test]
fn an_injected_document_is_not_injected_twice() {
    let injected = silently(&["inject", "-f", "-"], DEPLOYMENT);
    let output = weir(&["inject", "-f", "-"], &injected);
    assert_eq!(out(&output), injected);
    let expected = "standard input: Deployment default/web: not injected: it was before\n";
    assert_eq!(err(&output), expected);
}

#[test]
fn what_is_skipped_is_said_with_the_reason() {
    let host = DEPLOYMENT.replace(
        "      containers:",
        "      hostNetwork: yes\n      containers:",
    );
    let output = weir(&["inject", "-n", "shop", "-f", "-"], &host);
    assert_eq!(out(&output), host);
    assert_eq!(
        err(&output),
        "standard input: Deployment shop/web: not injected: the pod uses the node's network \
         (hostNetwork: true)\n"
    );
    let rollout = DEPLOYMENT.replace("kind: Deployment", "kind: Rollout");
    let rollout = rollout.replace("apps/v1", "argoproj.io/v1alpha1");
    let output = weir(&["inject", "-f", "-"], &rollout);
    assert_eq!(out(&output), rollout);
    assert!(
        err(&output).contains("Rollout default/web: not changed"),
        "{}",
        err(&output)
    );
}

#[test]
fn json_stays_json() {
    let pod = "{\n  \"kind\": \"Pod\",\n  \"apiVersion\": \"v1\",\n  \"metadata\": {\"name\": \"web\"},\n  \
               \"spec\": {\n    \"containers\": [{\"name\": \"app\"}]\n  }\n}\n";
    let injected = silently(&["inject", "-f", "-"], pod);
    let value: serde_json::Value = serde_json::from_str(&injected).expect("json");
    assert_eq!(value["spec"]["initContainers"][1]["name"], "weir-proxy");
    assert!(
        injected.starts_with("{\n  \"kind\": \"Pod\",\n  \"apiVersion\""),
        "{injected}"
    );
    let back = silently(&["uninject", "-f", "-"], &injected);
    let back: serde_json::Value = serde_json::from_str(&back).expect("json");
    assert_eq!(
        back,
        serde_json::from_str::<serde_json::Value>(pod).expect("json")
    );
}

#[test]
fn files_and_directories_become_one_stream() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let web = write("web.yaml", DEPLOYMENT.trim_end());
    write("a.yml", "kind: Namespace");
    write("notes.txt", "not: {read");
    let all = silently(
        &[
            "inject",
            "-f",
            &directory.path().display().to_string(),
            "-f",
            &web,
        ],
        "",
    );
    let kinds: Vec<_> = all
        .lines()
        .filter(|line| line.starts_with("kind: "))
        .collect();
    assert_eq!(
        kinds,
        ["kind: Namespace", "kind: Deployment", "kind: Deployment"]
    );
    assert_eq!(
        all.lines().filter(|line| *line == "---").count(),
        2,
        "{all}"
    );
}

#[test]
fn nothing_is_printed_unless_everything_can_be() {
    let bad = DEPLOYMENT.replace(
        "labels: {app: web}",
        "annotations: {weir.dev/proxy-cpu: lots, weir.dev/capture-mode: full}",
    );
    let output = weir(
        &["inject", "-f", "-"],
        &format!("{SERVICE}---\n{DEPLOYMENT}---\n{bad}---\n{bad}"),
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(out(&output), "");
    let lines: Vec<_> = err(&output).lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for part in [
        "weir: standard input: Deployment default/web: ",
        "proxy-cpu",
        "capture-mode",
    ] {
        assert!(lines[0].contains(part), "{lines:?}");
    }
}

#[test]
fn text_that_is_no_object_is_refused_by_line() {
    let output = weir(&["inject", "-f", "-"], "a: 1\n---\nb: [\n");
    assert_eq!((output.status.code(), out(&output)), (Some(1), ""));
    assert!(
        err(&output).starts_with("weir: standard input: line "),
        "{}",
        err(&output)
    );
}

#[test]
fn arguments_that_cannot_be_used_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    fs::write(path("bad.yaml"), "polciy: enabled").expect("written");
    let bad = path("bad.yaml").display().to_string();
    let empty = directory.path().join("empty");
    fs::create_dir(&empty).expect("made");
    let empty = empty.display().to_string();
    for (args, part) in [
        (vec!["inject"], "--filename"),
        (
            vec!["inject", "-f", "/nonexistent.yaml"],
            "/nonexistent.yaml: No such file",
        ),
        (vec!["uninject", "-f", &empty], "no file in it ends in"),
        (vec!["inject", "--config", &bad, "-f", "-"], "polciy"),
    ] {
        let output = weir(&args, "");
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(err(&output).contains(part), "{}", err(&output));
    }
}

#[test]
fn the_settings_are_those_of_the_control_plane() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("injector.yaml");
    let map = directory.path().join("map.yaml");
    fs::write(&path, "image: registry.local/weir:2\n").expect("written");
    let text = "kind: ConfigMap\ndata:\n  injector.yaml: |\n    image: registry.local/weir:2\n";
    fs::write(&map, text).expect("written");
    for config in [path, map] {
        let config = config.display().to_string();
        let injected = silently(&["inject", "--config", &config, "-f", "-"], DEPLOYMENT);
        assert!(
            injected.contains("image: registry.local/weir:2"),
            "{injected}"
        );
    }
}

fn golden_cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../injector/tests/golden");
    let entries = fs::read_dir(directory).expect("golden directory");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("entry").path()).collect();
    paths.retain(|path| !path.to_string_lossy().ends_with(".injected.yaml"));
    paths.sort();
    paths
}

#[test]
fn every_golden_pod_comes_back_with_its_comments() {
    let mut injected = 0;
    for path in golden_cases() {
        let before = fs::read_to_string(&path).expect("case");
        let output = weir(&["inject", "-n", "shop", "-f", "-"], &before);
        if !output.status.success() || out(&output) == before {
            continue;
        }
        injected += 1;
        assert!(!err(&output).contains("written anew"), "{}", path.display());
        let after = silently(&["uninject", "-f", "-"], out(&output));
        if before.contains("weir.dev/status") {
            continue;
        }
        let comments = |text: &str| text.matches('#').count();
        assert_eq!(
            comments(&after),
            comments(&before),
            "{}\n{after}",
            path.display()
        );
        let value = |text: &str| -> serde_json::Value {
            yaml_serde::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
        };
        let same = meaning(value(&after)) == meaning(value(&before));
        assert!(same, "{}\n{after}", path.display());
    }
    assert!(injected > 30, "{injected}");
}

/// A document without what means the same as nothing.
fn meaning(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(members) => {
            let members = members
                .into_iter()
                .map(|(key, value)| (key, meaning(value)));
            let full = |value: &Value| {
                !value.is_null()
                    && *value != serde_json::json!({})
                    && *value != serde_json::json!([])
            };
            members.filter(|(_, value)| full(value)).collect()
        }
        Value::Array(elements) => elements.into_iter().map(meaning).collect(),
        scalar => scalar,
    }
}

#[test]
fn kubectl_reads_what_is_written() {
    if !weir_tests::skip::has("kubectl") {
        return;
    }
    let job = "{\"kind\":\"Job\",\"apiVersion\":\"batch/v1\",\"metadata\":{\"name\":\"j\"},\"spec\":{\"template\":\
               {\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"app\"}]}}}}";
    for input in [&format!("{DEPLOYMENT}{SERVICE}"), job] {
        let injected = silently(&["inject", "-f", "-"], input);
        // Needs no API server, and reads every field as a type of Kubernetes.
        let mut kubectl = Command::new("kubectl");
        kubectl.args(["annotate", "--local", "-f", "-", "a=b", "-o", "json"]);
        let said = execute(&mut kubectl, &injected, LIMIT).expect("kubectl");
        assert!(said.contains("\"name\": \"weir-proxy\""), "{said}");
    }
}

#[test]
fn the_commands_of_the_document_work() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        fs::write(directory.path().join(name), text).expect("written");
    };
    fs::create_dir(directory.path().join("manifests")).expect("made");
    let configmap = "kind: ConfigMap\ndata:\n  injector.yaml: |\n    policy: enabled\n";
    write("shop.yaml", DEPLOYMENT);
    write("manifests/service.yaml", SERVICE);
    write("extra.json", "{\"kind\": \"Namespace\"}");
    write("config.yaml", configmap);
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/inject.md");
    let document = fs::read_to_string(document).expect("the document");
    let blocks = document.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    let weir = Path::new(env!("CARGO_BIN_EXE_weir"));
    let path = format!(
        "{}:{}",
        weir.parent().expect("a directory").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut run = 0;
    // The others need a cluster.
    for line in lines.filter(|line| line.starts_with("weir ")) {
        let mut command = Command::new("sh");
        command
            .args(["-c", line])
            .current_dir(&directory)
            .env("PATH", &path);
        let output = output(&mut command, "", LIMIT).expect("sh");
        assert!(output.status.success(), "{line}: {}", err(&output));
        assert_eq!(err(&output), "", "{line}");
        assert!(out(&output).contains("kind: Deployment"), "{line}");
        run += 1;
    }
    assert_eq!(run, 4);
}

#[test]
fn what_is_written_is_applied_to_a_cluster_and_taken_out_again() {
    let Some(server) = weir_tests::api_server::ApiServer::shared() else {
        return;
    };
    let namespace = server.namespace(&[]).expect("a namespace");
    let name = namespace.name();
    let deployment = DEPLOYMENT
        .replace("  unknownField: {kept: 0644}\n", "")
        .replace(
            "spec:\n  template",
            "spec:\n  selector: {matchLabels: {app: web}}\n  template",
        );
    let cron_job = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: tidy}\nspec:\n  schedule: '* * * * *'\n  \
                    jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: app, \
                    image: 'app:1'}]}}}}\n";
    let input = format!(
        "{deployment}---\n{cron_job}---\nkind: ConfigMap\napiVersion: v1\nmetadata: {{name: x}}\n"
    );
    let injected = silently(&["inject", "-n", name, "-f", "-"], &input);
    for dry_run in ["client", "server"] {
        let dry_run = format!("--dry-run={dry_run}");
        let apply = [
            "apply",
            "--validate=strict",
            &dry_run,
            "-n",
            name,
            "-f",
            "-",
        ];
        let said = server.kubectl_with(&apply, &injected).expect("applied");
        assert_eq!(said.lines().count(), 3, "{said}");
    }
    server
        .kubectl_with(&["apply", "-n", name, "-f", "-"], &injected)
        .expect("applied");
    let get = ["get", "deployment,cronjob", "-n", name, "-o", "yaml"];
    let yaml = server.kubectl(&get).expect("read");
    for live in [without_last_applied(&yaml), yaml] {
        let taken_out = silently(&["uninject", "-f", "-"], &live);
        let left = without_last_applied(&taken_out);
        assert!(!left.contains("weir-proxy"), "{left}");
        let said = server.kubectl_with(&["replace", "--dry-run=server", "-f", "-"], &taken_out);
        assert_eq!(said.expect("replaced").lines().count(), 2);
    }
}

/// What kubectl apply keeps of what was applied is the injected object, as text.
fn without_last_applied(list: &str) -> String {
    let mut list: serde_json::Value = yaml_serde::from_str(list).expect("yaml");
    for item in list["items"].as_array_mut().expect("items") {
        let annotations = item.pointer_mut("/metadata/annotations");
        let annotations = annotations.and_then(serde_json::Value::as_object_mut);
        annotations.map(|map| map.remove("kubectl.kubernetes.io/last-applied-configuration"));
    }
    format!("{list:#}\n")
}
