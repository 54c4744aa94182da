//! A server of names for tests: answers as it is told, counts what it is asked, over UDP and TCP at
//! one port.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

/// What a server says of a name.
#[derive(Debug, Clone, Default)]
pub enum Answer {
    /// There is no such name.
    #[default]
    NoSuchName,
    /// These addresses, and how many seconds they may be kept. A question gets those of its family.
    Addresses(Vec<IpAddr>, u32),
    /// The name is an alias of another, which has these addresses.
    Alias(String, Vec<IpAddr>, u32),
    /// The same addresses, over TCP only: over UDP, that the answer is too long.
    OverTcp(Vec<IpAddr>, u32),
    /// These addresses over TCP; over UDP, that there is no such name.
    OnlyTcp(Vec<IpAddr>),
    /// This code, such as 2: the server cannot say.
    Code(u8),
    /// Nothing.
    Silence,
    /// First these bytes, with `id` in front if it says so, then the addresses.
    After(Vec<Forged>, Vec<IpAddr>),
}

/// What somebody sends before the server does.
#[derive(Debug, Clone)]
pub enum Forged {
    /// An answer that has this address, to another question's id.
    WrongId(IpAddr),
    /// An answer that has this address, to a question about another name.
    WrongName(IpAddr),
    /// The right id, and then this.
    Bytes(Vec<u8>),
}

/// A question: the name in lower case, and the type of records: 1 for A, 28 for AAAA.
pub type Question = (String, u16);

/// A running server. It ends with the process.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    answers: HashMap<String, Answer>,
    /// What one type of records has of its own.
    of_type: HashMap<Question, Answer>,
    asked: Vec<Question>,
    over_tcp: usize,
}

// === impl Server ===

impl Server {
    /// Starts one at an address of loopback.
    ///
    /// # Panics
    /// There is no port.
    #[must_use]
    pub fn start(ip: Ipv4Addr) -> Self {
        let (udp, tcp) = (0..100)
            .find_map(|_| {
                let tcp = TcpListener::bind((ip, 0)).ok()?;
                let udp = UdpSocket::bind(tcp.local_addr().ok()?).ok()?;
                Some((udp, tcp))
            })
            .expect("a port that is free for both");
        let server = Self {
            address: tcp.local_addr().expect("bound"),
            state: Arc::default(),
        };
        let of_udp = server.clone();
        thread::spawn(move || of_udp.serve_udp(&udp));
        let of_tcp = server.clone();
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                let server = of_tcp.clone();
                thread::spawn(move || server.serve_tcp(stream));
            }
        });
        server
    }

    /// From now on, the name is answered so.
    pub fn set(&self, name: &str, answer: Answer) {
        self.lock().answers.insert(name.to_owned(), answer);
    }

    /// From now on, questions of one type about the name are answered so.
    pub fn set_type(&self, name: &str, records: u16, answer: Answer) {
        let question = (name.to_owned(), records);
        self.lock().of_type.insert(question, answer);
    }

    /// The name has these addresses for a minute.
    pub fn has(&self, name: &str, addresses: &[&str]) {
        self.set(name, Answer::Addresses(ips(addresses), 60));
    }

    /// What it was asked so far, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<Question> {
        self.lock().asked.clone()
    }

    /// How often it was asked about a name so far.
    #[must_use]
    pub fn times(&self, name: &str) -> usize {
        let state = self.lock();
        state
            .asked
            .iter()
            .filter(|(asked, _)| asked == name)
            .count()
    }

    /// Questions over TCP so far.
    #[must_use]
    pub fn over_tcp(&self) -> usize {
        self.lock().over_tcp
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 4096];
        while let Ok((read, from)) = socket.recv_from(&mut buffer) {
            for answer in self.answers(&buffer[..read], false) {
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    fn serve_tcp(&self, mut stream: TcpStream) {
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut question = vec![0; u16::from_be_bytes(length).into()];
            if stream.read_exact(&mut question).is_err() {
                return;
            }
            self.lock().over_tcp += 1;
            for answer in self.answers(&question, true) {
                let length = u16::try_from(answer.len()).expect("short");
                let _ = stream.write_all(&[&length.to_be_bytes(), &answer[..]].concat());
            }
        }
    }

    fn answers(&self, question: &[u8], over_tcp: bool) -> Vec<Vec<u8>> {
        let Some((name, records)) = parse(question) else {
            return Vec::new();
        };
        let mut state = self.lock();
        state.asked.push((name.clone(), records));
        let answer = state
            .of_type
            .get(&(name.clone(), records))
            .or_else(|| state.answers.get(&name))
            .cloned()
            .unwrap_or_default();
        drop(state);
        let asked = Asked { question, records };
        match answer {
            Answer::OnlyTcp(addresses) if over_tcp => vec![asked.addresses(&addresses, 60)],
            Answer::NoSuchName | Answer::OnlyTcp(_) => vec![asked.reply(3, &[])],
            Answer::Code(code) => vec![asked.reply(code, &[])],
            Answer::Silence => Vec::new(),
            Answer::Addresses(addresses, ttl) => vec![asked.addresses(&addresses, ttl)],
            Answer::OverTcp(addresses, ttl) if over_tcp => vec![asked.addresses(&addresses, ttl)],
            Answer::OverTcp(..) => {
                let mut cut = asked.reply(0, &[]);
                cut[2] |= 2;
                vec![cut]
            }
            Answer::Alias(target, addresses, ttl) => {
                let mut records = vec![record(&[0xc0, 12], 5, ttl, &labels(&target))];
                let of_target = asked.of_family(&addresses);
                records.extend(of_target.map(|it| record(&labels(&target), it.0, ttl, &it.1)));
                vec![asked.reply(0, &records)]
            }
            Answer::After(forged, addresses) => {
                let forged = forged.iter().map(|it| asked.forged(it));
                forged.chain([asked.addresses(&addresses, 60)]).collect()
            }
        }
    }
}

