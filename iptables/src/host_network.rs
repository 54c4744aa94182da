//! Tells whether this is the machine's own network namespace, where capture would take the
//! machine's traffic, remote logins included.

use std::{fs, path::Path};

/// Number of the first network namespace since Linux 6.18 (`NET_NS_INIT_INO`,
/// include/uapi/linux/nsfs.h). Before, it was whatever number was free at boot.
const FIRST_NAMESPACE: &str = "net:[4026531833]";

/// A setting that the kernel registers for the first network namespace only (`net_core_table` in
/// net/core/sysctl_net_core.c); others do not see the file.
const FIRST_NAMESPACE_SYSCTL: &str = "/proc/sys/net/core/dev_weight";

/// Whether this is the first network namespace of the kernel. Comparing with that of process 1
/// would not tell: in a container process 1 is the container's own.
///
/// "No" may also mean that it cannot be told, as where `/proc/sys` is not mounted.
#[must_use]
pub fn is_initial_namespace() -> bool {
    let name = fs::read_link("/proc/thread-self/ns/net");
    name.is_ok_and(|name| name == Path::new(FIRST_NAMESPACE))
        || Path::new(FIRST_NAMESPACE_SYSCTL).exists()
}
