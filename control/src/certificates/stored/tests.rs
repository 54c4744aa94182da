use std::time::Duration;

use super::*;
use crate::certificates::rotation::{Origin, Policy};

fn stored() -> Stored {
    let policy = Policy {
        origin: Origin::Own,
        names: vec!["weir-control.weir-system.svc".to_owned()],
        ca_life: Duration::from_secs(1000),
        serving_life: Duration::from_secs(100),
        workload_life: Duration::from_secs(1000),
    };
    policy.create(SystemTime::now()).expect("made")
}

fn written(stored: &Stored) -> Data {
    let mut data = Data::from([("other".to_owned(), b"kept".to_vec().into())]);
    stored.write(&mut data);
    data
}

#[test]
fn what_is_written_is_read_again() {
    let (mut stored, second) = (stored(), stored());
    stored.next = Some(second.active.clone());
    stored.previous = Some(Previous {
        pem: second.active.pem().to_owned(),
        until: SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000),
    });
    let data = written(&stored);
    assert_eq!(*data["other"], b"kept");
    let Ok(Reading::Good(read, left_out)) = Stored::read(&data) else {
        panic!("not read");
    };
    assert_eq!(left_out, Vec::<String>::new());
    assert_eq!(read.active.pem(), stored.active.pem());
    assert_eq!(read.previous, stored.previous);
    assert_eq!(read.bundle(), stored.bundle());
    assert_eq!(written(&read), data);

    stored.next = None;
    let mut later = data;
    stored.write(&mut later);
    assert!(!later.contains_key(key::NEXT) && !later.contains_key(key::NEXT_KEY));
}

#[test]
fn a_secret_without_a_ca_is_empty() {
    let data = Data::from([("note".to_owned(), b"made by hand".to_vec().into())]);
    assert!(matches!(Stored::read(&data), Ok(Reading::Empty)));
}

#[test]
fn a_ca_that_is_not_whole_is_an_error_that_names_the_key() {
    let good = written(&stored());
    for (name, value, expected) in [
        (key::CA_KEY, None, "ca.key is absent"),
        (
            key::CA,
            Some(b"junk".to_vec()),
            "ca.crt and ca.key: no certificate",
        ),
        (key::CA_KEY, Some(vec![0xff]), "ca.key is no text"),
        (
            key::CA,
            Some(written(&stored())[key::CA].to_vec()),
            "is not for the private key",
        ),
    ] {
        let mut data = good.clone();
        match value {
            Some(value) => data.insert(name.to_owned(), value.into()),
            None => data.remove(name),
        };
        let error = Stored::read(&data).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_can_be_made_again_is_left_out_with_the_reason() {
    for (name, expected) in [
        (key::SERVING, "tls.crt: "),
        (key::NEXT, "ca-next.crt and ca-next.key: "),
        (key::PREVIOUS, "ca-previous.crt: "),
        (
            key::PREVIOUS_UNTIL,
            "ca-previous.crt: ca-previous.crt is absent",
        ),
    ] {
        let mut data = written(&stored());
        data.insert(name.to_owned(), b"junk".to_vec().into());
        let Ok(Reading::Good(_, left_out)) = Stored::read(&data) else {
            panic!("not read");
        };
        assert!(left_out[0].starts_with(expected), "{left_out:?}");
    }
}
