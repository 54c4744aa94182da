//! Where secrets come from, and what becomes of connections when they change.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_api::xds::{codec, json, type_url};
use weir_proxy::secrets::Local;
use weir_tests::certificates::{Authority, Certificate, inline};

use crate::{
    peer::{Client, plain_echo},
    proxy::Proxy,
    setup::{bootstrap, cluster, run, socket, start, start_with, tcp_chain, until_stat},
};

/// Long enough for each proxy to have looked at its files.
const LOOKED_AT: Duration = Duration::from_millis(1100);

/// Whether a client that trusts `authority` can speak to the proxy.
async fn speaks(proxy: &Proxy, authority: &Authority) -> bool {
    let client = Client::new(authority, "web.example");
    let Ok(mut stream) = client.connect(proxy.address()).await else {
        return false;
    };
    let mut got = [0; 5];
    stream.write_all(b"hello").await.is_ok()
        && stream.read_exact(&mut got).await.is_ok()
        && &got == b"hello"
}

fn secret_message(name: &str, certificate: &Certificate) -> String {
    format!(
        "{{ name: {name}, tls_certificate: {} }}",
        certificate.inline()
    )
}

fn write(directory: &Path, certificate: &Certificate) {
    fs::create_dir_all(directory).expect("a directory");
    fs::write(directory.join("tls.crt"), &certificate.chain).expect("written");
    fs::write(directory.join("tls.key"), &certificate.key).expect("written");
}

/// Makes `link` lead to `target` in one step, as Kubernetes does.
fn lead(link: &Path, target: &str) {
    let new = link.with_file_name("..new");
    symlink(target, &new).expect("a link");
    fs::rename(&new, link).expect("renamed");
}

#[test]
fn a_secret_of_the_process_may_come_late_and_change_under_open_connections() {
    run(async {
        let (old, new) = (Authority::new("old"), Authority::new("new"));
        let up = plain_echo().await;
        let context = "common_tls_context: { tls_certificate_sds_secret_configs: [ \
                       { name: default, sds_config: { path_config_source: { path: /none } } } ] }";
        let chain = tcp_chain(&socket("Downstream", context));
        let local = Local::new(&["default"]);
        let given = local.clone();
        let text = bootstrap(&chain, "", &cluster(up, ""), "");
        let proxy = start_with(&text, |options| options.local_secrets = Some(given));
        assert!(!speaks(&proxy, &old).await);
        let not_ready = "server_ssl_socket_factory.downstream_context_secrets_not_ready";
        until_stat(&proxy, "listener", not_ready, 1);

        let set = |authority: &Authority| {
            let text = secret_message("default", &authority.issue(&["web.example"]));
            let any = json::message_from_yaml(type_url::SECRET, &text).expect(&text);
            local.set(codec::unpack_secret(&any).expect("a secret"))
        };
        set(&old).expect("sound");
        assert!(speaks(&proxy, &old).await && !speaks(&proxy, &new).await);
        let client = Client::new(&old, "web.example");
        let mut open = client.connect(proxy.address()).await.expect("a handshake");
        set(&new).expect("sound");
        assert!(speaks(&proxy, &new).await && !speaks(&proxy, &old).await);
        let mut got = [0; 5];
        open.write_all(b"still").await.expect("sent");
        open.read_exact(&mut got).await.expect("it goes on");
        assert_eq!(&got, b"still");
    });
}

#[test]
fn what_the_process_cannot_use_is_named_and_changes_nothing() {
    let local = Local::new(&["default"]);
    let certificate = Authority::new("root").issue(&["a"]);
    let other = Authority::new("root").issue(&["a"]);
    let mut mixed = certificate.clone();
    mixed.key = other.key;
    for (text, reason) in [
        (secret_message("other", &certificate), "none of those"),
        (
            secret_message("default", &mixed),
            "is not the key of the certificate",
        ),
        (
            "{ name: default, tls_certificate: { certificate_chain: { inline_string: x }, \
             private_key: { inline_string: SECRET } } }"
                .to_owned(),
            "tls_certificate.certificate_chain: has no certificate",
        ),
        (
            "{ name: default, tls_certificate: { pkcs12: { inline_string: SECRET } } }".to_owned(),
            "tls_certificate.pkcs12: not supported",
        ),
        (
            "{ name: default, validation_context: { trusted_ca: { filename: /none/ca.pem } } }"
                .to_owned(),
            "/none/ca.pem: No such file",
        ),
    ] {
        let any = json::message_from_yaml(type_url::SECRET, &text).expect(&text);
        let set = local.set(codec::unpack_secret(&any).expect("a secret"));
        let error = set.expect_err(&text).to_string();
        assert!(error.contains(reason), "{error}");
        assert!(
            !error.contains("SECRET") && !error.contains("PRIVATE"),
            "{error}"
        );
    }
    assert!(!format!("{local:?}").contains("PRIVATE"));
}

