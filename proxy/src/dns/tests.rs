use std::net::Ipv4Addr;

use proptest::prelude::*;
use weir_tests::dns::{Answer, Forged, Server, ips};

use super::{
    message::{Heard, hear, question},
    *,
};

fn server() -> Server {
    Server::start(Ipv4Addr::LOCALHOST)
}

/// A resolver that asks these, waits briefly, and tries no search domains.
fn resolver(servers: &[&Server]) -> Resolver {
    Resolver::new(&Arc::new(DnsResolver {
        servers: servers.iter().map(|server| server.address).collect(),
        no_search: true,
        tries: 2,
        ..DnsResolver::default()
    }))
}

async fn ask(servers: &[&Server], name: &str) -> Result<Resolved, LookupError> {
    let resolver = resolver(servers);
    resolver.lookup(name, DnsLookupFamily::V4Only).await
}

async fn lookup(server: &Server, name: &str, family: DnsLookupFamily) -> Vec<IpAddr> {
    let resolved = resolver(&[server]).lookup(name, family).await;
    resolved.expect("an answer").addresses
}

#[tokio::test]
async fn each_family_is_asked_for_as_it_is_meant() {
    use DnsLookupFamily::{All, Auto, V4Only, V4Preferred, V6Only};

    let server = server();
    server.has("both.test", &["10.0.0.1", "fd00::1"]);
    server.has("old.test", &["10.0.0.1"]);
    server.has("new.test", &["fd00::1"]);
    for (name, family, expected) in [
        ("both.test", Auto, &["fd00::1"][..]),
        ("both.test", V4Only, &["10.0.0.1"]),
        ("both.test", V6Only, &["fd00::1"]),
        ("both.test", V4Preferred, &["10.0.0.1"]),
        ("both.test", All, &["10.0.0.1", "fd00::1"]),
        ("old.test", Auto, &["10.0.0.1"]),
        ("old.test", V6Only, &[]),
        ("new.test", V4Only, &[]),
        ("new.test", V4Preferred, &["fd00::1"]),
        ("new.test", All, &["fd00::1"]),
        ("no.test", All, &[]),
    ] {
        let found = lookup(&server, name, family).await;
        assert_eq!(found, ips(expected), "{name} {family:?}");
    }
}

