//! TLS with endpoints.

use std::fmt::Write;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weir_tests::certificates::{Authority, inline};

use crate::{
    peer::{Server, heads},
    proxy::Proxy,
    setup::{TYPES, bootstrap, cluster, http_chain, run, socket, start, tcp_chain, until_stat},
};

#[test]
fn an_endpoint_is_asked_for_the_name_and_judged() {
    run(async {
        let (authority, other) = (Authority::new("root"), Authority::new("other"));
        let client = authority.issue(&["spiffe://td/ns/a/sa/client"]);
        for (what, server, name, works) in [
            (
                "known",
                authority.issue(&["web.example"]),
                "web.example",
                true,
            ),
            (
                "of a wildcard",
                authority.issue(&["*.example"]),
                "web.example",
                true,
            ),
            (
                "of another name",
                authority.issue(&["db.example"]),
                "web.example",
                false,
            ),
            (
                "of another authority",
                other.issue(&["web.example"]),
                "web.example",
                false,
            ),
            (
                "expired",
                authority.issue_expired(&["web.example"]),
                "web.example",
                false,
            ),
        ] {
            let server = Server::start(&server, Some(&authority), &["special"]).await;
            let context = format!(
                "sni: {name}, common_tls_context: {{ alpn_protocols: [ special ], \
                 tls_certificates: [ {} ], validation_context: {{ trusted_ca: {}, \
                 match_typed_subject_alt_names: [ {{ san_type: DNS, matcher: \
                 {{ exact: {name} }} }} ] }} }}",
                client.inline(),
                inline(&authority.pem),
            );
            let up = cluster(server.address, &socket("Upstream", &context));
            let proxy = start(&bootstrap(&tcp_chain(""), "", &up, ""));
            let mut client = TcpStream::connect(proxy.address())
                .await
                .expect("it listens");
            client.write_all(b"hello").await.expect("sent");
            let mut got = [0; 5];
            match server.accept().await {
                Ok(mut stream) if works => {
                    let (_, connection) = stream.get_ref();
                    assert_eq!(connection.server_name(), Some(name));
                    assert_eq!(connection.alpn_protocol(), Some(&b"special"[..]));
                    assert!(connection.peer_certificates().is_some());
                    stream.read_exact(&mut got).await.expect("the bytes");
                    stream.write_all(b"world").await.expect("sent");
                    client.read_exact(&mut got).await.expect("the answer");
                    assert_eq!(&got, b"world");
                }
                ended => {
                    // What a client finds wrong is said in an alert, or by a close.
                    let read = match ended {
                        Ok(mut stream) => stream.read(&mut got).await.unwrap_or(0),
                        Err(_) => 0,
                    };
                    assert_eq!((read, works), (0, false), "{what}");
                    assert!(client.read_exact(&mut got).await.is_err(), "{what}");
                    until_stat(&proxy, "cluster", "upstream_cx_connect_fail", 1);
                }
            }
        }
    });
}

#[test]
fn metadata_of_an_endpoint_chooses_its_transport_socket() {
    run(async {
        let authority = Authority::new("root");
        let tls = Server::start(&authority.issue(&["web.example"]), None, &[]).await;
        let tls_port = tls.address.port();
        let (plain, no_metadata) = (heads().await.port(), heads().await.port());
        tls.answer_with_heads();
        let context = format!(
            "sni: web.example, common_tls_context: {{ validation_context: {{ trusted_ca: {} }} }}",
            inline(&authority.pem)
        );
        let socket = socket("Upstream", &context);
        let endpoint = |port: u16, metadata: &str| {
            format!(
                "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, \
                 port_value: {port} }} }} }}{metadata} }}"
            )
        };
        let said = |mode: &str| {
            let said = format!("envoy.transport_socket_match: {{ tlsMode: {mode}, other: 1 }}");
            format!(", metadata: {{ filter_metadata: {{ {said} }} }}")
        };
        let endpoints = [
            endpoint(tls_port, &said("istio")),
            endpoint(plain, &said("disabled")),
            endpoint(no_metadata, ""),
        ];
        let up = format!(
            "{{ name: up, type: STATIC, transport_socket_matches: [ {{ name: mutual, \
             match: {{ tlsMode: istio }}{socket} }}, {{ name: plain, match: {{}}, transport_socket: \
             {{ name: raw, typed_config: {{ \"@type\": {TYPES}.transport_sockets.raw_buffer.v3.RawBuffer \
             }} }} }} ], load_assignment: {{ cluster_name: up, endpoints: [ {{ lb_endpoints: [ {} ] }} ] }} }}",
            endpoints.join(", ")
        );
        let proxy = start(&bootstrap(&http_chain("", ""), "", &up, ""));
        let mut client = TcpStream::connect(proxy.address())
            .await
            .expect("it listens");
        for _ in 0..6 {
            let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
            client.write_all(request).await.expect("sent");
            let mut got = vec![0; 1024];
            let read = client.read(&mut got).await.expect("an answer");
            assert!(got[..read].starts_with(b"HTTP/1.1 200 OK"), "{read}");
        }
        until_stat(&proxy, "cluster", "ssl.handshake", 1);
        until_stat(&proxy, "cluster", "upstream_cx_total", 3);
    });
}