#[test]
fn files_are_followed_through_a_swap_of_symbolic_links() {
    run(async {
        let (old, new) = (Authority::new("old"), Authority::new("new"));
        let up = plain_echo().await;
        let directory = tempfile::tempdir().expect("a directory");
        let mount = directory.path();
        write(&mount.join("..1"), &old.issue(&["web.example"]));
        lead(&mount.join("..data"), "..1");
        for name in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(name), mount.join(name)).expect("a link");
        }
        let (chain, key) = (mount.join("tls.crt"), mount.join("tls.key"));
        let certificate = format!(
            "{{ certificate_chain: {{ filename: {chain:?} }}, private_key: {{ filename: {key:?} }} }}"
        );
        // Once named by the chain itself, once by the bootstrap, once by a file of its own.
        let named = mount.join("sds.yaml");
        let response = format!(
            "{{ resources: [ {{ \"@type\": {}, name: web, tls_certificate: {certificate} }} ] }}",
            type_url::SECRET
        );
        fs::write(&named, response).expect("written");
        let fixed = format!(", secrets: [ {{ name: web, tls_certificate: {certificate} }} ]");
        let contexts = [
            (format!("tls_certificates: [ {certificate} ]"), ""),
            (
                "tls_certificate_sds_secret_configs: [ { name: web } ]".to_owned(),
                &*fixed,
            ),
            (
                format!(
                    "tls_certificate_sds_secret_configs: [ {{ name: web, sds_config: \
                     {{ path_config_source: {{ path: {named:?} }} }} }} ]"
                ),
                "",
            ),
        ];
        let proxies = contexts.map(|(context, resources)| {
            let context = format!("common_tls_context: {{ {context} }}");
            let chain = tcp_chain(&socket("Downstream", &context));
            start(&bootstrap(&chain, "", &cluster(up, ""), resources))
        });
        for proxy in &proxies {
            assert!(speaks(proxy, &old).await && !speaks(proxy, &new).await);
        }
        // Half a renewal is none.
        let half = mount.join("..2");
        write(&half, &new.issue(&["web.example"]));
        fs::write(half.join("tls.key"), "").expect("written");
        lead(&mount.join("..data"), "..2");
        let began = Instant::now();
        while began.elapsed() < LOOKED_AT {
            for proxy in &proxies {
                assert!(speaks(proxy, &old).await);
            }
        }
        write(&mount.join("..3"), &new.issue(&["web.example"]));
        lead(&mount.join("..data"), "..3");
        for proxy in &proxies {
            while !speaks(proxy, &new).await {
                assert!(speaks(proxy, &old).await || speaks(proxy, &new).await);
            }
        }
    });
}

#[test]
fn a_combined_context_judges_by_both_its_parts() {
    run(async {
        let authority = Authority::new("root");
        let server = authority.issue(&["web.example"]);
        let up = plain_echo().await;
        let context = format!(
            "require_client_certificate: true, common_tls_context: {{ tls_certificates: [ {} ], \
             combined_validation_context: {{ default_validation_context: {{ \
             match_typed_subject_alt_names: [ {{ san_type: URI, matcher: {{ exact: 'spiffe://td/a' }} }} ] }}, \
             validation_context_sds_secret_config: {{ name: root }} }} }}",
            server.inline()
        );
        let chain = tcp_chain(&socket("Downstream", &context));
        let root = inline(&authority.pem);
        let secrets = format!(
            ", secrets: [ {{ name: root, validation_context: {{ trusted_ca: {root} }} }} ]"
        );
        let proxy = start(&bootstrap(&chain, "", &cluster(up, ""), &secrets));
        let other = Authority::new("other");
        for (shown, works) in [
            (authority.issue(&["spiffe://td/a"]), true),
            (authority.issue(&["spiffe://td/b"]), false),
            (other.issue(&["spiffe://td/a"]), false),
        ] {
            let client = Client::new(&authority, "web.example").with(&authority, &shown);
            let mut got = [0; 1];
            let spoke = async {
                let mut stream = client.connect(proxy.address()).await?;
                stream.write_all(b"x").await?;
                stream.read_exact(&mut got).await
            };
            assert_eq!(spoke.await.is_ok(), works);
        }
    });
}
