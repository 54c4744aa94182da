//! The node: one network namespace that every pod is wired to.
//!
//! Pods have `/32` addresses and reach everything, each other included, through the node by
//! routing, as with Calico. So every packet passes the node's connection tracking both ways and
//! Service addresses work without a bridge or `br_netfilter`.

use std::{fs, net::Ipv4Addr, path::Path};

use crate::{
    address, command,
    error::{Error, Result},
    netns, service_rules,
};

/// The node's namespace and what is wired to it.
#[derive(Debug)]
pub struct Node {
    name: String,
    interfaces: u32,
    rules: String,
    lock_file: std::path::PathBuf,
}

// === impl Node ===

impl Node {
    /// Makes the node's namespace. `lock_file` is what iptables locks instead of the machine's.
    ///
    /// # Errors
    /// If the namespace cannot be made or configured.
    pub fn create(name: &str, lock_file: &Path) -> Result<Self> {
        netns::create(name)?;
        // Service addresses are rewritten before routing; the route lets those without an endpoint
        // get as far as the rule that refuses them.
        netns::configure(
            name,
            &format!(
                "addr add {}/32 dev lo\nroute add {} dev lo\n",
                address::DNS,
                address::SERVICE_RANGE
            ),
        )?;
        netns::within(name, || {
            set_sysctl("net/ipv4/ip_forward", "1")?;
            // A pod's own Service sends the packet back where it came from.
            set_sysctl("net/ipv4/conf/all/send_redirects", "0")?;
            set_sysctl("net/ipv4/conf/default/send_redirects", "0")
        })??;
        Ok(Self {
            name: name.to_owned(),
            interfaces: 0,
            rules: String::new(),
            lock_file: lock_file.to_owned(),
        })
    }

    /// Name of the node's network namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the namespace `pod` with `address` and wires it to the node.
    ///
    /// # Errors
    /// If the namespace cannot be made or configured.
    pub fn attach(&mut self, pod: &str, address: Ipv4Addr) -> Result<()> {
        netns::create(pod)?;
        self.interfaces += 1;
        let interface = format!("veth{}", self.interfaces);
        let gateway = address::NODE;
        netns::configure(
            &self.name,
            &format!(
                "link add {interface} type veth peer name eth0 netns {pod}\n\
                 addr add {gateway}/32 dev {interface}\n\
                 link set {interface} up\n\
                 route add {address}/32 dev {interface}\n"
            ),
        )?;
        netns::configure(
            pod,
            &format!(
                "addr add {address}/32 dev eth0\n\
                 link set eth0 up\n\
                 route add {gateway} dev eth0 scope link\n\
                 route add default via {gateway} src {address}\n"
            ),
        )?;
        // Container runtimes let any user of a pod bind low ports and send pings.
        netns::within(pod, || {
            set_sysctl("net/ipv4/ip_unprivileged_port_start", "0")?;
            set_sysctl("net/ipv4/ping_group_range", "0 2147483647")
        })?
    }

    /// Makes the Services' addresses lead to their endpoints; does nothing if they already do.
    ///
    /// # Errors
    /// If iptables is missing or refuses the rules.
    pub fn route_services(&mut self, services: &[service_rules::ServicePort]) -> Result<()> {
        let rules = service_rules::render(services);
        if rules == self.rules {
            return Ok(());
        }
        // The caller may be in any namespace, and iptables works on the one it is started in.
        let (input, lock_file) = (rules.clone(), self.lock_file.clone());
        netns::within(&self.name, move || {
            let lock = [("XTABLES_LOCKFILE", lock_file.as_os_str())];
            command::run_with_env("iptables-restore", &["-w", "5"], &input, &lock)
        })??;
        self.rules = rules;
        Ok(())
    }
}

/// Writes a sysctl of this thread's network namespace.
fn set_sysctl(name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(name);
    fs::write(&path, value).map_err(Error::file("write", path))
}
