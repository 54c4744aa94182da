//! How many worker threads: what the pod was promised, not what the node has.

use std::{fs, num::NonZeroUsize, path::Path, thread};

/// Where the kernel shows the cgroup of a container.
const CGROUP: &str = "/sys/fs/cgroup";

/// Threads for a CPU request or limit, rounded up, at most the cores.
pub(crate) fn from_millicores(millicores: u64) -> NonZeroUsize {
    let threads = usize::try_from(millicores.div_ceil(1000)).unwrap_or(usize::MAX);
    let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    NonZeroUsize::new(threads)
        .unwrap_or(NonZeroUsize::MIN)
        .min(cores)
}

/// By the CPU limit of the cgroup, if it has one, else one.
pub(crate) fn from_cgroup() -> NonZeroUsize {
    limit(Path::new(CGROUP)).map_or(NonZeroUsize::MIN, from_millicores)
}

/// The CPU limit in millicores, of cgroup v2 or v1.
fn limit(root: &Path) -> Option<u64> {
    let read = |file: &str| fs::read_to_string(root.join(file)).ok();
    let (quota, period) = match read("cpu.max") {
        Some(line) => {
            let (quota, period) = line.trim().split_once(' ')?;
            (quota.to_owned(), period.to_owned())
        }
        None => (
            read("cpu/cpu.cfs_quota_us")?,
            read("cpu/cpu.cfs_period_us")?,
        ),
    };
    // "max", or -1 in v1: no limit.
    let quota: u64 = quota.trim().parse().ok()?;
    let period: u64 = period.trim().parse().ok().filter(|period| *period > 0)?;
    Some(quota.saturating_mul(1000) / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_rounded_up_and_never_zero() {
        assert_eq!(from_millicores(0).get(), 1);
        assert_eq!(from_millicores(100).get(), 1);
        let cores = thread::available_parallelism().expect("cores").get();
        assert_eq!(from_millicores(1001).get(), 2.min(cores));
        assert_eq!(from_millicores(u64::MAX).get(), cores);
    }

    #[test]
    fn limits_of_both_cgroup_versions_are_read() {
        let root = tempfile::tempdir().expect("directory");
        assert_eq!(limit(root.path()), None);
        fs::create_dir(root.path().join("cpu")).expect("cpu");
        for (quota, expected) in [("-1", None), ("150000", Some(1500))] {
            fs::write(root.path().join("cpu/cpu.cfs_quota_us"), quota).expect("quota");
            fs::write(root.path().join("cpu/cpu.cfs_period_us"), "100000\n").expect("period");
            assert_eq!(limit(root.path()), expected);
        }
        for (line, expected) in [("max 100000\n", None), ("50000 100000\n", Some(500))] {
            fs::write(root.path().join("cpu.max"), line).expect("cpu.max");
            assert_eq!(limit(root.path()), expected);
        }
    }
}
