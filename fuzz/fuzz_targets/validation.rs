//! The validation webhook, rules included: no body makes it panic, and an answer is an AdmissionReview.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use weir_discovery::rules::{self, Judgement};
use weir_injector::{
    Config,
    validate::{Findings, Validators},
    webhook::Injector,
};

/// With the validators that the control plane has.
static INJECTOR: LazyLock<Injector> = LazyLock::new(|| {
    let validators = rules::KINDS.iter().fold(Validators::default(), |all, kind| {
        all.with(kind.group, kind.kind, |subject| {
            let namespace = subject.place.namespace;
            let settings = rules::Settings::default();
            let Judgement { errors, warnings } = kind.judge(subject.object, namespace, &settings);
            Findings { errors, warnings }
        })
    });
    Injector::new(Config::default()).with_validators(validators)
});

fuzz_target!(|body: &[u8]| {
    if let Ok(response) = INJECTOR.validate(body) {
        assert_eq!(response["kind"], "AdmissionReview");
    }
});
