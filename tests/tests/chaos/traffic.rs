//! Backends that always answer, and clients that want answers all the time.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use weir_tests::http;

/// Requests on one connection before the client opens another.
const PER_CONNECTION: usize = 10;

/// A server. It outlives the test, as its threads do.
pub(crate) struct Backend {
    pub(crate) port: u16,
}

/// Clients, one thread each.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    served: AtomicU64,
    failed: Mutex<Option<String>>,
    stop: AtomicBool,
}

/// One request on a connection of its own.
pub(crate) fn get(address: SocketAddr) -> Result<(), String> {
    let mut stream = connect(address)?;
    request(&mut stream)
}

fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let text = |error: std::io::Error| format!("connect: {error}");
    let stream = TcpStream::connect(address).map_err(text)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .map_err(text)?;
    Ok(stream)
}

fn request(stream: &mut TcpStream) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: cart\r\n\r\n")
        .map_err(text)?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while !answer.windows(6).any(|bytes| bytes == b"\r\n\r\nok") {
        match stream.read(&mut buffer).map_err(text)? {
            0 => break,
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let good = answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok");
    if good {
        Ok(())
    } else {
        Err(format!("answered {answer:?}"))
    }
}

// === impl Backend ===

impl Backend {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        http::serve(listener, "", "ok");
        Self { port }
    }
}

// === impl Traffic ===

impl Traffic {
    pub(crate) fn start(address: SocketAddr, clients: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let client = |_| {
            let shared = shared.clone();
            thread::spawn(move || {
                if let Err(reason) = shared.follow(address) {
                    shared.fail(reason);
                }
            })
        };
        let threads = (0..clients).map(client).collect();
        Self { shared, threads }
    }

    /// Requests that were answered.
    pub(crate) fn served(&self) -> u64 {
        self.shared.served.load(Ordering::Relaxed)
    }

    /// Why the first one failed that did.
    pub(crate) fn failed(&self) -> Option<String> {
        self.shared
            .failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ends, and says whether a request failed.
    pub(crate) fn stop(mut self) -> Option<String> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a client does not panic");
        }
        self.failed()
    }
}

// === impl Shared ===

impl Shared {
    fn follow(&self, address: SocketAddr) -> Result<(), String> {
        while !self.stop.load(Ordering::Relaxed) {
            let mut stream = connect(address)?;
            for _ in 0..PER_CONNECTION {
                request(&mut stream)?;
                self.served.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn fail(&self, reason: String) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get_or_insert(reason);
    }
}
