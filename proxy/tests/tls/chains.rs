//! TLS with clients.

use rcgen::{DistinguishedName, DnType, date_time_ymd};
use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_tests::certificates::{Authority, inline};

use crate::{
    peer::{Client, heads, plain_echo},
    proxy::Proxy,
    setup::{
        TLS_INSPECTOR, TYPES, bootstrap, cluster, http_chain, run, socket, start, tcp_chain,
        until_stat,
    },
};

fn sha256(bytes: &[u8]) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Bytes whose order matters.
fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 7 % 251) as u8).collect()
}

#[test]
fn bytes_pass_both_ways_over_every_version() {
    run(async {
        let authority = Authority::new("root");
        let certificate = authority.issue(&["web.example"]);
        let up = plain_echo().await;
        let context = format!(
            "common_tls_context: {{ tls_certificates: [ {} ] }}",
            certificate.inline()
        );
        let chain = tcp_chain(&socket("Downstream", &context));
        let proxy = start(&bootstrap(&chain, "", &cluster(up, ""), ""));
        let client = Client::new(&authority, "web.example");
        for client in [client.clone(), client.tls12(&authority)] {
            let stream = client.connect(proxy.address()).await.expect("a handshake");
            let (mut read, mut write) = tokio::io::split(stream);
            let sent = payload(3 << 20);
            let expected = sent.clone();
            tokio::task::spawn_local(async move {
                write.write_all(&sent).await.expect("sent");
                write.shutdown().await.expect("ended");
                std::future::pending::<()>().await;
            });
            let mut got = Vec::new();
            // The endpoint ends once we have: it is told of our close_notify, and we of its end.
            read.read_to_end(&mut got).await.expect("a close_notify");
            assert!(got == expected, "{} of {} bytes", got.len(), expected.len());
        }
        until_stat(&proxy, "listener", "ssl.handshake", 2);
        until_stat(&proxy, "listener", "ssl.no_certificate", 2);
        for (name, count) in [
            ("ssl.versions.TLSv1.2", 1),
            ("ssl.versions.TLSv1.3", 1),
            ("ssl.ciphers.TLS_AES_128_GCM_SHA256", 1),
            ("ssl.ciphers.ECDHE-ECDSA-AES128-GCM-SHA256", 1),
            ("ssl.curves.X25519MLKEM768", 1),
            ("ssl.curves.X25519", 1),
        ] {
            until_stat(&proxy, "listener", name, count);
        }
    });
}

#[test]
fn a_client_without_a_certificate_that_is_wanted_is_refused() {
    run(async {
        let (authority, other) = (Authority::new("root"), Authority::new("other"));
        let certificate = authority.issue(&["web.example"]);
        let up = plain_echo().await;
        let context = format!(
            "require_client_certificate: true, common_tls_context: {{ tls_certificates: [ {} ], \
             validation_context: {{ trusted_ca: {}, match_typed_subject_alt_names: [ \
             {{ san_type: URI, matcher: {{ prefix: 'spiffe://td/' }} }} ] }} }}",
            certificate.inline(),
            inline(&authority.pem),
        );
        let chain = tcp_chain(&socket("Downstream", &context));
        let proxy = start(&bootstrap(&chain, "", &cluster(up, ""), ""));
        let client = || Client::new(&authority, "web.example");
        let cases = [
            (
                "known",
                Some(authority.issue(&["spiffe://td/ns/a/sa/b"])),
                "",
            ),
            ("none", None, "ssl.fail_verify_no_cert"),
            (
                "of another authority",
                Some(other.issue(&["spiffe://td/ns/a/sa/b"])),
                "ssl.fail_verify_error",
            ),
            (
                "expired",
                Some(authority.issue_expired(&["spiffe://td/ns/a/sa/b"])),
                "ssl.fail_verify_error",
            ),
            (
                "of another name",
                Some(authority.issue(&["spiffe://other/ns/a/sa/b"])),
                "ssl.fail_verify_san",
            ),
        ];
        for (what, shown, counter) in cases {
            let before = proxy.stat("listener", counter);
            let client = match &shown {
                Some(certificate) => client().with(&authority, certificate),
                None => client(),
            };
            let echoed = async {
                let mut stream = client.connect(proxy.address()).await?;
                stream.write_all(b"hello").await?;
                let mut got = [0; 5];
                stream.read_exact(&mut got).await.map(|_| got)
            };
            let echoed = echoed.await;
            match counter {
                "" => assert_eq!(&echoed.expect(what), b"hello"),
                _ => {
                    assert!(echoed.is_err(), "{what}");
                    until_stat(&proxy, "listener", counter, before + 1);
                }
            }
        }
    });
}

