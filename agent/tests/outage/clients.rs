//! Clients that ask again and again, and what they see.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet, time::sleep};
use weir_tests::http::read_message;

/// Clients of each listener.
const CLIENTS: usize = 30;
/// What each waits between two requests.
const PAUSE: Duration = Duration::from_millis(250);

/// What the clients of one listener saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Answers by status; 0: none.
    statuses: BTreeMap<u16, usize>,
    /// Milliseconds.
    times: Vec<u64>,
}

// === impl Seen ===

impl Seen {
    pub(crate) const HEADINGS: &str = "requests | 503 | 504 | p50, ms | p99, ms";

    pub(crate) fn all(&self) -> usize {
        self.times.len()
    }

    /// The share that did not get what it asked for.
    pub(crate) fn failing(&self) -> f64 {
        1.0 - self.count(200) as f64 / self.all().max(1) as f64
    }

    fn count(&self, status: u16) -> usize {
        self.statuses.get(&status).copied().unwrap_or_default()
    }

    fn percentile(&self, share: usize) -> u64 {
        self.times[(self.all() - 1) * share / 100]
    }

    fn note(&mut self, status: u16, time: Duration) {
        *self.statuses.entry(status).or_default() += 1;
        self.times
            .push(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }

    fn add(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.times.extend(other.times);
        self.times.sort_unstable();
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |status| 100.0 * self.count(status) as f64 / self.all().max(1) as f64;
        write!(
            f,
            "{} | {:.1} % | {:.1} % | {} | {}",
            self.all(),
            share(503),
            share(504),
            self.percentile(50),
            self.percentile(99)
        )
    }
}

/// Asks all listeners for so long.
pub(crate) fn run(listeners: &[SocketAddr], time: Duration) -> Vec<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let end = Instant::now() + time;
        let mut clients = JoinSet::new();
        for (index, listener) in listeners.iter().copied().enumerate() {
            for number in 0..CLIENTS {
                let late = PAUSE * u32::try_from(number).expect("few") / CLIENTS as u32;
                clients.spawn(async move {
                    sleep(late).await;
                    (index, ask_until(listener, end).await)
                });
            }
        }
        let mut seen: Vec<_> = listeners.iter().map(|_| Seen::default()).collect();
        for (index, of_client) in clients.join_all().await {
            seen[index].add(of_client);
        }
        seen
    })
}

async fn ask_until(listener: SocketAddr, end: Instant) -> Seen {
    let (mut seen, mut connection) = (Seen::default(), None);
    while Instant::now() < end {
        let begin = Instant::now();
        let status = ask(listener, &mut connection).await;
        seen.note(status.unwrap_or_default(), begin.elapsed());
        sleep(PAUSE).await;
    }
    seen
}

/// The status of the answer to a request, on the connection that is there.
async fn ask(listener: SocketAddr, connection: &mut Option<TcpStream>) -> Option<u16> {
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => TcpStream::connect(listener).await.ok()?,
    };
    let request = b"GET / HTTP/1.1\r\nhost: service\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let answer = read_message(&mut stream).await?;
    *connection = Some(stream);
    answer.split(' ').nth(1)?.parse().ok()
}
