//! The text of each family for a table of specifications. `REFRESH_GOLDEN=1` rewrites the files.

use std::{env, fs, path::Path};

use weir_api::{
    CaptureSpec,
    capture::{Selection, parse_cidrs, parse_interfaces},
};
use weir_iptables::{Family, RuleSet};

/// Captures nothing; each case says what it adds.
fn nothing() -> CaptureSpec {
    CaptureSpec {
        include_outbound_cidrs: Selection::Only(vec![]),
        include_inbound_ports: Selection::Only(vec![]),
        exclude_inbound_ports: vec![],
        ..CaptureSpec::default()
    }
}

/// Several users and groups, as where a sidecar has helpers of its own.
fn many_owners() -> CaptureSpec {
    CaptureSpec {
        proxy_uids: vec![3, 4],
        proxy_gids: vec![1, 2],
        ..nothing()
    }
}

fn cidrs(text: &str) -> Vec<ipnet::IpNet> {
    parse_cidrs(text).expect("cidrs")
}

fn only_cidrs(text: &str) -> Selection<ipnet::IpNet> {
    Selection::Only(cidrs(text))
}

fn cases() -> Vec<(&'static str, CaptureSpec)> {
    let interfaces = |text| parse_interfaces(text).expect("interfaces");
    vec![
        ("default", CaptureSpec::default()),
        ("empty", nothing()),
        (
            "inbound-ports",
            CaptureSpec {
                include_inbound_ports: Selection::Only(vec![32000, 31000]),
                ..nothing()
            },
        ),
        (
            "inbound-wildcard",
            CaptureSpec {
                include_inbound_ports: Selection::All,
                ..nothing()
            },
        ),
        (
            "inbound-wildcard-exclude",
            CaptureSpec {
                include_inbound_ports: Selection::All,
                exclude_inbound_ports: vec![15090, 15021, 15020, 22, 15090],
                ..nothing()
            },
        ),
        (
            "outbound-ports",
            CaptureSpec {
                include_outbound_ports: vec![32000, 31000],
                ..nothing()
            },
        ),
        (
            "outbound-exclude-ports",
            CaptureSpec {
                include_outbound_cidrs: Selection::All,
                exclude_outbound_ports: vec![5432, 3306],
                ..nothing()
            },
        ),
        (
            "cidrs",
            CaptureSpec {
                include_outbound_cidrs: only_cidrs("10.0.0.0/8"),
                ..nothing()
            },
        ),
        (
            "cidrs-everything",
            CaptureSpec {
                include_outbound_cidrs: only_cidrs("0.0.0.0/0,::/0"),
                ..nothing()
            },
        ),
        (
            "cidrs-v6-include-exclude",
            CaptureSpec {
                include_inbound_ports: Selection::Only(vec![4000, 5000]),
                include_outbound_cidrs: only_cidrs("2001:db8::/32"),
                exclude_outbound_cidrs: cidrs("2001:db8::/32"),
                exclude_outbound_ports: vec![6000, 7000],
                ..nothing()
            },
        ),
        (
            "cidrs-include-exclude-owners",
            CaptureSpec {
                include_outbound_cidrs: only_cidrs("9.9.0.0/16"),
                exclude_outbound_cidrs: cidrs("1.1.0.0/16"),
                ..many_owners()
            },
        ),
        (
            "cidrs-loopback-owners",
            CaptureSpec {
                include_outbound_cidrs: only_cidrs("127.1.2.3/32"),
                ..many_owners()
            },
        ),
        (
            "owners",
            CaptureSpec {
                include_inbound_ports: Selection::All,
                ..many_owners()
            },
        ),
        (
            "owner-uid-only",
            CaptureSpec {
                proxy_gids: vec![],
                ..nothing()
            },
        ),
        (
            "exclude-interface",
            CaptureSpec {
                exclude_interfaces: interfaces("net1,net2"),
                ..CaptureSpec::default()
            },
        ),
        (
            "ports",
            CaptureSpec {
                outbound_port: 16001,
                inbound_port: 16006,
                tunnel_port: 16008,
                ..CaptureSpec::default()
            },
        ),
    ]
}

#[test]
fn rules_are_those_of_the_golden_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let refresh = env::var("REFRESH_GOLDEN").is_ok_and(|value| value == "1");
    let mut different = Vec::new();
    for (name, spec) in cases() {
        for (family, suffix) in [(Family::V4, "v4"), (Family::V6, "v6")] {
            let text = RuleSet::new(&spec, family).expect(name).to_string();
            let path = folder.join(format!("{name}.{suffix}.txt"));
            if refresh {
                fs::write(&path, &text).expect("write");
            }
            if fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
                different.push(format!("{}:\n{text}", path.display()));
            }
        }
    }
    assert!(
        different.is_empty(),
        "REFRESH_GOLDEN=1 accepts:\n{}",
        different.join("\n")
    );
}

#[test]
fn every_golden_file_has_its_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let names: Vec<_> = cases().into_iter().map(|(name, _)| name).collect();
    for entry in fs::read_dir(folder).expect("golden files") {
        let file = entry
            .expect("entry")
            .file_name()
            .into_string()
            .expect("name");
        let (name, _) = file.split_once('.').expect("suffix");
        assert!(names.contains(&name), "{file} belongs to no case");
    }
}