/// The first bytes of a server's HTTP/2: a SETTINGS frame, of stream 0.
fn is_settings(bytes: &[u8]) -> bool {
    bytes.len() >= 9 && bytes[3] == 4 && bytes[5..9] == [0; 4]
}

#[test]
fn the_codec_goes_by_alpn_and_lists_that_share_nothing_go_on_without() {
    run(async {
        let authority = Authority::new("root");
        let certificate = authority.issue(&["web.example"]);
        let up = heads().await;
        let context = format!(
            "common_tls_context: {{ alpn_protocols: [ h2, http/1.1 ], tls_certificates: [ {} ] }}",
            certificate.inline()
        );
        let chain = http_chain("", &socket("Downstream", &context));
        let proxy = start(&bootstrap(&chain, "", &cluster(up, ""), ""));
        let cases: [(&[&str], Option<&str>); 5] = [
            (&["h2", "http/1.1"], Some("h2")),
            (&["http/1.1", "h2"], Some("h2")),
            (&["http/1.1"], Some("http/1.1")),
            (&["other"], None),
            (&[], None),
        ];
        for (offered, agreed) in cases {
            let client = Client::new(&authority, "web.example").alpn(offered);
            let mut stream = client.connect(proxy.address()).await.expect("a handshake");
            let protocol = stream.get_ref().1.alpn_protocol();
            assert_eq!(protocol, agreed.map(str::as_bytes), "{offered:?}");
            let mut got = vec![0; 1024];
            if agreed == Some("h2") {
                stream
                    .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
                    .await
                    .expect("sent");
                let read = stream.read(&mut got).await.expect("SETTINGS");
                assert!(is_settings(&got[..read]), "{offered:?}");
                continue;
            }
            for _ in 0..2 {
                let request = b"GET /p HTTP/1.1\r\nHost: h\r\n\r\n";
                stream.write_all(request).await.expect("sent");
                let read = stream.read(&mut got).await.expect("an answer");
                let answer = String::from_utf8_lossy(&got[..read]);
                assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
                assert!(answer.contains("x-forwarded-proto: https"), "{answer}");
            }
        }
        until_stat(&proxy, "http", "downstream_cx_http2_total", 2);
    });
}

/// The head that an endpoint gets of a request with an `x-forwarded-client-cert` of its own.
async fn forwarded(proxy: &Proxy, client: &Client) -> String {
    let mut stream = client.connect(proxy.address()).await.expect("a handshake");
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Client-Cert: Hash=came\r\n\
                    Connection: x-forwarded-client-cert\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut got = vec![0; 16 << 10];
    let read = stream.read(&mut got).await.expect("an answer");
    String::from_utf8_lossy(&got[..read]).into_owned()
}

