//! What iptables-save printed: no text makes the reader or the plan panic, and what is planned to be
//! removed leaves nothing of ours.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use weir_api::CaptureSpec;
use weir_iptables::{Family, RuleSet, saved::Saved, transaction::Plan};

static WANTED: LazyLock<RuleSet> = LazyLock::new(|| {
    RuleSet::new(&CaptureSpec::default(), Family::V4).expect("the default specification")
});

fuzz_target!(|text: &str| {
    let saved = Saved::parse(text);
    let _ = Plan::new(&saved, &WANTED);
    assert_eq!(Plan::removal(&saved) == Plan::Nothing, !saved.has_ours());
});
