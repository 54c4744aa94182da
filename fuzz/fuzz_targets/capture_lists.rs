//! Lists in flags and annotations: no text makes them panic, and what was read is read again from what
//! is printed.
#![no_main]

use std::fmt::Display;

use libfuzzer_sys::fuzz_target;
use weir_api::capture::{parse_cidrs, parse_ids, parse_interfaces, parse_ports, parse_selection};

fn joined<T: Display>(items: &[T]) -> String {
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

fuzz_target!(|text: &str| {
    if let Ok(ports) = parse_ports(text) {
        assert_eq!(parse_ports(&joined(&ports)).as_ref(), Ok(&ports));
    }
    if let Ok(cidrs) = parse_cidrs(text) {
        assert_eq!(parse_cidrs(&joined(&cidrs)).as_ref(), Ok(&cidrs));
    }
    if let Ok(ids) = parse_ids(text) {
        assert_eq!(parse_ids(&joined(&ids)).as_ref(), Ok(&ids));
    }
    if let Ok(names) = parse_interfaces(text) {
        assert_eq!(parse_interfaces(&joined(&names)).as_ref(), Ok(&names));
    }
    if let Ok(selection) = parse_selection(text, parse_ports) {
        assert_eq!(
            parse_selection(&selection.to_string(), parse_ports),
            Ok(selection)
        );
    }
});