#[test]
fn endpoints_are_told_of_a_clients_certificate_as_configured() {
    run(async {
        let authority = Authority::new("root");
        let server = authority.issue(&["web.example", "spiffe://td/server"]);
        let shown = authority.issue_with(&["spiffe://td/client", "a.example"], |params| {
            params.distinguished_name = DistinguishedName::new();
            params
                .distinguished_name
                .push(DnType::OrganizationName, "Acme, Inc");
            params.distinguished_name.push(DnType::CommonName, "client");
        });
        let hash = sha256(&shown.der);
        let up = heads().await;
        let context = format!(
            "common_tls_context: {{ tls_certificates: [ {} ], validation_context: {{ trusted_ca: {} }} }}",
            server.inline(),
            inline(&authority.pem)
        );
        let told = format!(
            "By=spiffe://td/server;Hash={hash};Subject=\"CN=client,O=Acme\\, Inc\";\
             URI=spiffe://td/client;DNS=a.example"
        );
        let both = format!("Hash=came,{told}");
        for (mode, with, without) in [
            ("SANITIZE", None, None),
            ("FORWARD_ONLY", Some("Hash=came"), None),
            ("APPEND_FORWARD", Some(&*both), None),
            ("SANITIZE_SET", Some(&*told), None),
            ("ALWAYS_FORWARD_ONLY", Some("Hash=came"), Some("Hash=came")),
        ] {
            let manager = format!(
                ", forward_client_cert_details: {mode}, set_current_client_cert_details: \
                 {{ subject: true, uri: true, dns: true }}"
            );
            let chain = http_chain(&manager, &socket("Downstream", &context));
            let proxy = start(&bootstrap(&chain, "", &cluster(up, ""), ""));
            let client = Client::new(&authority, "web.example");
            let known = client.clone().with(&authority, &shown);
            for (client, expected) in [(known, with), (client, without)] {
                let head = forwarded(&proxy, &client).await.to_ascii_lowercase();
                let line = head
                    .lines()
                    .find(|line| line.starts_with("x-forwarded-client-cert"));
                let value = line
                    .and_then(|line| line.split_once(": "))
                    .map(|(_, value)| value);
                let expected = expected.map(str::to_ascii_lowercase);
                assert_eq!(value, expected.as_deref(), "{mode}");
            }
        }
    });
}

#[test]
fn formats_say_who_the_client_is() {
    run(async {
        let authority = Authority::new("root");
        let server = authority.issue(&["web.example", "spiffe://td/server"]);
        let names = [
            "spiffe://td/a",
            "spiffe://td/b",
            "a.example",
            "a@b.example",
            "10.0.0.1",
        ];
        let shown = authority.issue_with(&names, |params| {
            params.not_before = date_time_ymd(2024, 1, 2);
            params.not_after = date_time_ymd(2100, 3, 4);
        });
        let up = heads().await;
        let context = format!(
            "common_tls_context: {{ tls_certificates: [ {} ], validation_context: {{ trusted_ca: {} }} }}",
            server.inline(),
            inline(&authority.pem)
        );
        let cases = [
            ("REQUESTED_SERVER_NAME", "web.example".to_owned()),
            ("DOWNSTREAM_TLS_VERSION", "TLSv1.3".to_owned()),
            ("DOWNSTREAM_TLS_CIPHER", "TLS_AES_128_GCM_SHA256".to_owned()),
            (
                "DOWNSTREAM_PEER_URI_SAN",
                "spiffe://td/a,spiffe://td/b".to_owned(),
            ),
            ("DOWNSTREAM_PEER_DNS_SAN", "a.example".to_owned()),
            ("DOWNSTREAM_PEER_EMAIL_SAN", "a@b.example".to_owned()),
            ("DOWNSTREAM_PEER_IP_SAN", "10.0.0.1".to_owned()),
            ("DOWNSTREAM_PEER_ISSUER", "CN=root".to_owned()),
            (
                "DOWNSTREAM_PEER_SUBJECT",
                "CN=rcgen self signed cert".to_owned(),
            ),
            ("DOWNSTREAM_PEER_FINGERPRINT_256", sha256(&shown.der)),
            (
                "DOWNSTREAM_PEER_CERT_V_START",
                "2024-01-02T00:00:00.000Z".to_owned(),
            ),
            (
                "DOWNSTREAM_PEER_CERT_V_END",
                "2100-03-04T00:00:00.000Z".to_owned(),
            ),
            ("DOWNSTREAM_LOCAL_URI_SAN", "spiffe://td/server".to_owned()),
            ("DOWNSTREAM_LOCAL_DNS_SAN", "web.example".to_owned()),
        ];
        let added = cases.iter().enumerate().map(|(index, (name, _))| {
            format!("{{ header: {{ key: x-{index}, value: '%{name}%' }} }}")
        });
        let added = added.collect::<Vec<_>>().join(", ");
        let mut chain = http_chain("", &socket("Downstream", &context));
        chain = chain.replace(
            "virtual_hosts:",
            &format!("request_headers_to_add: [ {added} ], virtual_hosts:"),
        );
        let proxy = start(&bootstrap(&chain, TLS_INSPECTOR, &cluster(up, ""), ""));
        let client = Client::new(&authority, "web.example").with(&authority, &shown);
        let head = forwarded(&proxy, &client).await;
        for (index, (name, value)) in cases.iter().enumerate() {
            let line = format!("x-{index}: {value}\r\n");
            assert!(head.contains(&line), "{name}: {head}");
        }
    });
}

