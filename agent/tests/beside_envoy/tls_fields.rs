//! What single fields of TLS do, beside real Envoy. `openssl s_client` speaks to a chain with the
//! field and to one without it; a request goes by a cluster with the field and by one without it.
//! Each finds two different things, and the same two at Envoy.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    time::Duration,
};

use rcgen::{DnType, SanType};
use weir_tests::{certificates::Authority, envoy, skip};

use crate::{
    proxies::{Ports, Proxy},
    tls::{chain, client, shell},
    upstream,
};

const BOOTSTRAP: &str = include_str!("tls_fields.bootstrap.yaml");

/// A field, and what shows it.
struct Case {
    /// A context. `<A|B>` stands for A with the field, and for B without it.
    context: &'static str,
    /// What `openssl s_client` is told.
    client: &'static [&'static str],
    /// How the lines begin that tell the two apart, beside those of certificate and answer.
    lines: &'static [&'static str],
}

/// A context that judges clients by `trusted_ca` and more.
macro_rules! judging {
    ($more:literal) => {
        concat!(
            "require_client_certificate: true, common_tls_context: { ",
            "tls_certificate_sds_secret_configs: [ { name: one } ], ",
            "validation_context: { trusted_ca: { filename: @DIR@/ca.crt }, ",
            $more,
            " } }"
        )
    };
}

/// The client's certificate, of the authority or of one below it.
const KNOWN: &[&str] = &["-cert", "@DIR@/known.crt", "-key", "@DIR@/known.key"];
const BELOW: &[&str] = &[
    "-cert",
    "@DIR@/below.crt",
    "-cert_chain",
    "@DIR@/below.crt",
    "-key",
    "@DIR@/below.key",
];

const CASES: &[Case] = &[
    Case {
        context: "<session_timeout: 77s,|> common_tls_context: { \
                  tls_certificate_sds_secret_configs: [ { name: one } ] }",
        client: &[],
        lines: &["TLS session ticket lifetime hint"],
    },
    // The first certificate has an RSA key.
    Case {
        context: "<full_scan_certs_on_sni_mismatch: true,|> common_tls_context: { \
                  tls_certificate_sds_secret_configs: [ { name: two }, { name: one } ] }",
        client: &["-servername", "unknown.example"],
        lines: &["Peer signature type"],
    },
    Case {
        context: "<prefer_client_ciphers: true,|> common_tls_context: { tls_params: { cipher_suites: \
                  [ ECDHE-ECDSA-AES128-GCM-SHA256, ECDHE-ECDSA-AES256-GCM-SHA384 ] }, \
                  tls_certificate_sds_secret_configs: [ { name: one } ] }",
        client: &[
            "-cipher",
            "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256",
        ],
        lines: &["New, "],
    },
    Case {
        context: judging!("verify_certificate_spki: [ <@SPKI@|@OTHER@> ]"),
        client: KNOWN,
        lines: &[],
    },
    Case {
        context: judging!("match_subject_alt_names: [ { exact: 'spiffe://td/<client|other>' } ]"),
        client: KNOWN,
        lines: &[],
    },
    // The older field counts only where the newer one is not set.
    Case {
        context: judging!(
            "<match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: none } } ],|> \
             match_subject_alt_names: [ { exact: 'spiffe://td/client' } ]"
        ),
        client: KNOWN,
        lines: &[],
    },
    // There is no list of what the root has revoked.
    Case {
        context: judging!("crl: { filename: @DIR@/below.crl }, <only_verify_leaf_cert_crl: true|>"),
        client: BELOW,
        lines: &[],
    },
    Case {
        context: judging!("<max_verify_depth: 1|>"),
        client: BELOW,
        lines: &[],
    },
    Case {
        context: judging!("max_verify_depth: <2|1>"),
        client: BELOW,
        lines: &[],
    },
    Case {
        context: judging!("max_verify_depth: <2|0>"),
        client: BELOW,
        lines: &[],
    },
    Case {
        context: judging!("<suppress_client_ca_list: true|>"),
        client: KNOWN,
        lines: &["Acceptable client certificate", "No client certificate CA"],
    },
    Case {
        context: judging!(
            "match_typed_subject_alt_names: [ { san_type: OTHER_NAME, oid: <1.2.3.4|1.2.3.5>, \
             matcher: { exact: other } } ]"
        ),
        client: KNOWN,
        lines: &[],
    },
    Case {
        context: judging!(
            "match_typed_subject_alt_names: [ { san_type: <IP_ADDRESS|DNS>, \
             matcher: { exact: 10.0.0.1 } } ]"
        ),
        client: KNOWN,
        lines: &[],
    },
    Case {
        context: judging!(
            "match_typed_subject_alt_names: [ { san_type: IP_ADDRESS, \
             matcher: { exact: '<2001:db8::1|2001:db8::2>' } } ]"
        ),
        client: KNOWN,
        lines: &[],
    },
    Case {
        context: judging!(
            "match_typed_subject_alt_names: [ { san_type: <EMAIL|DNS>, \
             matcher: { exact: a@b.example } } ]"
        ),
        client: KNOWN,
        lines: &[],
    },
];

/// Contexts of clusters whose endpoint is called `one.example`. It shows a certificate of this name
/// to whoever asks for `one.example` or `other.example`, and talks to nobody else.
const CLUSTERS: &[&str] = &[
    "sni: none.example, <auto_host_sni: true,|> common_tls_context: {}",
    "sni: other.example, <auto_sni_san_validation: true,|> common_tls_context: { \
     validation_context: { trusted_ca: { filename: @DIR@/ca.crt } } }",
    // The name in SNI takes the place of others.
    "sni: one.example, <auto_sni_san_validation: true,|> common_tls_context: { \
     validation_context: { trusted_ca: { filename: @DIR@/ca.crt }, \
     match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: none } } ] } }",
];

