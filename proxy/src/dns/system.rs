//! What the machine says of names: resolv.conf(5) and hosts(5).

use std::{
    fs::File,
    io::Read,
    net::{IpAddr, SocketAddr},
};

/// No such file is longer; what is beyond is not read.
const LONGEST_CONFIGURATION: u64 = 64 << 10;
const LONGEST_HOSTS: u64 = 1 << 20;
/// As of resolv.conf(5).
const MOST_NDOTS: usize = 15;

/// /etc/resolv.conf
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct System {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    /// A name with so many dots is looked up as it stands first.
    pub(super) ndots: usize,
}

/// /etc/hosts
#[derive(Debug)]
pub(super) struct Hosts(String);

// === impl System ===

impl System {
    /// As it is now: whoever writes the file anew need not restart anything.
    pub(super) fn read() -> Self {
        Self::parse(&read("/etc/resolv.conf", LONGEST_CONFIGURATION))
    }

    fn parse(text: &str) -> Self {
        let mut system = Self {
            ndots: 1,
            ..Self::default()
        };
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse().ok());
                    let server = address.map(|address: IpAddr| SocketAddr::new(address, 53));
                    system.servers.extend(server);
                }
                // The last line counts.
                Some("search" | "domain") => system.search = words.map(str::to_owned).collect(),
                Some("options") => {
                    let mut ndots =
                        words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    system.ndots = ndots
                        .next_back()
                        .map_or(system.ndots, |it: usize| it.min(MOST_NDOTS));
                }
                _ => {}
            }
        }
        system
    }
}

// === impl Hosts ===

impl Hosts {
    pub(super) fn read() -> Self {
        Self(read("/etc/hosts", LONGEST_HOSTS))
    }

    /// The addresses of a name, in the order of the file.
    pub(super) fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let of_line = |line: &str| {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let address = words.next()?.parse().ok();
            address.filter(|_| words.any(|word| word.eq_ignore_ascii_case(name)))
        };
        self.0.lines().filter_map(of_line).collect()
    }
}

/// The text of a file, as far as it is one.
fn read(path: &str, most: u64) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // What was read so far is of use.
        let _ = file.take(most).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_read_as_their_manuals_say() {
        let system = System::parse(
            "# by hand\nnameserver 10.0.0.10 ; first\nnameserver fd00::10\nnameserver nonsense\n\
             domain old\nsearch a.svc  svc\noptions timeout:1 ndots:5\n",
        );
        let servers: Vec<String> = system.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.10:53", "[fd00::10]:53"]);
        assert_eq!(system.search, ["a.svc", "svc"]);
        assert_eq!(system.ndots, 5);
        assert_eq!(System::parse("").ndots, 1);
        let hosts = Hosts("127.0.0.1 localhost\n::1 localhost # x y\n10.0.0.1\tA b.test\n".into());
        let of = |name| hosts.addresses(name).len();
        assert_eq!(
            (of("LOCALHOST."), of("a"), of("b.test"), of("x")),
            (2, 1, 1, 0)
        );
    }
}
