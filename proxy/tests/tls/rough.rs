//! Clients that do not speak TLS as they should: none ends more than its own connection, each is
//! counted, and what came whole before an end is passed on.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weir_tests::certificates::Authority;

use crate::{
    peer::{Client, plain_echo},
    proxy::Proxy,
    setup::{bootstrap, cluster, run, socket, start, tcp_chain, until_stat},
};

/// A proxy that relays what comes over TLS, and who signed its certificate. `more` is further
/// fields of the chain, each behind a comma.
async fn relaying(more: &str) -> (Proxy, Authority) {
    let authority = Authority::new("root");
    let certificate = authority.issue(&["web.example"]);
    let up = plain_echo().await;
    let context = format!(
        "common_tls_context: {{ tls_certificates: [ {} ] }}",
        certificate.inline()
    );
    let socket = socket("Downstream", &context);
    let chain = tcp_chain(&format!("{socket}{more}"));
    let proxy = start(&bootstrap(&chain, "", &cluster(up, ""), ""));
    (proxy, authority)
}

async fn echoes(proxy: &Proxy, authority: &Authority) {
    let client = Client::new(authority, "web.example");
    let mut stream = client.connect(proxy.address()).await.expect("a handshake");
    stream.write_all(b"hello").await.expect("sent");
    let mut got = [0; 5];
    stream.read_exact(&mut got).await.expect("the echo");
    assert_eq!(&got, b"hello");
}

/// What a client of rustls says first.
fn client_hello(authority: &Authority) -> Vec<u8> {
    let mut connection = Client::new(authority, "web.example").connection();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("a ClientHello");
    hello
}

#[test]
fn what_is_no_handshake_is_answered_with_an_alert_and_counted() {
    run(async {
        let (proxy, authority) = relaying("").await;
        let hello = client_hello(&authority);
        let mut changed = hello.clone();
        let last = changed.len() - 1;
        // The length of the message, and the extensions.
        changed[8] ^= 0x7f;
        changed[last] ^= 0xff;
        let record = |kind: u8, body: &[u8]| {
            let length = u16::try_from(body.len()).expect("short").to_be_bytes();
            [&[kind, 3, 1][..], &length, body].concat()
        };
        let cases: [(&str, Vec<u8>, bool); 8] = [
            ("HTTP", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), true),
            ("zeros", vec![0; 64], true),
            ("a changed hello", changed, true),
            ("an empty record", record(22, b""), true),
            ("an alert", record(21, &[2, 40]), false),
            ("data before a handshake", record(23, &[1; 40]), true),
            (
                "a record that is too large",
                vec![22, 3, 1, 0xff, 0xff, 1, 0, 0, 1],
                true,
            ),
            ("a server's message", record(22, &[2, 0, 0, 1, 0]), true),
        ];
        for (index, (what, bytes, is_answered)) in cases.into_iter().enumerate() {
            let mut stream = TcpStream::connect(proxy.address())
                .await
                .expect("it listens");
            stream.write_all(&bytes).await.expect("sent");
            stream.shutdown().await.expect("ended");
            let mut got = Vec::new();
            // What was not read makes the kernel reset the connection.
            let _ = stream.read_to_end(&mut got).await;
            let is_alert = got.first() == Some(&21);
            assert!(
                is_alert || !is_answered || got.is_empty(),
                "{what}: {got:?}"
            );
            let count = i64::try_from(index + 1).expect("few");
            until_stat(&proxy, "listener", "ssl.connection_error", count);
        }
        echoes(&proxy, &authority).await;
        until_stat(&proxy, "server", "panics", 0);
    });
}

#[test]
fn a_handshake_in_pieces_is_one_and_one_that_is_cut_is_none() {
    run(async {
        let (proxy, authority) = relaying("").await;
        let mut connection = Client::new(&authority, "web.example").connection();
        let mut stream = TcpStream::connect(proxy.address())
            .await
            .expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        let mut got = vec![0; 16 << 10];
        while connection.is_handshaking() {
            let mut out = Vec::new();
            while connection.wants_write() {
                connection.write_tls(&mut out).expect("written");
            }
            for byte in out {
                stream.write_all(&[byte]).await.expect("sent");
            }
            if connection.is_handshaking() {
                let read = stream.read(&mut got).await.expect("an answer");
                connection.read_tls(&mut &got[..read]).expect("read");
                connection.process_new_packets().expect("sound");
            }
        }
        let mut out = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut out).expect("written");
        }
        stream.write_all(&out).await.expect("sent");
        until_stat(&proxy, "listener", "ssl.handshake", 1);

        let hello = client_hello(&authority);
        for (index, cut) in [1, 5, 6, 40, hello.len() - 1].into_iter().enumerate() {
            let mut stream = TcpStream::connect(proxy.address())
                .await
                .expect("it listens");
            stream.write_all(&hello[..cut]).await.expect("sent");
            drop(stream);
            let count = i64::try_from(index + 1).expect("few");
            until_stat(&proxy, "listener", "ssl.connection_error", count);
        }
        echoes(&proxy, &authority).await;
    });
}

#[test]
fn a_client_that_ends_without_saying_so_has_ended() {
    run(async {
        let (proxy, authority) = relaying("").await;
        let client = Client::new(&authority, "web.example");
        let mut stream = client.connect(proxy.address()).await.expect("a handshake");
        stream.write_all(b"hello").await.expect("sent");
        let mut got = [0; 5];
        stream.read_exact(&mut got).await.expect("the echo");
        // FIN without a close_notify: the endpoint is told, and its end comes back as one.
        let (socket, _) = stream.get_mut();
        socket.shutdown().await.expect("ended");
        let rest = stream.read_to_end(&mut Vec::new()).await;
        assert_eq!(rest.expect("a close_notify"), 0);
        until_stat(&proxy, "listener", "downstream_cx_active", 0);
    });
}

#[test]
fn a_handshake_may_take_as_long_as_configured() {
    run(async {
        let (proxy, authority) = relaying(", transport_socket_connect_timeout: 2s").await;
        let began = std::time::Instant::now();
        let mut stream = TcpStream::connect(proxy.address())
            .await
            .expect("it listens");
        let hello = client_hello(&authority);
        stream.write_all(&hello[..10]).await.expect("sent");
        let _ = stream.read_to_end(&mut Vec::new()).await;
        assert!(began.elapsed() >= Duration::from_secs(2));
        until_stat(&proxy, "listener", "ssl.connection_error", 1);
        echoes(&proxy, &authority).await;
    });
}

#[test]
fn keys_change_under_a_connection_as_often_as_a_client_likes() {
    run(async {
        let (proxy, authority) = relaying("").await;
        let client = Client::new(&authority, "web.example");
        let mut stream = client.connect(proxy.address()).await.expect("a handshake");
        for round in 0..40_u8 {
            let (_, connection) = stream.get_mut();
            connection.refresh_traffic_keys().expect("TLS 1.3");
            let sent = [round; 20_000];
            let mut got = [0; 20_000];
            stream.write_all(&sent).await.expect("sent");
            stream.read_exact(&mut got).await.expect("the echo");
            assert!(got == sent, "{round}");
        }
        // Changes alone, without a byte that needed them, are a flood.
        let flooded = async {
            for _ in 0..100 {
                stream.get_mut().1.refresh_traffic_keys()?;
                stream.flush().await?;
            }
            stream.write_all(b"x").await?;
            stream.read_u8().await.map(drop)?;
            Ok::<(), Box<dyn std::error::Error>>(())
        };
        assert!(flooded.await.is_err());
        echoes(&proxy, &authority).await;
    });
}
