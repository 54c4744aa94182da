//! Envoy's substitution format: no text makes it panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_proxy::config::format::Format;

fuzz_target!(|text: &str| {
    let _ = Format::parse(text);
});