#[test]
fn sessions_with_an_endpoint_are_resumed_as_often_as_configured() {
    run(async {
        let authority = Authority::new("root");
        for (keys, resumed) in [("", true), (", max_session_keys: 0", false)] {
            let server = Server::start(&authority.issue(&["web.example"]), None, &[]).await;
            let context = format!(
                "sni: web.example{keys}, common_tls_context: {{ validation_context: \
                 {{ trusted_ca: {} }} }}",
                inline(&authority.pem)
            );
            let up = cluster(server.address, &socket("Upstream", &context));
            let proxy = start(&bootstrap(&tcp_chain(""), "", &up, ""));
            server.answer_with_heads();
            for _ in 0..2 {
                let mut client = TcpStream::connect(proxy.address())
                    .await
                    .expect("it listens");
                let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
                client.write_all(request).await.expect("sent");
                let mut got = [0; 15];
                client.read_exact(&mut got).await.expect("an answer");
                assert_eq!(&got, b"HTTP/1.1 200 OK");
            }
            until_stat(&proxy, "cluster", "ssl.handshake", 2);
            until_stat(&proxy, "cluster", "ssl.session_reused", i64::from(resumed));
        }
    });
}

#[test]
fn sni_is_the_endpoints_hostname_where_that_is_configured() {
    run(async {
        let authority = Authority::new("root");
        let shown = authority.issue(&["own.example", "fixed.example"]);
        for (auto, hostname, name) in [
            ("", "own.example", "fixed.example"),
            ("auto_host_sni: true,", "own.example", "own.example"),
            ("auto_host_sni: true,", "", "fixed.example"),
        ] {
            let server = Server::start(&shown, None, &[]).await;
            let context = format!("sni: fixed.example, {auto} common_tls_context: {{}}");
            let up = cluster(server.address, &socket("Upstream", &context));
            let own = format!("endpoint: {{ hostname: \"{hostname}\", ");
            let up = up.replace("endpoint: { ", &own);
            let proxy = start(&bootstrap(&tcp_chain(""), "", &up, ""));
            let names = server.answer_with_heads();
            assert_eq!(status(&proxy).await.as_deref(), Some("200"), "{auto}");
            assert_eq!(*names.borrow(), [name], "{auto} {hostname}");
        }
    });
}

#[test]
fn the_name_in_sni_is_to_be_shown_in_place_of_others_where_that_is_configured() {
    run(async {
        let authority = Authority::new("root");
        let none = "match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: none } } ]";
        for (auto, matchers, shown, works) in [
            ("", "", "other.example", true),
            ("auto_sni_san_validation: true,", "", "other.example", false),
            ("auto_sni_san_validation: true,", "", "web.example", true),
            ("", none, "web.example", false),
            ("auto_sni_san_validation: true,", none, "web.example", true),
        ] {
            let server = Server::start(&authority.issue(&[shown]), None, &[]).await;
            let context = format!(
                "sni: web.example, {auto} common_tls_context: {{ validation_context: \
                 {{ trusted_ca: {}, {matchers} }} }}",
                inline(&authority.pem)
            );
            let up = cluster(server.address, &socket("Upstream", &context));
            let proxy = start(&bootstrap(&tcp_chain(""), "", &up, ""));
            server.answer_with_heads();
            let expected = works.then_some("200");
            assert_eq!(
                status(&proxy).await.as_deref(),
                expected,
                "{auto} {matchers} {shown}"
            );
        }
    });
}

/// The status that a request is answered with; none where the connection ends before.
async fn status(proxy: &Proxy) -> Option<String> {
    let mut client = TcpStream::connect(proxy.address()).await.ok()?;
    let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    client.write_all(request).await.ok()?;
    let mut got = [0; 12];
    client.read_exact(&mut got).await.ok()?;
    let line = String::from_utf8_lossy(&got);
    line.strip_prefix("HTTP/1.1 ").map(str::to_owned)
}

#[test]
fn sni_and_the_name_to_be_shown_go_by_each_request() {
    run(async {
        let authority = Authority::new("root");
        let shown = authority.issue(&["a.example", "b.example"]);
        for (validates, header, of_unknown) in
            [(false, "", 200), (true, "", 503), (true, "x-n", 200)]
        {
            let server = Server::start(&shown, None, &[]).await;
            let context = format!(
                "sni: fixed.example, common_tls_context: {{ validation_context: \
                 {{ trusted_ca: {} }} }}",
                inline(&authority.pem)
            );
            let mut more = socket("Upstream", &context);
            write!(
                more,
                r#", typed_extension_protocol_options: {{
                  envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{
                    "@type": {TYPES}.upstreams.http.v3.HttpProtocolOptions,
                    explicit_http_config: {{ http_protocol_options: {{}} }},
                    upstream_http_protocol_options: {{ auto_sni: true,
                      auto_san_validation: {validates}, override_auto_sni_header: "{header}" }} }} }}"#
            )
            .expect("text");
            let up = cluster(server.address, &more);
            let proxy = start(&bootstrap(&http_chain("", ""), "", &up, ""));
            let names = server.answer_with_heads();
            let mut client = TcpStream::connect(proxy.address())
                .await
                .expect("it listens");
            let hosts = ["a.example", "b.example:80", "A.example", "unknown.example"];
            for (host, status) in hosts.into_iter().zip([200, 200, 200, of_unknown]) {
                let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-N: b.example\r\n\r\n");
                client.write_all(request.as_bytes()).await.expect("sent");
                let mut got = vec![0; 1024];
                let read = client.read(&mut got).await.expect("an answer");
                let status = format!("HTTP/1.1 {status}");
                let answer = String::from_utf8_lossy(&got[..read]);
                assert!(answer.starts_with(&status), "{host} {validates}: {answer}");
            }
            let mut expected = match header {
                "" => vec!["a.example", "b.example", "unknown.example"],
                _ => vec!["b.example"],
            };
            // One that was refused is not among those whose handshake was done.
            expected.retain(|name| !validates || *name != "unknown.example");
            assert_eq!(*names.borrow(), expected);
        }
    });
}
