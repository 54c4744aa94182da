use super::{
    key::{Key, method},
    *,
};

const TELLER: &str = "spiffe://cluster.local/ns/shop/sa/teller";

fn key(path: &str) -> Key<'_> {
    Key {
        principal: Some(TELLER),
        port: 8080,
        protocol: FlowProtocol::Http,
        verdict: FlowVerdict::Allowed,
        method: method("GET"),
        path,
    }
}

/// So many minutes pass.
fn pass(recorder: &FlowRecorder, minutes: usize) {
    (0..minutes * 6).for_each(|_| recorder.age());
}

#[test]
fn flows_of_workers_are_added_up_and_told_with_all_that_tells_them_apart() {
    let flows = Flows::new(60);
    let (one, other) = (flows.recorder(), flows.recorder());
    one.count(&key("/a"));
    other.count(&key("/a"));
    let denied = Key {
        verdict: FlowVerdict::Denied,
        principal: None,
        method: method("PROPFIND"),
        ..key("/a")
    };
    one.count(&denied);
    let told = flows.read().flows;
    let expected = |source: Option<&str>, method: Option<&str>, verdict, count| Flow {
        source: source.map(str::to_owned),
        port: 8080,
        protocol: FlowProtocol::Http,
        method: method.map(str::to_owned),
        path: Some("/a".to_owned()),
        verdict,
        count,
    };
    let expected = [
        expected(None, None, FlowVerdict::Denied, 1),
        expected(Some(TELLER), Some("GET"), FlowVerdict::Allowed, 2),
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_is_older_than_the_ring_is_forgotten() {
    let flows = Flows::new(3);
    let recorder = flows.recorder();
    let counted = || flows.read().flows.first().map(|flow| flow.count);
    recorder.count(&key("/a"));
    pass(&recorder, 1);
    recorder.count(&key("/a"));
    assert_eq!(counted(), Some(2));
    pass(&recorder, 2);
    assert_eq!(counted(), Some(1), "the first minute is over");
    pass(&recorder, 1);
    assert_eq!(counted(), None);

    let shortest = Flows::new(1);
    let recorder = shortest.recorder();
    recorder.count(&key("/a"));
    (0..5).for_each(|_| recorder.age());
    assert_eq!(shortest.read().flows.len(), 1);
    recorder.age();
    assert_eq!(shortest.read().flows.len(), 0);
}

#[test]
fn a_million_paths_are_a_few_hundred_flows_and_each_is_counted() {
    let flows = Flows::new(60);
    let recorder = flows.recorder();
    let word = |mut number: usize| {
        let letter = |digit: usize| char::from(b'a' + u8::try_from(digit % 26).unwrap_or(0));
        let mut word = String::new();
        for _ in 0..6 {
            word.push(letter(number));
            number /= 26;
        }
        word
    };
    let many = 100_000;
    for number in 0..many {
        recorder.count(&key(&format!("/{}/{}", word(number % 500), word(number))));
    }
    let read = flows.read();
    assert!(read.flows.len() <= MAX_FLOWS, "{}", read.flows.len());
    let kept: u64 = read.flows.iter().map(|flow| flow.count).sum();
    assert_eq!(kept + read.not_kept.allowed, many as u64);
    let rest = read
        .flows
        .iter()
        .find(|flow| flow.path.as_deref() == Some("/{**}"));
    assert!(rest.is_some_and(|rest| rest.count > 1));

    // Callers are not bounded by their paths.
    for number in 0..1000 {
        let principal = word(number);
        recorder.count(&Key {
            principal: Some(&principal),
            verdict: FlowVerdict::Denied,
            ..key("")
        });
    }
    let read = flows.read();
    assert_eq!(read.flows.len(), MAX_FLOWS);
    assert!(read.not_kept.denied > 0);
    pass(&recorder, 60);
    let read = flows.read();
    assert_eq!((read.flows.len(), read.not_kept), (0, NotKept::default()));
}
