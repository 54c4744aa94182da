//! How much of a resource is in use.

use std::{fs, path::Path};

use crate::config::overload::ResourceMonitor;

/// Where the kernel shows the cgroup of a container.
const CGROUP: &str = "/sys/fs/cgroup";
/// Files of cgroup v2 and v1: what is used, and the limit.
const FILES: [(&str, &str); 2] = [
    ("memory.current", "memory.max"),
    (
        "memory/memory.usage_in_bytes",
        "memory/memory.limit_in_bytes",
    ),
];
/// Bytes of a page, as all machines have it that we are built for.
const PAGE: u64 = 4096;

impl ResourceMonitor {
    /// The share that is in use; may be more than 1. None if that cannot be said.
    pub(super) fn pressure(self) -> Option<f64> {
        let (used, most) = match self {
            Self::FixedHeap(most) => (private_memory()?, most),
            Self::CgroupMemory(most) => {
                let (used, limit) = cgroup_memory(Path::new(CGROUP))?;
                (used, most.unwrap_or(u64::MAX).min(limit))
            }
        };
        Some(used as f64 / most as f64)
    }
}

/// Bytes of private memory, from /proc/self/statm: what is resident and backed by no file.
fn private_memory() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = statm.split_ascii_whitespace().skip(1);
    let mut next = || pages.next()?.parse::<u64>().ok();
    let (resident, shared) = (next()?, next()?);
    Some(resident.saturating_sub(shared) * PAGE)
}

/// Bytes that the cgroup uses, and that it may use; `u64::MAX`: any number.
fn cgroup_memory(root: &Path) -> Option<(u64, u64)> {
    let read = |file| fs::read_to_string(root.join(file)).ok();
    let (used, limit) = FILES
        .iter()
        .find_map(|(used, limit)| Some((read(used)?, read(limit)?)))?;
    let limit = match limit.trim() {
        "max" => u64::MAX,
        number => number.parse().ok()?,
    };
    Some((used.trim().parse().ok()?, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_both_cgroup_versions_is_read() {
        let root = tempfile::tempdir().expect("directory");
        assert_eq!(cgroup_memory(root.path()), None);
        fs::create_dir(root.path().join("memory")).expect("memory");
        let mut files = FILES.iter().rev();
        for limit in ["9223372036854771712\n", "max\n"] {
            let (used_file, limit_file) = files.next().expect("two versions");
            fs::write(root.path().join(used_file), "1048576\n").expect("written");
            fs::write(root.path().join(limit_file), limit).expect("written");
            let (used, most) = cgroup_memory(root.path()).expect("memory");
            assert_eq!(used, 1 << 20);
            assert!(most >= 9_223_372_036_854_771_712);
        }
        fs::write(root.path().join("memory.max"), "2097152\n").expect("written");
        assert_eq!(cgroup_memory(root.path()), Some((1 << 20, 2 << 20)));
    }

    #[test]
    fn the_process_uses_memory() {
        let pressure = ResourceMonitor::FixedHeap(1 << 40)
            .pressure()
            .expect("memory");
        assert!((0.0..1.0).contains(&pressure) && pressure > 0.0);
    }
}