#[test]
fn rules_go_by_a_clients_certificate() {
    run(async {
        let authority = Authority::new("root");
        let server = authority.issue(&["web.example"]);
        let up = heads().await;
        let context = format!(
            "common_tls_context: {{ tls_certificates: [ {} ], validation_context: {{ trusted_ca: {} }} }}",
            server.inline(),
            inline(&authority.pem)
        );
        let rbac = format!(
            "http_filters: [ {{ name: rbac, typed_config: {{ \"@type\": {TYPES}.filters.http.rbac.v3.RBAC, \
             rules: {{ policies: {{ p: {{ permissions: [ {{ any: true }} ], principals: [ \
             {{ authenticated: {{ principal_name: {{ exact: 'spiffe://td/a' }} }} }} ] }} }} }} }} }}, "
        );
        let chain = http_chain("", &socket("Downstream", &context));
        let chain = chain.replace("http_filters: [ ", &rbac);
        let proxy = start(&bootstrap(&chain, "", &cluster(up, ""), ""));
        let client = Client::new(&authority, "web.example");
        for (names, status) in [
            (Some(&["spiffe://td/a"][..]), "200"),
            (Some(&["spiffe://td/b", "spiffe://td/a"]), "200"),
            (Some(&["spiffe://td/ab"]), "403"),
            (None, "403"),
        ] {
            let client = match names {
                Some(names) => client.clone().with(&authority, &authority.issue(names)),
                None => client.clone(),
            };
            let answer = forwarded(&proxy, &client).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{names:?}: {answer}"
            );
        }
    });
}

#[test]
fn sessions_are_resumed_unless_that_is_disabled() {
    run(async {
        let authority = Authority::new("root");
        let certificate = authority.issue(&["web.example"]);
        let up = plain_echo().await;
        let keys = format!(
            "session_ticket_keys: {{ keys: [ {{ inline_string: {} }} ] }},",
            "0123456789".repeat(8)
        );
        for (tickets, resumed) in [
            ("", true),
            (&*keys, true),
            ("disable_stateless_session_resumption: true,", false),
        ] {
            let context = format!(
                "{tickets} common_tls_context: {{ tls_certificates: [ {} ] }}",
                certificate.inline()
            );
            let chain = tcp_chain(&socket("Downstream", &context));
            let proxy = start(&bootstrap(&chain, "", &cluster(up, ""), ""));
            let client = Client::new(&authority, "web.example");
            for client in [client.clone(), client.tls12(&authority)] {
                for round in 0..2 {
                    let mut stream = client.connect(proxy.address()).await.expect("a handshake");
                    let mut got = [0; 1];
                    stream.write_all(b"x").await.expect("sent");
                    stream.read_exact(&mut got).await.expect("the echo");
                    let kind = stream.get_ref().1.handshake_kind();
                    let is_resumed = kind == Some(HandshakeKind::Resumed);
                    assert_eq!(is_resumed, resumed && round == 1, "{tickets} {kind:?}");
                }
            }
            until_stat(
                &proxy,
                "listener",
                "ssl.session_reused",
                2 * i64::from(resumed),
            );
        }
    });
}

