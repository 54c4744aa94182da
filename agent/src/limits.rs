//! How much a sidecar may hold: what its container has, not what the machine has.

use std::{fs, path::Path};

/// Where the kernel shows the cgroup of a container.
const CGROUP: &str = "/sys/fs/cgroup";
/// The limit of memory in cgroup v2 and v1.
const FILES: [&str; 2] = ["memory.max", "memory/memory.limit_in_bytes"];
/// Of a container's memory, what is not the sidecar's heap: the kernel's part of its sockets, and pages of
/// the program. An eighth.
const BESIDE: u64 = 8;
/// Of a machine's memory, what a sidecar without a limit may have at most: a quarter. It is the
/// application's.
const OF_MACHINE: u64 = 4;
/// Without any number: what a sidecar has by default that has a limit at all.
const UNKNOWN: u64 = 1 << 30;
/// What a connection holds at the least, with its sockets in the kernel. More of them than that find
/// no memory whatever they do.
const OF_CONNECTION: u64 = 8 << 10;
/// Open files of a connection: one each way, and one of a pipe's two ends on average.
const FILES_OF_CONNECTION: u64 = 3;
/// However little there is, a pod is served.
const FEW: u64 = 1024;

/// How much a sidecar may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of private memory.
    pub(crate) heap: u64,
    /// Connections from clients.
    pub(crate) connections: u64,
}

// === impl Limits ===

impl Limits {
    /// Of the container and the machine that we are in. `files`: files that may be open.
    pub(crate) fn here(files: Option<u64>) -> Self {
        let machine = fs::read_to_string("/proc/meminfo").ok();
        let machine = machine.as_deref().and_then(memory_of_machine);
        Self::of(memory_of_cgroup(Path::new(CGROUP)), machine, files)
    }

    fn of(cgroup: Option<u64>, machine: Option<u64>, files: Option<u64>) -> Self {
        let ours = cgroup.map(|limit| limit - limit / BESIDE);
        let part = machine.map(|memory| memory / OF_MACHINE);
        let heap = ours.into_iter().chain(part).min().unwrap_or(UNKNOWN);
        let by_files = files.map(|files| files / FILES_OF_CONNECTION);
        let connections = (heap / OF_CONNECTION).min(by_files.unwrap_or(u64::MAX));
        Self {
            heap,
            connections: connections.max(FEW),
        }
    }
}

/// The limit of the cgroup, bytes, if it has one.
fn memory_of_cgroup(root: &Path) -> Option<u64> {
    let mut files = FILES.iter();
    let text = files.find_map(|file| fs::read_to_string(root.join(file)).ok())?;
    // "max": no limit. In v1 that is a number beyond what any machine has.
    text.trim().parse().ok()
}

fn memory_of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_sidecar_has_most_of_its_container_and_a_part_of_the_machine() {
        let machine = Some(16 << 30);
        let limited = Limits::of(Some(128 * MIB), machine, Some(1 << 20));
        assert_eq!((limited.heap, limited.connections), (112 * MIB, 14_336));
        // In v1, no limit is a large number.
        for none in [None, Some(9_223_372_036_854_771_712)] {
            let unlimited = Limits::of(none, machine, Some(1 << 20));
            assert_eq!((unlimited.heap, unlimited.connections), (4 << 30, 349_525));
        }
        let small = Limits::of(Some(MIB), machine, Some(1024));
        assert_eq!(small.connections, FEW);
        assert_eq!(Limits::of(None, None, None).heap, UNKNOWN);
    }

    #[test]
    fn limits_of_both_cgroup_versions_are_read() {
        let root = tempfile::tempdir().expect("directory");
        assert_eq!(memory_of_cgroup(root.path()), None);
        fs::create_dir(root.path().join("memory")).expect("memory");
        fs::write(root.path().join(FILES[1]), "134217728\n").expect("written");
        assert_eq!(memory_of_cgroup(root.path()), Some(128 * MIB));
        for (text, expected) in [("max\n", None), ("1048576\n", Some(MIB))] {
            fs::write(root.path().join(FILES[0]), text).expect("written");
            assert_eq!(memory_of_cgroup(root.path()), expected);
        }
    }

    #[test]
    fn this_machine_has_memory() {
        let meminfo = fs::read_to_string("/proc/meminfo").expect("Linux");
        assert!(memory_of_machine(&meminfo).is_some_and(|bytes| bytes > MIB));
    }
}
