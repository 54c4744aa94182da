//! TLS with endpoints.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weir_tests::certificates::{Authority, inline};

use crate::{
    peer::Server,
    setup::{bootstrap, cluster, run, socket, start, tcp_chain, until_stat},
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
