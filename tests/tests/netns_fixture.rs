//! The namespace fixture itself.

use std::{
    io::ErrorKind,
    net::{TcpListener, TcpStream},
};

use weir_tests::netns::{self, NetNs};

#[test]
fn what_listens_in_one_namespace_is_reached_through_the_link_only() {
    if !netns::available() {
        return;
    }
    let (one, other) = (NetNs::new().expect("new"), NetNs::new().expect("new"));
    one.link(
        "eth0",
        &["10.9.0.1/24", "fd09::1/64"],
        &other,
        &["10.9.0.2/24", "fd09::2/64"],
    )
    .expect("link");
    for (bind, dial) in [("10.9.0.1:0", "10.9.0.1"), ("[fd09::1]:0", "[fd09::1]")] {
        let listener = one.run(|| TcpListener::bind(bind)).expect("bind");
        let port = listener.local_addr().expect("address").port();
        other
            .run(|| TcpStream::connect(format!("{dial}:{port}")))
            .expect("through the link");
        let error = other
            .run(|| TcpStream::connect(("127.0.0.1", port)))
            .expect_err("own lo");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn a_dropped_namespace_is_gone() {
    if !netns::available() {
        return;
    }
    let namespace = NetNs::new().expect("new");
    let path = namespace.path();
    assert!(path.exists());
    drop(namespace);
    assert!(!path.exists());
}
