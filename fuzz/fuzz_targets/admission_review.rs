//! The webhook: no body makes it panic, and an answer is an AdmissionReview.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_injector::{Config, review};

fuzz_target!(|body: &[u8]| {
    if let Ok(reviewed) = review(body, &Config::default()) {
        assert_eq!(reviewed.response["kind"], "AdmissionReview");
    }
});
