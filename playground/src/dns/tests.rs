use super::*;

fn zone() -> Zone {
    let mut zone = Zone::default();
    let addresses = |last: &[u8]| {
        Target::Addresses(
            last.iter()
                .map(|&last| Ipv4Addr::new(10, 244, 0, last))
                .collect(),
        )
    };
    zone.insert("web.shop.svc.cluster.local", addresses(&[2]));
    zone.insert("db.shop.svc.cluster.local", addresses(&[3, 4]));
    zone.insert("db-0.db.shop.svc.cluster.local", addresses(&[3]));
    zone.insert(
        "outside.shop.svc.cluster.local",
        Target::Alias("web.shop.svc.cluster.local".into()),
    );
    zone
}

fn ask(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).expect("name"), kind));
    zone()
        .answer(&message.to_vec().expect("bytes"))
        .expect("answer")
}

fn addresses(message: &Message) -> Vec<String> {
    message
        .answers
        .iter()
        .filter_map(|record| Some(record.data.ip_addr()?.to_string()))
        .collect()
}

#[test]
fn services_and_pods_of_headless_services_resolve() {
    assert_eq!(
        addresses(&ask("web.shop.svc.cluster.local.", RecordType::A)),
        ["10.244.0.2"]
    );
    assert_eq!(
        addresses(&ask("WEB.Shop.svc.cluster.local.", RecordType::A)),
        ["10.244.0.2"]
    );
    let headless = ask("db.shop.svc.cluster.local.", RecordType::A);
    assert_eq!(addresses(&headless), ["10.244.0.3", "10.244.0.4"]);
    assert_eq!(
        addresses(&ask("db-0.db.shop.svc.cluster.local.", RecordType::A)),
        ["10.244.0.3"]
    );
    assert_eq!(
        addresses(&ask("10-244-0-9.shop.pod.cluster.local.", RecordType::A)),
        ["10.244.0.9"]
    );
}

#[test]
fn an_external_name_is_an_alias() {
    let answer = ask("outside.shop.svc.cluster.local.", RecordType::A);
    assert_eq!(answer.answers.len(), 2);
    assert_eq!(addresses(&answer), ["10.244.0.2"]);
}

#[test]
fn a_name_without_records_of_the_type_exists_all_the_same() {
    for name in ["web.shop.svc.cluster.local.", "shop.svc.cluster.local."] {
        let answer = ask(name, RecordType::AAAA);
        assert_eq!(
            answer.metadata.response_code,
            ResponseCode::NoError,
            "{name}"
        );
        assert!(answer.answers.is_empty());
    }
}

#[test]
fn what_the_cluster_does_not_know_does_not_exist() {
    for name in [
        "example.com.",
        "web.other.svc.cluster.local.",
        "web.shop.svc.cluster.local.shop.",
    ] {
        let answer = ask(name, RecordType::A);
        assert_eq!(
            answer.metadata.response_code,
            ResponseCode::NXDomain,
            "{name}"
        );
    }
}

#[test]
fn bytes_that_are_no_query_are_not_answered() {
    assert!(zone().answer(b"").is_none());
    assert!(zone().answer(&[0xff; 40]).is_none());
    let response = ask("web.shop.svc.cluster.local.", RecordType::A)
        .to_vec()
        .expect("bytes");
    assert!(zone().answer(&response).is_none());
}
