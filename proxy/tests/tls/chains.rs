//! TLS with clients.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_tests::certificates::{Authority, inline};

use crate::{
    peer::{Client, heads, plain_echo},
    setup::{bootstrap, cluster, http_chain, run, socket, start, tcp_chain, until_stat},
};

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