/// Addresses from their text.
///
/// # Panics
/// One is none.
#[must_use]
pub fn ips(addresses: &[&str]) -> Vec<IpAddr> {
    let parsed = addresses.iter().map(|text| text.parse());
    parsed.collect::<Result<_, _>>().expect("addresses")
}

struct Asked<'q> {
    question: &'q [u8],
    records: u16,
}

impl Asked<'_> {
    /// Where the question ends that follows the head.
    fn end(&self) -> usize {
        let mut at = 12;
        while self.question[at] != 0 {
            at += usize::from(self.question[at]) + 1;
        }
        at + 5
    }

    fn reply(&self, code: u8, records: &[Vec<u8>]) -> Vec<u8> {
        let count = u16::try_from(records.len()).expect("few").to_be_bytes();
        let mut bytes = self.question[..2].to_vec();
        // A response, recursion desired and available; one question.
        bytes.extend([0x81, 0x80 | code, 0, 1, count[0], count[1], 0, 0, 0, 0]);
        bytes.extend(&self.question[12..self.end()]);
        records.iter().for_each(|record| bytes.extend(record));
        bytes
    }

    /// Type and data of those of the family that is asked for.
    fn of_family<'a>(
        &self,
        addresses: &'a [IpAddr],
    ) -> impl Iterator<Item = (u16, Vec<u8>)> + use<'a> {
        let each = addresses.iter().map(|address| match address {
            IpAddr::V4(address) => (1, address.octets().to_vec()),
            IpAddr::V6(address) => (28, address.octets().to_vec()),
        });
        let records = self.records;
        each.filter(move |(kind, _)| *kind == records)
    }

    fn addresses(&self, addresses: &[IpAddr], ttl: u32) -> Vec<u8> {
        let records = self.of_family(addresses);
        let records: Vec<_> = records
            .map(|it| record(&[0xc0, 12], it.0, ttl, &it.1))
            .collect();
        self.reply(0, &records)
    }

    fn forged(&self, forged: &Forged) -> Vec<u8> {
        match forged {
            Forged::WrongId(address) => {
                let mut bytes = self.addresses(&[*address], 60);
                bytes[0] ^= 0x55;
                bytes
            }
            Forged::WrongName(address) => {
                let mut bytes = self.addresses(&[*address], 60);
                bytes[13] ^= 1;
                bytes
            }
            Forged::Bytes(after) => [&self.question[..2], after].concat(),
        }
    }
}

fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("short").to_be_bytes();
    let (kind, ttl) = (kind.to_be_bytes(), ttl.to_be_bytes());
    [owner, &kind, &[0, 1], &ttl, &length, data].concat()
}

fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("short"));
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}

fn parse(question: &[u8]) -> Option<Question> {
    let (mut at, mut name) = (12, Vec::new());
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = question.get(at..at + length)?;
        name.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
    let records = question.get(at..at + 2)?.try_into().ok()?;
    Some((name.join("."), u16::from_be_bytes(records)))
}
