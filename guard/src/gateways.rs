//! Where a node is, as its pods see it.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Next hops of the default routes of this network namespace, as the kernel knows them now. Where pods
/// hang on a bridge of their node, that is where the kubelet's probes come from, and not the address
/// that Kubernetes has for the node.
#[must_use]
pub fn default_gateways() -> Vec<IpAddr> {
    // A kernel without one of the families has no such file.
    let v4 = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    let v6 = fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap_or_default();
    gateways_v4(&v4).chain(gateways_v6(&v6)).collect()
}

/// Interface, destination and gateway are the first columns, in hexadecimal and in the machine's order.
fn gateways_v4(table: &str) -> impl Iterator<Item = IpAddr> {
    table.lines().filter_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let address = |column: &str| u32::from_str_radix(column, 16).ok();
        let (destination, gateway) = (columns.next()?, columns.next()?);
        let gateway = address(gateway).filter(|gateway| *gateway != 0)?;
        let is_default = address(destination)? == 0;
        is_default.then(|| Ipv4Addr::from(gateway.to_ne_bytes()).into())
    })
}

/// Destination, its prefix, source, its prefix and next hop are the first columns, in hexadecimal.
fn gateways_v6(table: &str) -> impl Iterator<Item = IpAddr> {
    table.lines().filter_map(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let address = |column: &str| u128::from_str_radix(column, 16).ok();
        let [destination, prefix, _, _, hop, ..] = columns[..] else {
            return None;
        };
        let is_default = address(destination)? == 0 && address(prefix)? == 0;
        let hop = address(hop).filter(|hop| is_default && *hop != 0)?;
        Some(Ipv6Addr::from(hop).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn default_routes_are_told_from_others() {
        let v4 = "Iface\tDestination\tGateway \tFlags\n\
                  eth0\t00000000\t0101F40A\t0003\t0\n\
                  eth0\t0001F40A\t00000000\t0001\t0\n\
                  eth1\t00000000\t00000000\t0001\t0\n\
                  nonsense\n";
        let found: Vec<_> = gateways_v4(v4).collect();
        assert_eq!(found, [IpAddr::from([10, 244, 1, 1])]);
        let zero = "00000000000000000000000000000000";
        let v6 = format!(
            "{zero} 00 {zero} 00 fd000000000000000000000000000001 00000400 eth0\n\
             fd000000000000000000000000000000 40 {zero} 00 {zero} 00000100 eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff lo\n"
        );
        let found: Vec<_> = gateways_v6(&v6).collect();
        assert_eq!(found, ["fd00::1".parse::<IpAddr>().expect("an address")]);
    }
}