#[test]
fn fields_of_tls_change_what_they_change_at_envoy() {
    if !envoy::available() || !skip::has("openssl") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display().to_string();
    let (spki, other) = write_certificates(directory.path());
    let text = bootstrap()
        .replace("@DIR@", &path)
        .replace("@SPKI@", &spki)
        .replace("@OTHER@", &other);
    let echo = upstream::start();
    let ports = || Ports {
        echo,
        ..Ports::free()
    };
    let (theirs, weir) = (Proxy::envoy(&text, ports()), Proxy::weir(&text, ports()));
    let mut wrong = Vec::new();
    let mut compare = |context: &str, found: &dyn Fn(&Proxy, bool) -> String| {
        let both = |side: &Proxy| [true, false].map(|with| found(side, with));
        let (theirs, ours) = (both(&theirs), both(&weir));
        if theirs != ours || ours[0] == ours[1] {
            wrong.push(format!("{context}\n  envoy {theirs:?}\n  weir  {ours:?}"));
        }
    };
    for (number, case) in CASES.iter().enumerate() {
        let client: Vec<_> = case
            .client
            .iter()
            .map(|it| it.replace("@DIR@", &path))
            .collect();
        compare(case.context, &|side, with| {
            let name = name(number, with);
            let mut arguments = vec!["-alpn", &*name];
            arguments.extend(client.iter().map(String::as_str));
            talk(side.port(false, false), &arguments, case.lines)
        });
    }
    for (number, context) in CLUSTERS.iter().enumerate() {
        compare(context, &|side, with| {
            status(side.port(true, false), &name(number, with))
        });
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn bootstrap() -> String {
    let mut chains = vec![chain(
        "server_names: [ one.example, other.example ]",
        "common_tls_context: { tls_certificate_sds_secret_configs: [ { name: one } ] }",
    )];
    let mut clusters = String::new();
    for with in [true, false] {
        for (number, case) in CASES.iter().enumerate() {
            let matches = format!("application_protocols: [ {} ]", name(number, with));
            chains.push(chain(&matches, &variant(case.context, with)));
        }
        for (number, context) in CLUSTERS.iter().enumerate() {
            clusters += &cluster(&name(number, with), &variant(context, with));
        }
    }
    format!("{BOOTSTRAP}{clusters}").replace("@CHAINS@", &chains.join(",\n"))
}

fn cluster(name: &str, context: &str) -> String {
    format!(
        r#"
  - {{ name: {name}, type: STATIC, transport_socket: {{ name: tls, typed_config: {{
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext,
      {context} }} }}, load_assignment: {{ cluster_name: {name}, endpoints: [ {{ lb_endpoints: [ {{
      endpoint: {{ hostname: one.example, address: {{ socket_address: {{
      address: 127.0.0.1, port_value: @LISTENER@ }} }} }} }} ] }} ] }} }}"#
    )
}

/// Of a cluster; of a chain, the protocol that the client offers.
fn name(number: usize, with: bool) -> String {
    format!("{number}-{with}")
}

fn variant(context: &str, with: bool) -> String {
    let (before, rest) = context.split_once('<').expect("a field");
    let (choice, after) = rest.split_once('>').expect("its end");
    let (first, second) = choice.split_once('|').expect("a choice");
    format!("{before}{}{after}", if with { first } else { second })
}

/// Writes what the bootstrap and clients name. Returns hashes of the public keys of the client and
/// of somebody else.
fn write_certificates(directory: &Path) -> (String, String) {
    let authority = Authority::new("root");
    let below = authority.issue_authority("below");
    let one = authority.issue_with(&["one.example"], |params| {
        params.distinguished_name.push(DnType::CommonName, "one");
    });
    let names = [
        "spiffe://td/client",
        "10.0.0.1",
        "2001:db8::1",
        "a@b.example",
    ];
    let known = authority.issue_with(&names, |params| {
        let other = (vec![1, 2, 3, 4], "other".into());
        params.subject_alt_names.push(SanType::OtherName(other));
    });
    let write = |name: &str, text: &str| {
        fs::write(directory.join(name), text).expect("written");
    };
    write("ca.crt", &authority.pem);
    write("below.crl", &below.revoke(&[]));
    for (name, certificate) in [
        ("one", &one),
        ("two", &authority.issue_rsa(&["two.example"])),
        ("known", &known),
        ("below", &below.issue(&["spiffe://td/client"])),
    ] {
        write(&format!("{name}.crt"), &certificate.chain);
        write(&format!("{name}.key"), &certificate.key);
    }
    let hash = "openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER | \
                openssl dgst -sha256 -binary | base64 -w 0";
    (shell(hash, &known.chain), shell(hash, &one.chain))
}

/// What a client hears: the certificate, the lines that begin so, the status. It speaks TLS 1.2, where
/// `openssl` prints an answer on lines of its own.
fn talk(port: u16, arguments: &[&str], lines: &[&str]) -> String {
    let output = client(port, &[&["-tls1_2"], arguments].concat());
    let said = output.lines().map(str::trim).filter(|line| {
        let mut starts = ["subject=", "HTTP/1.1 "].iter().chain(lines);
        starts.any(|start| line.starts_with(start))
    });
    said.collect::<Vec<_>>().join(" | ")
}

/// How a request is answered that goes by a cluster.
fn status(port: u16, cluster: &str) -> String {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    let patience = Some(Duration::from_secs(10));
    socket.set_read_timeout(patience).expect("a timeout");
    let request =
        format!("GET / HTTP/1.1\r\nHost: h\r\nCluster: {cluster}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    answer.lines().next().unwrap_or_default().to_owned()
}
