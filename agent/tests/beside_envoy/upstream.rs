//! An upstream that answers with what it was sent, or, by path, with what is hard for a proxy.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::Mutex,
    thread,
    time::Duration,
};

const HEAD: &str = "HTTP/1.1 200 OK\r\nServer: Echo\r\nX-Upstream: A\r\nX-Level: upstream\r\n";

/// Starts it for the rest of the process; returns its port.
pub(crate) fn start() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(&stream));
        }
    });
    port
}

/// Answers requests until the connection ends.
fn serve(stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (head, body) = read_request(&mut reader)?;
        let answer = answer(&head, &body)?;
        (&mut &*stream).write_all(answer.bytes.as_bytes()).ok()?;
        if answer.close {
            return Some(());
        }
    }
}

struct Scripted {
    bytes: String,
    close: bool,
}

/// None closes the connection without an answer.
fn answer(head: &[String], body: &str) -> Option<Scripted> {
    let path = head.first()?.split(' ').nth(1)?;
    let keep = |bytes: String| {
        Some(Scripted {
            bytes,
            close: false,
        })
    };
    let close = |bytes: String| Some(Scripted { bytes, close: true });
    let echo = echo(head, body);
    if let Some(failure) = path.strip_prefix("/flaky/").and_then(flake) {
        return failure;
    }
    let plain = format!("{HEAD}Content-Length: {}\r\n\r\n{echo}", echo.len());
    match path {
        "/close/early" => None,
        "/close/garbage" => close("garbage\r\n\r\n".to_owned()),
        "/close/response" => close(format!("{HEAD}Connection: close\r\nContent-Length: 2\r\n\r\nok")),
        "/echo/chunked" => keep(format!(
            "{HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3;x=y\r\nabc\r\n0\r\n\r\n"
        )),
        "/echo/until-close" => close(format!("{HEAD}\r\nuntil the end")),
        "/echo/204" => keep("HTTP/1.1 204 No Content\r\nX-Level: u\r\n\r\n".to_owned()),
        "/echo/304" => {
            keep("HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nETag: \"x\"\r\n\r\n".to_owned())
        }
        "/echo/head" => keep(format!("{HEAD}Content-Length: 1234\r\n\r\n")),
        "/echo/103" => keep(format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{plain}")),
        "/echo/upgrade" => close(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nraw"
                .to_owned(),
        ),
        "/slow/sleep" => {
            thread::sleep(Duration::from_millis(700));
            keep(plain)
        }
        _ => keep(plain),
    }
}

/// `N/WHAT`: fails N times in WHAT way, then not, and from the beginning again.
fn flake(path: &str) -> Option<Option<Scripted>> {
    static FAILED: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());
    let (times, what) = path.split_once('/')?;
    let times: u32 = times.parse().ok()?;
    let nth = {
        let mut failed = FAILED.lock().expect("no panic");
        let count = failed.entry(path.to_owned()).or_default();
        *count = (*count + 1) % (times + 1);
        *count
    };
    if nth == 0 {
        return None;
    }
    let head = match what {
        "close" => return Some(None),
        "sleep" => {
            thread::sleep(Duration::from_millis(600));
            "HTTP/1.1 200 OK\r\n".to_owned()
        }
        "grpc" => {
            "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nGrpc-Status: 14\r\n".to_owned()
        }
        status => {
            let phrase = match status {
                "404" => "Not Found",
                "409" => "Conflict",
                "500" => "Internal Server Error",
                "503" => "Service Unavailable",
                _ => "Status",
            };
            format!("HTTP/1.1 {status} {phrase}\r\n")
        }
    };
    Some(Some(Scripted {
        bytes: format!("{head}Content-Length: 4\r\n\r\nfail"),
        close: false,
    }))
}

/// The request as it came, header names in lower case and in order.
fn echo(head: &[String], body: &str) -> String {
    let mut headers: Vec<String> = head[1..]
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| format!("{}: {}\n", name.to_ascii_lowercase(), value.trim()))
        .filter(|line| !line.starts_with("x-request-id") && !line.starts_with("x-envoy-expected"))
        .collect();
    headers.sort();
    format!("{}\n{}{body}", head[0], headers.concat())
}

fn read_request(reader: &mut impl BufRead) -> Option<(Vec<String>, String)> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let find = |name: &str| {
        let mut fields = head.iter().filter_map(|line| line.split_once(':'));
        let found = fields.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_owned())
    };
    let mut body = String::new();
    if find("transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            body.push_str(std::str::from_utf8(&chunk[..size]).ok()?);
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = find("content-length") {
        reader
            .take(length.parse().ok()?)
            .read_to_string(&mut body)
            .ok()?;
    }
    Some((head, body))
}
