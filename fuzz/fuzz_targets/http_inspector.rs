//! The HTTP inspector: no bytes make it panic, and an answer that was given stands when more bytes come.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_proxy::filter::listener::inspector::{Inspection, http::inspect};

fuzz_target!(|bytes: &[u8]| {
    let whole = inspect(bytes);
    for cut in 0..bytes.len() {
        match inspect(&bytes[..cut]) {
            Inspection::NeedMore => {}
            answer => assert_eq!(answer, whole, "after {cut} of {} bytes", bytes.len()),
        }
    }
});