#[test]
fn plaintext_where_tls_alone_is_served_has_a_reason_of_its_own() {
    run(async {
        let authority = Authority::new("root");
        let certificate = authority.issue(&["web.example"]);
        let up = plain_echo().await;
        let context = format!(
            "common_tls_context: {{ tls_certificates: [ {} ] }}",
            certificate.inline()
        );
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        let more = format!(
            r#"{TLS_INSPECTOR}, access_log: [ {{ name: file, typed_config: {{
              "@type": {TYPES}.access_loggers.file.v3.FileAccessLog, path: {},
              log_format: {{ text_format_source: {{ inline_string: "%RESPONSE_CODE_DETAILS%\n" }} }} }} }} ]"#,
            log.display()
        );
        for (criteria, expected) in [
            ("transport_protocol: tls", "plaintext_refused"),
            // TLS would not help this client.
            ("destination_port: 1", "filter_chain_not_found"),
        ] {
            let criteria = format!(", filter_chain_match: {{ {criteria} }}");
            let chain = tcp_chain(&(socket("Downstream", &context) + &criteria));
            let proxy = start(&bootstrap(&chain, &more, &cluster(up, ""), ""));
            let stream = tokio::net::TcpStream::connect(proxy.address()).await;
            let mut stream = stream.expect("a connection");
            stream.write_all(b"hello").await.expect("sent");
            let mut got = Vec::new();
            // A reset is as good an end.
            let _ = stream.read_to_end(&mut got).await;
            assert!(got.is_empty(), "{got:?}");
            until_stat(&proxy, "listener", "no_filter_chain_match", 1);
            let said = || {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                (text.lines().last() == Some(expected)).then_some(())
            };
            weir_tests::eventually::eventually(std::time::Duration::from_secs(10), said)
                .unwrap_or_else(|error| panic!("{expected}: {error}"));
        }
    });
}

/// What a client of a port that serves TLS alone gets that sends this and waits.
async fn waits(proxy: &Proxy, sent: &[u8]) -> Vec<u8> {
    let stream = tokio::net::TcpStream::connect(proxy.address()).await;
    let mut stream = stream.expect("a connection");
    stream.write_all(sent).await.expect("sent");
    let mut got = Vec::new();
    // A reset is as good an end.
    let _ = stream.read_to_end(&mut got).await;
    got
}

#[test]
fn a_client_that_must_speak_tls_may_not_be_silent_for_ever() {
    run(async {
        let authority = Authority::new("root");
        let certificate = authority.issue(&["web.example"]);
        // Its bytes are for clients of TLS alone, whoever speaks first.
        let server = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let up = server.local_addr().expect("an address");
        let (dialled, mut dials) = tokio::sync::mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            while let Ok((mut stream, _)) = server.accept().await {
                let _ = stream.write_all(b"banner").await;
                let _ = dialled.send(stream);
            }
        });
        let context = format!(
            "common_tls_context: {{ tls_certificates: [ {} ] }}",
            certificate.inline()
        );
        let more = ", filter_chain_match: { transport_protocol: tls }, \
                    transport_socket_connect_timeout: 0.2s";
        let chain = tcp_chain(&(socket("Downstream", &context) + more));
        let both = TLS_INSPECTOR.replace("[ ", &format!(
            r#"[ {{ name: http, typed_config: {{ "@type": {TYPES}.filters.listener.http_inspector.v3.HttpInspector }} }}, "#
        ));
        let timeout =
            ", listener_filters_timeout: 0.2s, continue_on_listener_filters_timeout: true";
        let listener = both + timeout;
        let proxy = start(&bootstrap(&chain, &listener, &cluster(up, ""), ""));
        // With nothing, half of a ClientHello, half of a request line, and what is neither.
        let cases: [(&[u8], i64); 4] = [(b"", 1), (b"\x16\x03\x01\x02", 2), (b"GE", 3), (b"\0", 3)];
        for (number, (sent, timed_out)) in (1..).zip(cases) {
            assert_eq!(waits(&proxy, sent).await, b"", "{sent:?}");
            until_stat(&proxy, "listener", "no_filter_chain_match", number);
            until_stat(&proxy, "listener", "downstream_pre_cx_timeout", timed_out);
        }
        until_stat(&proxy, "listener", "downstream_cx_active", 0);
        assert!(dials.try_recv().is_err(), "nobody was dialled for them");

        let client = Client::new(&authority, "web.example");
        let mut stream = client.connect(proxy.address()).await.expect("a handshake");
        let mut got = [0; 6];
        stream
            .read_exact(&mut got)
            .await
            .expect("the server spoke first");
        assert_eq!(&got, b"banner");

        // A whole ClientHello, and then nothing.
        let (mut hello, mut connection) = (Vec::new(), client.connection());
        while connection.wants_write() {
            connection.write_tls(&mut hello).expect("a ClientHello");
        }
        waits(&proxy, &hello).await;
        until_stat(
            &proxy,
            "listener",
            "downstream_cx_transport_socket_connect_timeout",
            1,
        );
    });
}
