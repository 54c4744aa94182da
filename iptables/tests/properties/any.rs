//! Generators. Values come from small sets, so that what is included, excluded and sent meets.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::{collection::vec, option, prelude::*, sample::select};
use weir_api::{
    CaptureSpec,
    capture::{InterfaceName, Selection, parse_cidrs, parse_interfaces},
};
use weir_iptables::{
    rule::{Chain, Match, Owner, Protocol, Rule, Target},
    saved::Saved,
};

pub(crate) fn any_port() -> impl Strategy<Value = u16> {
    select(vec![22, 80, 443, 8080, 9999, 15008, 15020, 15090, 65535])
}

fn any_net() -> impl Strategy<Value = IpNet> {
    let nets = "10.0.0.0/8,10.1.0.0/16,10.1.2.3/32,192.0.2.0/24,127.1.2.3/32,0.0.0.0/0,\
                2001:db8::/32,2001:db8:1::/48,2001:db8:1::3/128,fd00::/8,::/0";
    select(parse_cidrs(nets).expect("nets"))
}

pub(crate) fn any_address() -> impl Strategy<Value = IpAddr> {
    let addresses = [
        "10.1.2.3",
        "10.2.0.1",
        "192.0.2.9",
        "127.0.0.1",
        "127.1.2.3",
        "8.8.8.8",
        "2001:db8:1::3",
        "2001:db8:2::1",
        "fd00::1",
        "::1",
        "2606::1",
    ];
    select(
        addresses
            .map(|address| address.parse().expect("address"))
            .to_vec(),
    )
}

fn any_interface() -> impl Strategy<Value = InterfaceName> {
    select(parse_interfaces("eth0,net1,a.b-c_d,x#1").expect("interfaces"))
}

pub(crate) fn any_spec() -> impl Strategy<Value = CaptureSpec> {
    let owners = prop_oneof![
        Just((vec![1337], vec![1337])),
        Just((vec![3, 4], vec![1, 2])),
        Just((vec![1337], vec![])),
        Just((vec![], vec![1337])),
    ];
    let nets = || vec(any_net(), 0..4);
    let ports = || vec(any_port(), 0..4);
    let outbound = prop_oneof![Just(Selection::All), nets().prop_map(Selection::Only)];
    let inbound = prop_oneof![Just(Selection::All), ports().prop_map(Selection::Only)];
    let interfaces = vec(any_interface(), 0..2);
    (
        owners,
        outbound,
        nets(),
        ports(),
        ports(),
        inbound,
        ports(),
        interfaces,
    )
        .prop_map(
            |(
                (proxy_uids, proxy_gids),
                include_outbound_cidrs,
                exclude_outbound_cidrs,
                include_outbound_ports,
                exclude_outbound_ports,
                include_inbound_ports,
                exclude_inbound_ports,
                exclude_interfaces,
            )| CaptureSpec {
                proxy_uids,
                proxy_gids,
                include_outbound_cidrs,
                exclude_outbound_cidrs,
                include_outbound_ports,
                exclude_outbound_ports,
                include_inbound_ports,
                exclude_inbound_ports,
                exclude_interfaces,
                ..CaptureSpec::default()
            },
        )
}

fn any_match<T: Clone + std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<Match<T>>> {
    option::of(
        (value, any::<bool>()).prop_map(|(value, negated)| match negated {
            true => Match::Not(value),
            false => Match::Is(value),
        }),
    )
}

pub(crate) fn any_rule() -> impl Strategy<Value = Rule> {
    let net = || any_match(any_net().prop_filter("says something", |net| net.prefix_len() > 0));
    let owner = prop_oneof![
        any::<u32>().prop_map(Owner::User),
        any::<u32>().prop_map(Owner::Group)
    ];
    let target = prop_oneof![
        Just(Target::Return),
        any_port().prop_map(Target::RedirectTo),
        select(Chain::ALL.to_vec()).prop_map(Target::Jump),
    ];
    let interface = || any_match(any_interface());
    let port = any_match(any_port());
    let owner = any_match(owner);
    let tcp = any::<bool>();
    (
        net(),
        net(),
        interface(),
        interface(),
        tcp,
        port,
        owner,
        target,
    )
        .prop_map(
            |(source, destination, in_interface, out_interface, tcp, port, owner, target)| Rule {
                source,
                destination,
                in_interface,
                out_interface,
                protocol: tcp.then_some(Protocol::Tcp),
                destination_port: port.filter(|_| tcp),
                owner,
                target,
            },
        )
}

/// A machine on which anything of ours and of others may be.
pub(crate) fn any_saved() -> impl Strategy<Value = Saved> {
    let line = select(vec![
        ":WEIR_OUTPUT - [0:0]",
        ":WEIR_OLD - [0:0]",
        ":KUBE - [0:0]",
        "-A OUTPUT -p tcp -j WEIR_OUTPUT",
        "-A OUTPUT -j WEIR_OUTPUT",
        "-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT",
        "-A OUTPUT -m comment --comment \"not -j WEIR_OUTPUT\" -j RETURN",
        "-A PREROUTING -p tcp -j WEIR_INBOUND",
        "-A PREROUTING -p tcp -g WEIR_OLD",
        "-A PREROUTING -i eth1 -j ACCEPT",
        "-A KUBE -j WEIR_OLD",
        "-A KUBE -j RETURN",
        "-A WEIR_OUTPUT -j WEIR_REDIRECT",
        "-A WEIR_OUTPUT -d 1.2.3.4/32 -j ACCEPT",
        "-A WEIR_REDIRECT -p tcp -j REDIRECT --to-ports 15001",
        "-A WEIR_OLD -j WEIR_OUTPUT",
    ]);
    let table = vec(line, 0..12);
    (table.clone(), table).prop_map(|(nat, mangle)| {
        let text = format!(
            "*nat\n{}\nCOMMIT\n*mangle\n{}\nCOMMIT\n",
            nat.join("\n"),
            mangle.join("\n")
        );
        Saved::parse(&text)
    })
}
