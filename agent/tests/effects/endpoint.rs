//! Endpoints that answer with what they were sent: HTTP/1.1, HTTP/2 and lines that are neither.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::Mutex,
    thread,
    time::Duration,
};

use crate::frames;

/// How long `/sleep` takes: longer than any timeout of a case.
const SLEEP: Duration = Duration::from_secs(3);
/// Nobody waits longer for a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Endpoints of these names are there for each proxy.
pub(crate) const NAMES: [&str; 3] = ["A", "B", "C"];

/// Starts one for the rest of the process.
pub(crate) fn start(name: &'static str, address: IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).expect("a port");
    let bound = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(PATIENCE));
                let _ = stream.set_nodelay(true);
                serve(name, &stream)
            });
        }
    });
    bound
}

/// Serves one connection. None: it is over.
fn serve(name: &str, stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut connection = Connection {
        name,
        local: stream.local_addr().ok()?.ip(),
        peer: stream.peer_addr().ok()?.ip(),
        requests: 0,
    };
    if reader.fill_buf().ok()?.starts_with(b"PRI") {
        let sent = frames::read_until_headers(&mut reader)?;
        let sent = sent.iter().map(|line| ("x-frame", line.as_str()));
        let headers: Vec<_> = [("x-endpoint", name)].into_iter().chain(sent).collect();
        let answer = frames::answer(&headers);
        (&mut &*stream).write_all(&answer).ok()?;
        let _ = stream.shutdown(Shutdown::Write);
        let _ = reader.read_to_end(&mut Vec::new());
        return None;
    }
    loop {
        let request = Request::read(&mut reader)?;
        let answer = connection.answer(&request)?;
        (&mut &*stream).write_all(answer.as_bytes()).ok()?;
        if request.path() == "/upgrade" || request.line == "bye" {
            return None;
        }
    }
}

struct Connection<'a> {
    name: &'a str,
    /// Another one for each proxy.
    local: IpAddr,
    peer: IpAddr,
    requests: u32,
}

struct Request {
    line: String,
    headers: Vec<String>,
    body: String,
}

// === impl Connection ===

impl Connection<'_> {
    /// None closes the connection without an answer.
    fn answer(&mut self, request: &Request) -> Option<String> {
        self.requests += 1;
        if !request.line.contains(" HTTP/1.") {
            return Some(format!("{} got {}\n", self.name, request.line));
        }
        let (mut status, mut count) = ("200 OK", String::new());
        let parts: Vec<&str> = request.path().split('/').skip(1).collect();
        match parts[..] {
            ["upgrade"] => {
                let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                return Some(format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}raw"));
            }
            ["sleep"] => thread::sleep(SLEEP),
            // Fails so many times in a way; the name tells those who count apart.
            ["flaky", times, how, counter] => {
                let counter = format!("{} {counter}", self.local);
                if fails(&counter, times.parse().ok()?) {
                    match how {
                        "close" => return None,
                        "sleep" => thread::sleep(SLEEP),
                        "409" => status = "409 Conflict",
                        _ => status = "503 Service Unavailable",
                    }
                }
            }
            ["count"] => count = format!("request {} of its connection\n", self.requests),
            _ => {}
        }
        let body = format!(
            "endpoint {} called from {}\n{count}{}",
            self.name,
            self.peer,
            request.text()
        );
        let head = format!(
            "Server: Echo\r\nX-Endpoint: {}\r\nX-Level: endpoint\r\n",
            self.name
        );
        let length = body.len();
        Some(format!(
            "HTTP/1.1 {status}\r\n{head}Content-Length: {length}\r\n\r\n{body}"
        ))
    }
}

/// Whether this is one of the first so many times.
fn fails(counter: &str, times: u32) -> bool {
    static COUNTED: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());
    let mut counted = COUNTED.lock().expect("no panic");
    let count = counted.entry(counter.to_owned()).or_default();
    *count += 1;
    *count <= times
}

// === impl Request ===

impl Request {
    fn read(reader: &mut impl BufRead) -> Option<Self> {
        let line = read_line(reader)?;
        let (mut headers, mut body) = (Vec::new(), String::new());
        if line.contains(" HTTP/1.") {
            loop {
                match read_line(reader)?.as_str() {
                    "" => break,
                    header => headers.push(header.to_owned()),
                }
            }
        }
        let value = |name: &str| {
            let mut pairs = headers.iter().filter_map(|line| line.split_once(':'));
            let found = pairs.find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim().to_owned())
        };
        if let Some(length) = value("content-length").and_then(|it| it.parse().ok()) {
            reader.take(length).read_to_string(&mut body).ok()?;
        }
        Some(Self {
            line,
            headers,
            body,
        })
    }

    fn path(&self) -> &str {
        let target = self.line.split(' ').nth(1).unwrap_or_default();
        target.split('?').next().unwrap_or_default()
    }

    /// As it came, one field a line.
    fn text(&self) -> String {
        let headers: String = self.headers.iter().map(|it| format!("> {it}\n")).collect();
        format!("> {}\n{headers}{}", self.line, self.body)
    }
}

fn read_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    match reader.read_line(&mut line).ok()? {
        0 => None,
        _ => Some(line.trim_end().to_owned()),
    }
}
