//! Bootstraps: no text makes the reader or the conversion panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_api::xds::json;
use weir_proxy::convert;

fuzz_target!(|text: &str| {
    if let Ok(bootstrap) = json::read_bootstrap(text) {
        let _ = convert::bootstrap(bootstrap);
    }
});
