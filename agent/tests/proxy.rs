//! `weir-agent proxy` as a process: what it prints, how it exits, what it says is wrong.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;
use weir_process::command::{LIMIT, Output, output};
use weir_tests::{http, running::Running};

const AGENT: &str = env!("CARGO_BIN_EXE_weir-agent");

/// A bootstrap whose only listener answers by itself, with admin on `admin`.
fn bootstrap(listener: u16, admin: u16) -> String {
    format!(
        r#"
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {admin} }} }} }}
static_resources:
  listeners:
  - name: web
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {listener} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            virtual_hosts:
            - name: any
              domains: ["*"]
              routes:
              - match: {{ prefix: / }}
                direct_response: {{ status: 200, body: {{ inline_string: "hello\n" }} }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"#
    )
}

fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("bootstrap.yaml");
    fs::write(&path, text).expect("bootstrap");
    (folder, path)
}

fn proxy(path: &PathBuf, arguments: &[&str]) -> Output {
    let mut command = Command::new(AGENT);
    command
        .arg("proxy")
        .arg("--config")
        .arg(path)
        .args(arguments);
    output(&mut command, "", LIMIT).expect("run")
}

#[test]
fn a_good_file_is_validated_without_listening() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("address").port();
    let (_folder, path) = file(&bootstrap(port, port));
    let output = proxy(&path, &["--validate"]);
    assert!(output.status.success(), "{}", output.stderr);
    let expected = format!("configuration '{}' OK\n", path.display());
    assert_eq!(output.stdout, expected);
}

#[test]
fn every_problem_of_a_file_is_named_and_the_exit_is_64() {
    let spoilt = bootstrap(0, 0)
        .replace(
            "stat_prefix: web",
            "stat_prefix: web\n          tracing: {}",
        )
        .replace("prefix: /", "prefix: /, tls_context: {}");
    let (_folder, path) = file(&spoilt);
    let output = proxy(&path, &["--validate"]);
    assert_eq!(output.status.code(), Some(64));
    let said = output.stderr;
    for word in [
        "bootstrap.yaml",
        "Listener \"web\"",
        "tracing",
        "tls_context",
    ] {
        assert!(said.contains(word), "no {word:?} in {said}");
    }

    let (_folder, path) = file(&bootstrap(0, 0).replace("stat_prefix", "stat_prefx"));
    let output = proxy(&path, &[]);
    assert_eq!(output.status.code(), Some(64));
    let said = output.stderr;
    assert!(
        said.contains("listeners[0]") && said.contains("'stat_prefx'"),
        "{said}"
    );

    let output = proxy(&PathBuf::from("/nonexistent.yaml"), &[]);
    assert_eq!(output.status.code(), Some(64));
    assert!(
        output.stderr.contains("/nonexistent.yaml"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_port_in_use_is_named_and_the_exit_is_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("address").port();
    let (_folder, path) = file(&bootstrap(port, 0));
    let output = proxy(&path, &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = output.stderr;
    assert!(
        said.contains(&format!("127.0.0.1:{port} is in use")),
        "{said}"
    );

    let (_folder, path) = file(&bootstrap(0, port));
    let output = proxy(&path, &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = output.stderr;
    assert!(
        said.contains("admin") && said.contains(&port.to_string()),
        "{said}"
    );
}

#[test]
fn it_serves_until_sigterm_and_exits_0() {
    let (_folder, path) = file(&bootstrap(0, 0));
    let mut command = Command::new(AGENT);
    command.args(["proxy", "--concurrency", "2", "--config"]);
    let mut running = Running::start(command.arg(&path).stderr(Stdio::piped())).expect("run");
    let mut log = BufReader::new(running.stderr.take().expect("standard error"));
    let mut line = String::new();
    log.read_line(&mut line).expect("a line");
    let address = line.split_once("admin=").expect("the admin address").1;
    let address = address
        .trim()
        .trim_start_matches("Some(")
        .trim_end_matches(')');
    let admin: SocketAddr = address.parse().expect(&line);
    let listeners = http::get(admin, "/listeners").expect("admin");
    let web = listeners
        .body
        .split_once("web::")
        .expect("the listener")
        .1
        .trim();
    let answer = http::get(web.parse().expect("address"), "/").expect("an answer");
    assert_eq!((answer.status, &*answer.body), (200, "hello\n"));

    running.terminate();
    assert_eq!(running.ended(LIMIT).expect("an end").code(), Some(0));
}
