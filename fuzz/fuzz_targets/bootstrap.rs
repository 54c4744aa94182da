//! Bootstraps: no text makes the reader or the conversion panic.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use weir_api::xds::{codec, json::Descriptors, type_url};
use weir_proxy::convert;

/// What a process that reads one bootstrap loads for it and drops: loading takes longer than reading.
static DESCRIPTORS: LazyLock<Descriptors> = LazyLock::new(Descriptors::load);

fuzz_target!(|text: &str| {
    let Ok(message) = DESCRIPTORS.read(type_url::BOOTSTRAP, text) else {
        return;
    };
    if let Ok(bootstrap) = codec::unpack_bootstrap(&message) {
        let _ = convert::bootstrap(bootstrap);
    }
});
