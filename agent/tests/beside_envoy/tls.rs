//! TLS with clients beside real Envoy: `openssl s_client` speaks to both with the same arguments, and
//! they agree on the same, answer the same and tell an endpoint the same of the client.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;
use weir_tests::{
    certificates::{Authority, Certificate},
    envoy, skip,
};

use crate::{
    proxies::{Ports, Proxy},
    upstream,
};

const BOOTSTRAP: &str = include_str!("tls.bootstrap.yaml");
const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Client-Cert: Hash=came\r\nConnection: close\r\n\r\n";

/// A chain for a name, and what it says of TLS.
const CHAINS: [(&str, &str, &str); 12] = [
    (
        "plain.example",
        "",
        "tls_certificate_sds_secret_configs: [ { name: one } ]",
    ),
    (
        "alpn.example",
        "",
        "alpn_protocols: [ other, http/1.1 ], tls_certificate_sds_secret_configs: [ { name: one } ]",
    ),
    (
        "several.example",
        "",
        "tls_certificate_sds_secret_configs: [ { name: one }, { name: two } ]",
    ),
    (
        "*.two.example",
        "",
        "tls_certificate_sds_secret_configs: [ { name: one }, { name: two } ]",
    ),
    (
        "old.example",
        "",
        "tls_params: { tls_maximum_protocol_version: TLSv1_2, \
         cipher_suites: [ ECDHE-ECDSA-AES256-GCM-SHA384 ] }, \
         tls_certificate_sds_secret_configs: [ { name: one } ]",
    ),
    (
        "new.example",
        "",
        "tls_params: { tls_minimum_protocol_version: TLSv1_3, ecdh_curves: [ P-256 ] }, \
         tls_certificate_sds_secret_configs: [ { name: one } ]",
    ),
    (
        "asked.example",
        "",
        "tls_certificate_sds_secret_configs: [ { name: one } ], \
         validation_context_sds_secret_config: { name: clients }",
    ),
    (
        "mutual.example",
        "require_client_certificate: true,",
        "tls_certificate_sds_secret_configs: [ { name: one } ], combined_validation_context: { \
         default_validation_context: { match_typed_subject_alt_names: [ { san_type: URI, \
         matcher: { prefix: 'spiffe://td/' } }, { san_type: DNS, matcher: { exact: a.b.example } } ] }, \
         validation_context_sds_secret_config: { name: clients } }",
    ),
    (
        "pinned.example",
        "require_client_certificate: true,",
        "tls_certificate_sds_secret_configs: [ { name: one } ], \
         validation_context: { verify_certificate_hash: [ '@HASH@' ] }",
    ),
    (
        "lenient.example",
        "require_client_certificate: true,",
        "tls_certificate_sds_secret_configs: [ { name: one } ], validation_context: { \
         trusted_ca: { filename: @DIR@/ca.crt }, allow_expired_certificate: true }",
    ),
    (
        "untrusted.example",
        "require_client_certificate: true,",
        "tls_certificate_sds_secret_configs: [ { name: one } ], validation_context: { \
         trusted_ca: { filename: @DIR@/ca.crt }, trust_chain_verification: ACCEPT_UNTRUSTED }",
    ),
    (
        "revoking.example",
        "require_client_certificate: true,",
        "tls_certificate_sds_secret_configs: [ { name: one } ], \
         validation_context_sds_secret_config: { name: revoking }",
    ),
];

/// Names, and what else `openssl s_client` is told.
const HANDSHAKES: [(&str, &[&str]); 13] = [
    ("plain.example", &[]),
    ("plain.example", &["-tls1_2"]),
    ("plain.example", &["-tls1_1"]),
    ("plain.example", &["-alpn", "http/1.1"]),
    ("alpn.example", &["-alpn", "http/1.1,other"]),
    ("alpn.example", &["-alpn", "nothing"]),
    ("several.example", &[]),
    ("b.two.example", &[]),
    ("old.example", &["-tls1_2"]),
    ("old.example", &["-tls1_3"]),
    ("new.example", &["-tls1_2"]),
    ("new.example", &["-groups", "X25519"]),
    ("unknown.example", &[]),
];

/// Chains that judge clients, each with every client.
const JUDGES: [&str; 6] = [
    "asked.example",
    "mutual.example",
    "pinned.example",
    "lenient.example",
    "untrusted.example",
    "revoking.example",
];

