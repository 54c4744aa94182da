//! What holds for every specification, every state of the machine, and every text.

mod any;
mod machine;
mod packet;

use any::{any_rule, any_saved, any_spec};
use machine::{foreign, restored};
use packet::{Packet, Verdict, any_packet, verdict};
use proptest::prelude::*;
use weir_api::{CaptureSpec, capture::Selection};
use weir_iptables::{
    Family, RuleSet,
    rule::{Hook, Rule},
    saved::Saved,
    transaction::Plan,
};

fn any_family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

proptest! {
    #[test]
    fn a_rule_read_back_from_its_text_is_the_same(rule in any_rule()) {
        prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule));
    }

    #[test]
    fn rules_in_force_as_written_need_no_change(spec in any_spec(), family in any_family()) {
        let rules = RuleSet::new(&spec, family).expect("rules");
        let saved = restored(&Saved::default(), &rules.to_string());
        prop_assert_eq!(Plan::new(&saved, &rules), Plan::Nothing);
    }

    #[test]
    fn one_transaction_repairs_any_state_and_spares_what_is_foreign(
        saved in any_saved(),
        spec in any_spec(),
        family in any_family(),
    ) {
        let rules = RuleSet::new(&spec, family).expect("rules");
        let Plan::Restore(text) = Plan::new(&saved, &rules) else { return Ok(()) };
        let after = restored(&saved, &text);
        prop_assert_eq!(Plan::new(&after, &rules), Plan::Nothing, "{}", text);
        prop_assert_eq!(foreign(&after), foreign(&saved));
    }

    #[test]
    fn removal_leaves_nothing_of_ours_and_all_that_is_foreign(saved in any_saved()) {
        let Plan::Restore(text) = Plan::removal(&saved) else {
            prop_assert!(!saved.has_ours());
            return Ok(());
        };
        let after = restored(&saved, &text);
        prop_assert!(!after.has_ours(), "{}", text);
        prop_assert_eq!(foreign(&after), foreign(&saved));
    }

    #[test]
    fn outbound_capture_is_the_included_less_the_excluded(
        spec in any_spec(),
        family in any_family(),
        packet in any_packet(),
    ) {
        let packet = Packet { uid: 1000, gid: 1000, out_interface: "eth0", ..packet.of(family) };
        let rules = RuleSet::new(&spec, family).expect("rules");
        let expected = outbound_by_definition(&spec, family, &packet);
        prop_assert_eq!(verdict(&rules, Hook::Output, &packet), expected);
    }

    #[test]
    fn inbound_capture_is_the_included_less_the_excluded(
        spec in any_spec(),
        family in any_family(),
        packet in any_packet(),
    ) {
        let packet = Packet { in_interface: "eth0", ..packet.of(family) };
        let rules = RuleSet::new(&spec, family).expect("rules");
        let expected = inbound_by_definition(&spec, &packet);
        prop_assert_eq!(verdict(&rules, Hook::Prerouting, &packet), expected);
    }

    #[test]
    fn the_proxy_is_never_sent_to_its_own_outbound_port(
        spec in any_spec(),
        family in any_family(),
        packet in any_packet(),
        lo in any::<bool>(),
    ) {
        let Some(uid) = spec.proxy_uids.first().copied() else { return Ok(()) };
        let out_interface = if lo { "lo" } else { "eth0" };
        let packet = Packet { uid, gid: 1000, out_interface, ..packet.of(family) };
        let rules = RuleSet::new(&spec, family).expect("rules");
        let seen = verdict(&rules, Hook::Output, &packet);
        prop_assert_ne!(seen, Verdict::Redirected(spec.outbound_port));
    }

    #[test]
    fn reading_what_is_in_force_never_panics(text in r"(\PC|[\n\t*:!\[\]-]|-A |-j |WEIR_|nat ){0,120}") {
        let saved = Saved::parse(&text);
        let rules = RuleSet::new(&CaptureSpec::default(), Family::V4).expect("rules");
        let _ = (Plan::new(&saved, &rules), Plan::removal(&saved));
    }

    #[test]
    fn reading_a_rule_never_panics(text in r"(\PC|! |-[sdiopmj] |--dport |tcp |WEIR_OUTPUT){0,40}") {
        let _ = text.parse::<Rule>();
    }
}

fn outbound_by_definition(spec: &CaptureSpec, family: Family, packet: &Packet) -> Verdict {
    let excluded = spec
        .exclude_interfaces
        .iter()
        .any(|name| name.as_str() == "eth0")
        || spec
            .exclude_outbound_ports
            .contains(&packet.destination_port)
        || packet.destination == family.loopback()
        || spec
            .exclude_outbound_cidrs
            .iter()
            .any(|net| net.contains(&packet.destination));
    let included = spec
        .include_outbound_ports
        .contains(&packet.destination_port)
        || match &spec.include_outbound_cidrs {
            Selection::All => true,
            Selection::Only(nets) => nets.iter().any(|net| net.contains(&packet.destination)),
        };
    match !excluded && included {
        true => Verdict::Redirected(spec.outbound_port),
        false => Verdict::Untouched,
    }
}

fn inbound_by_definition(spec: &CaptureSpec, packet: &Packet) -> Verdict {
    let port = packet.destination_port;
    let excluded = spec
        .exclude_interfaces
        .iter()
        .any(|name| name.as_str() == "eth0")
        || port == spec.tunnel_port;
    let included = match &spec.include_inbound_ports {
        Selection::All => !spec.exclude_inbound_ports.contains(&port),
        Selection::Only(ports) => ports.contains(&port),
    };
    match !excluded && included {
        true => Verdict::Redirected(spec.inbound_port),
        false => Verdict::Untouched,
    }
}