#[tokio::test]
async fn addresses_loopback_and_what_cannot_be_a_name_are_not_asked_for() {
    let server = server();
    let v4 = DnsLookupFamily::V4Only;
    assert_eq!(lookup(&server, "10.0.0.9", v4).await, ips(&["10.0.0.9"]));
    assert_eq!(lookup(&server, "fd00::9", v4).await, ips(&[]));
    let deep = lookup(&server, "deep.localhost.", v4).await;
    assert_eq!(deep, ips(&["127.0.0.1"]));
    let long = "a".repeat(64);
    for wrong in ["a..b", &long] {
        let error = resolver(&[&server]).lookup(wrong, v4).await;
        assert_eq!(error, Err(LookupError::Name(wrong.to_owned())));
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_cut_is_asked_for_over_tcp() {
    let server = server();
    let many: Vec<IpAddr> = (0..2000_u16)
        .map(|n| IpAddr::from([10, 1, n.to_be_bytes()[0], n.to_be_bytes()[1]]))
        .collect();
    server.set("many.test", Answer::OverTcp(many.clone(), 30));
    let resolved = ask(&[&server], "many.test").await.expect("an answer");
    assert_eq!(resolved.addresses, many);
    assert_eq!(resolved.ttl, Duration::from_secs(30));
    assert_eq!((server.times("many.test"), server.over_tcp()), (2, 1));
}

#[tokio::test]
async fn an_alias_leads_to_the_addresses_and_each_counts_once() {
    let server = server();
    let addresses = ips(&["10.0.0.1", "10.0.0.2", "10.0.0.1"]);
    server.set(
        "www.test",
        Answer::Alias("web.test".to_owned(), addresses, 7),
    );
    let found = lookup(&server, "www.test", DnsLookupFamily::V4Only).await;
    assert_eq!(found, ips(&["10.0.0.1", "10.0.0.2"]));
}

#[tokio::test]
async fn what_others_send_is_passed_over() {
    let server = server();
    let evil = "10.6.6.6".parse().expect("an address");
    // A name that is a pointer to itself.
    let mut looped = vec![0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    looped.extend([0xc0, 12, 0, 1, 0, 1]);
    let forged = vec![
        Forged::WrongId(evil),
        Forged::WrongName(evil),
        Forged::Bytes(looped),
        Forged::Bytes(vec![]),
        Forged::Bytes(vec![0xff; 600]),
    ];
    server.set("good.test", Answer::After(forged, ips(&["10.0.0.1"])));
    let found = lookup(&server, "good.test", DnsLookupFamily::V4Only).await;
    assert_eq!(found, ips(&["10.0.0.1"]));
}

#[tokio::test]
async fn the_next_server_is_asked_where_one_cannot_say_or_is_not_there() {
    let (fails, knows) = (server(), server());
    fails.set("a.test", Answer::Code(2));
    knows.has("a.test", &["10.0.0.1"]);
    let asked = ask(&[&fails, &knows], "a.test").await;
    assert_eq!(asked.expect("an answer").addresses, ips(&["10.0.0.1"]));
    let code = "Server Failure".to_owned();
    let alone = ask(&[&fails], "a.test").await;
    assert_eq!(alone, Err(LookupError::Failed(code)));
    assert_eq!(fails.times("a.test"), 3, "twice where nobody else is asked");
    let gone = weir_tests::ports::free();
    let resolver = Resolver::new(&Arc::new(DnsResolver {
        servers: vec![gone],
        ..DnsResolver::default()
    }));
    let asked = resolver.lookup("a.test.", DnsLookupFamily::V4Only).await;
    assert_eq!(asked, Err(LookupError::Unreachable));
}

#[tokio::test(start_paused = true)]
async fn silence_ends_after_timeouts_that_double() {
    let server = server();
    server.set("a.test", Answer::Silence);
    let since = tokio::time::Instant::now();
    let asked = ask(&[&server], "a.test").await;
    assert_eq!(asked, Err(LookupError::Timeout));
    // 5 s and 10 s.
    assert_eq!(since.elapsed().as_secs(), 15);
}

#[test]
fn other_servers_may_stand_in_where_the_machine_names_none() {
    let of_machine = SocketAddr::from(([10, 0, 0, 10], 53));
    let configured = SocketAddr::from(([10, 0, 0, 11], 53));
    let asked = |is_fallback, servers: &[SocketAddr]| {
        let resolver = Resolver::new(&Arc::new(DnsResolver {
            servers: vec![configured],
            is_fallback,
            ..DnsResolver::default()
        }));
        resolver.servers(&System {
            servers: servers.to_vec(),
            ..System::default()
        })
    };
    assert_eq!(asked(false, &[of_machine]), [configured]);
    assert_eq!(asked(true, &[of_machine]), [of_machine]);
    assert_eq!(asked(true, &[]), [configured]);
    let none = Resolver::new(&Arc::default()).servers(&System::default());
    assert_eq!(none, [SocketAddr::from((Ipv4Addr::LOCALHOST, 53))]);
}

#[test]
fn a_question_says_how_long_its_answer_may_be() {
    let name = Name::from_ascii("a.test.").expect("a name");
    let said = |payload| {
        let bytes = question(1, (&name, RecordType::A), payload).expect("a question");
        let message = hickory_proto::op::Message::from_vec(&bytes).expect("a message");
        message.edns.map(|edns| edns.max_payload())
    };
    assert_eq!((said(Some(4000)), said(None)), (Some(4000), None));
}

#[tokio::test]
async fn nobody_knows_while_one_family_is_unknown() {
    let server = server();
    server.set_type("a.test", 28, Answer::Code(2));
    for family in [DnsLookupFamily::Auto, DnsLookupFamily::All] {
        let asked = resolver(&[&server]).lookup("a.test", family).await;
        assert!(asked.is_err(), "{family:?}");
    }
    server.has("a.test", &["10.0.0.1"]);
    for family in [DnsLookupFamily::Auto, DnsLookupFamily::All] {
        assert_eq!(lookup(&server, "a.test", family).await, ips(&["10.0.0.1"]));
    }
}

#[tokio::test]
async fn servers_take_turns_where_they_are_to() {
    let (one, two) = (server(), server());
    for server in [&one, &two] {
        server.has("a.test", &["10.0.0.1"]);
    }
    let resolver = Resolver::new(&Arc::new(DnsResolver {
        servers: vec![one.address, two.address],
        no_search: true,
        rotates: true,
        ..DnsResolver::default()
    }));
    for _ in 0..4 {
        let asked = resolver.lookup("a.test", DnsLookupFamily::V4Only).await;
        asked.expect("an answer");
    }
    assert_eq!((one.times("a.test"), two.times("a.test")), (2, 2));
}

#[test]
fn dots_decide_whether_a_name_is_searched_for_first() {
    let system = System {
        search: vec!["svc.test".to_owned(), "test".to_owned()],
        ndots: 2,
        ..System::default()
    };
    let candidates = |name, no_search| {
        let resolver = Resolver::new(&Arc::new(DnsResolver {
            no_search,
            ..DnsResolver::default()
        }));
        let names = resolver.candidates(name, &system).expect("a name");
        names.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let searched = ["web.a.svc.test.", "web.a.test.", "web.a."];
    assert_eq!(candidates("web.a", false), searched);
    let first = ["a.b.c.", "a.b.c.svc.test.", "a.b.c.test."];
    assert_eq!(candidates("a.b.c", false), first);
    assert_eq!(candidates("web.", false), ["web."]);
    assert_eq!(candidates("web", true), ["web."]);
}

proptest! {
    /// Whatever comes is heard, and what does not begin with the id is foreign.
    #[test]
    fn any_bytes_are_heard(bytes in proptest::collection::vec(any::<u8>(), 0..600), id: u16) {
        let name = Name::from_ascii("a.test.").expect("a name");
        let heard = hear(&bytes, id, (&name, RecordType::A));
        if bytes.get(..2) != Some(&id.to_be_bytes()) {
            prop_assert_eq!(heard, Heard::Foreign);
        }
    }

    /// A question is no answer, whatever of it is changed behind its head.
    #[test]
    fn a_question_is_foreign(id: u16, at in 4_usize..40, byte: u8) {
        let name = Name::from_ascii("a.test.").expect("a name");
        let what = (&name, RecordType::AAAA);
        let mut bytes = question(id, what, Some(1232)).expect("a question");
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        prop_assert_eq!(hear(&bytes, id, what), Heard::Foreign);
    }
}
