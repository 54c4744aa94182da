//! Whether the application still runs, as far as the pod's network shows.
//!
//! A sidecar sees no process of another container, but the containers of a pod share their network:
//! the kernel lists the sockets of all, each with its inode. A socket that is not the sidecar's own
//! belongs to a process of another container, which therefore runs.

use std::{collections::HashSet, fs, io, path::Path};

/// Tables of sockets in `/proc/net`, and in which of their columns the inode is.
const TABLES: [(&str, usize); 5] = [
    ("tcp", 9),
    ("tcp6", 9),
    ("udp", 9),
    ("udp6", 9),
    ("unix", 6),
];
/// Inode of a socket whose process has closed it.
const CLOSED: &str = "0";

/// Whether a process besides this one has a socket in this network.
///
/// # Errors
/// The kernel does not say.
pub(super) fn has_sockets() -> io::Result<bool> {
    let tables = Path::new("/proc/self/net");
    let mut texts = Vec::with_capacity(TABLES.len());
    for (name, column) in TABLES {
        match fs::read_to_string(tables.join(name)) {
            Ok(text) => texts.push((text, column)),
            Err(error) if name == "tcp" => return Err(error),
            // A kernel without IPv6 has no table of it.
            Err(_) => {}
        }
    }
    let own = own_sockets()?;
    let mut inodes = texts
        .iter()
        .flat_map(|(text, column)| inodes(text, *column));
    Ok(inodes.any(|inode| !own.contains(inode)))
}

/// The inodes in a table, but for those of sockets that no process has.
fn inodes(table: &str, column: usize) -> impl Iterator<Item = &str> {
    let rows = table.lines().skip(1);
    let inodes = rows.filter_map(move |row| row.split_ascii_whitespace().nth(column));
    inodes.filter(|inode| *inode != CLOSED)
}

/// Inodes of this process's sockets.
fn own_sockets() -> io::Result<HashSet<String>> {
    let mut own = HashSet::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        // A descriptor may be closed while the directory is read.
        let Ok(target) = entry.and_then(|entry| fs::read_link(entry.path())) else {
            continue;
        };
        let target = target.to_string_lossy();
        let inode = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'));
        own.extend(inode.map(str::to_owned));
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn inodes_are_found_in_tables_of_the_kernel() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C350 06 00000000:00000000 03:00000F9F 00000000     0        0 0 3 0000000000000000
";
        assert_eq!(inodes(tcp, 9).collect::<Vec<_>>(), ["4711"]);
        let unix = "Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 4712 /run/app.sock
0000000000000000: 00000003 00000000 00000000 0001 03 4713
";
        assert_eq!(inodes(unix, 6).collect::<Vec<_>>(), ["4712", "4713"]);
        assert_eq!(inodes("", 6).count(), 0);
    }

    #[test]
    fn sockets_of_this_process_are_told_from_others() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let own = own_sockets().expect("readable");
        for (name, column, port) in [
            ("tcp", 9, tcp.local_addr().expect("bound").port()),
            ("udp", 9, udp.local_addr().expect("bound").port()),
        ] {
            let table = fs::read_to_string(format!("/proc/self/net/{name}")).expect("readable");
            let port = format!("0100007F:{port:04X} 00000000:0000");
            let row = table
                .lines()
                .find(|row| row.contains(&port))
                .expect("a row");
            let inode = row.split_ascii_whitespace().nth(column).expect("an inode");
            assert!(own.contains(inode), "{name}: {row}");
        }
    }
}
