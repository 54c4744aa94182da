//! Endpoints that do not answer as they should.

use std::{
    io::Write,
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use weir_tests::http;

/// What an endpoint does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// Reads, and says nothing.
    Nothing,
    /// Says that it is working, for ever.
    Inform,
}

/// An endpoint, which stays for the rest of the process.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) port: u16,
    accepted: Arc<AtomicUsize>,
}

// === impl Endpoint ===

impl Endpoint {
    pub(crate) fn new(does: Does) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                match does {
                    Does::Nothing => held.push(stream),
                    Does::Inform => drop(thread::spawn(move || inform(stream))),
                }
            }
        });
        Self { port, accepted }
    }

    /// One that answers.
    pub(crate) fn good() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        http::serve(listener, "", "good");
        port
    }

    /// Connections that were made to it.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

fn inform(mut stream: TcpStream) {
    let informational = format!(
        "HTTP/1.1 103 Early Hints\r\nlink: {}\r\n\r\n",
        "l".repeat(1000)
    );
    let many = informational.repeat(64);
    while stream.write_all(many.as_bytes()).is_ok() {}
}