#[test]
fn clients_of_tls_find_what_they_find_at_envoy() {
    if !envoy::available() || !skip::has("openssl") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let clients = write_certificates(directory.path());
    let text = bootstrap(&directory, &clients[0].1);
    let echo = upstream::start();
    let ports = || Ports {
        echo,
        ..Ports::free()
    };
    let (theirs, weir) = (Proxy::envoy(&text, ports()), Proxy::weir(&text, ports()));
    let mut wrong = Vec::new();
    let mut compare = |name: &str, more: &[&str]| {
        let [theirs, ours] = [&theirs, &weir].map(|side| talk(side.port(false, false), name, more));
        if theirs != ours {
            wrong.push(format!("{name} {more:?}\n  envoy {theirs}\n  weir  {ours}"));
        }
    };
    for (name, more) in HANDSHAKES {
        compare(name, more);
    }
    for name in JUDGES {
        compare(name, &[]);
        for (client, _) in &clients {
            let file = |end: &str| format!("{}/{client}.{end}", directory.path().display());
            let (chain, key) = (file("crt"), file("key"));
            for version in ["-tls1_2", "-tls1_3"] {
                compare(name, &["-cert", &chain, "-key", &key, version]);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Writes what the bootstrap names; returns the clients that there are, the first of which is known.
fn write_certificates(directory: &Path) -> Vec<(&'static str, Certificate)> {
    let (authority, other) = (Authority::new("root"), Authority::new("other"));
    let one = authority.issue(&["plain.example", "spiffe://td/server"]);
    let two = authority.issue(&["several.example", "*.two.example"]);
    let clients = vec![
        (
            "known",
            authority.issue(&["spiffe://td/client", "c.example"]),
        ),
        ("wildcard", authority.issue(&["*.b.example"])),
        ("stranger", authority.issue(&["spiffe://other/client"])),
        ("nameless", authority.issue(&[])),
        ("foreign", other.issue(&["spiffe://td/client"])),
        ("expired", authority.issue_expired(&["spiffe://td/client"])),
        ("revoked", authority.issue(&["spiffe://td/revoked"])),
    ];
    let revoked = &clients[6].1;
    let write = |name: &str, text: &str| {
        fs::write(directory.join(name), text).expect("written");
    };
    write("ca.crt", &authority.pem);
    write("ca.crl", &authority.revoke(&[revoked]));
    let servers = [("one", &one), ("two", &two)];
    let all = clients.iter().map(|(name, client)| (*name, client));
    for (name, certificate) in servers.into_iter().chain(all) {
        write(&format!("{name}.crt"), &certificate.chain);
        write(&format!("{name}.key"), &certificate.key);
    }
    clients
}

fn bootstrap(directory: &TempDir, pinned: &Certificate) -> String {
    let chains = CHAINS.map(|(name, more, common)| {
        let matches = format!("server_names: [ '{name}' ]");
        let context = format!("{more} common_tls_context: {{ {common} }}");
        chain(&matches, &context)
    });
    let fingerprint = "openssl x509 -noout -fingerprint -sha256 | cut -d= -f2";
    BOOTSTRAP
        .replace("@CHAINS@", &chains.join(",\n"))
        .replace("@DIR@", &directory.path().display().to_string())
        .replace("@HASH@", shell(fingerprint, &pinned.chain).trim())
}

/// A filter chain for connections that match, with a context of these fields.
pub(crate) fn chain(matches: &str, context: &str) -> String {
    let types = "type.googleapis.com/envoy.extensions";
    format!(
        r#"{{ filter_chain_match: {{ {matches} }}, transport_socket: {{ name: tls,
            typed_config: {{ "@type": {types}.transport_sockets.tls.v3.DownstreamTlsContext, {context} }} }},
          filters: [ {{ name: http, typed_config: {{
            "@type": {types}.filters.network.http_connection_manager.v3.HttpConnectionManager,
            stat_prefix: http, forward_client_cert_details: APPEND_FORWARD,
            set_current_client_cert_details: {{ subject: true, cert: true, chain: true, uri: true, dns: true }},
            route_config: {{ virtual_hosts: [ {{ name: any, domains: ["*"], routes: [
              {{ match: {{ prefix: / }}, route: {{ cluster: echo }} }} ] }} ] }},
            http_filters: [ {{ name: router, typed_config: {{
              "@type": {types}.filters.http.router.v3.Router }} }} ] }} }} ] }}"#
    )
}

/// What a script prints of `input`.
pub(crate) fn shell(script: &str, input: &str) -> String {
    let mut command = Command::new("sh");
    output(command.args(["-c", script]), input.as_bytes())
}

fn output(command: &mut Command, input: &[u8]) -> String {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().expect("a program");
    // A client whose handshake has failed does not read.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    let output = child.wait_with_output().expect("an end");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `openssl s_client` prints of a request.
pub(crate) fn client(port: u16, more: &[&str]) -> String {
    let mut command = Command::new("timeout");
    command.args(["10", "openssl", "s_client", "-ign_eof"]);
    command.args(["-connect", &format!("127.0.0.1:{port}")]);
    output(command.args(more), REQUEST)
}

/// What a client hears: what the two agree on, the status, and what the endpoint was told of it.
fn talk(port: u16, name: &str, more: &[&str]) -> String {
    let output = client(port, &[&["-servername", name], more].concat());
    let said = output.lines().filter(|line| {
        let line = line.trim_start();
        let agreed = [
            "subject=",
            "ALPN protocol",
            "No ALPN",
            "New, ",
            "Server Temp Key",
        ];
        let answered = ["HTTP/1.1 "];
        let told = line
            .to_ascii_lowercase()
            .contains("x-forwarded-client-cert");
        told || agreed
            .iter()
            .chain(&answered)
            .any(|start| line.starts_with(start))
    });
    // Of equal cipher suites ours takes the cheapest, where Envoy takes the client's first.
    let without_cipher = |line: &str| match line.split_once(", Cipher is ") {
        Some((version, _)) => version.to_owned(),
        None => line.trim().to_owned(),
    };
    said.map(without_cipher).collect::<Vec<_>>().join(" | ")
}
