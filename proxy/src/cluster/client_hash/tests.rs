use super::{super::fixture, *};
use crate::http::head::Fields;

/// A request for a path, with header lines.
struct Request(&'static str, Vec<(&'static str, &'static str)>);

impl Fields for Request {
    fn any_line<'h>(&'h self, name: &str, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        let mut lines = self.1.iter().filter(|(known, _)| *known == name);
        lines.any(|(_, value)| look((*value).into()))
    }

    fn any_name<'h>(&'h self, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        self.1.iter().any(|(name, _)| look((*name).into()))
    }
}

impl RequestHead for Request {
    fn method(&self) -> &str {
        "GET"
    }

    fn path(&self) -> &str {
        self.0
    }

    fn authority(&self) -> &str {
        "web"
    }

    fn protocol(&self) -> &'static str {
        "HTTP/1.1"
    }
}

fn of(hashed: Hashed) -> HashPolicy {
    HashPolicy {
        of: hashed,
        is_terminal: false,
    }
}

fn header(name: &str) -> HashPolicy {
    of(Hashed::Header {
        name: name.to_owned(),
        rewrite: None,
    })
}

/// What a cluster of a ring makes of a request.
fn hashed(
    policies: &[HashPolicy],
    path: &'static str,
    lines: &[(&'static str, &'static str)],
) -> ClientHash {
    let cluster = Cluster::new(
        &fixture::config("lb_policy: RING_HASH"),
        Default::default(),
        None,
    );
    let request = Request(path, lines.to_vec());
    let mut filter_state = FilterState::default();
    filter_state.set_hashable("key", "of a filter");
    filter_state.set("plain", "of a filter");
    let subject = Subject {
        source: [10, 0, 0, 1].into(),
        request: Some(&request),
        filter_state: &filter_state,
        connection: (([10, 0, 0, 1], 5).into(), ([10, 0, 0, 2], 80).into()),
    };
    cluster.client_hash(policies, &subject)
}

fn hash_with(policies: &[HashPolicy], lines: &[(&'static str, &'static str)]) -> Option<u64> {
    hashed(policies, "/path?user=q&user=other", lines).hash
}

#[test]
fn the_hash_is_that_of_the_address_as_text() {
    // XXH64 of the text with seed 0, as `xxhsum -H64` prints it.
    assert_eq!(hash_of_address([10, 0, 0, 1].into()), hash(b"10.0.0.1"));
    let mapped: IpAddr = "::ffff:10.0.0.1".parse().expect("an address");
    assert_eq!(hash_of_address(mapped), hash(b"10.0.0.1"));
    assert_eq!(
        hash_with(&[HashPolicy::SOURCE_IP], &[]),
        Some(hash(b"10.0.0.1"))
    );
}

#[test]
fn policies_are_rotated_into_each_other_until_a_terminal_one_has_a_hash() {
    let lines = [("a", "1"), ("b", "2")];
    let (a, b) = (hash(b"1"), hash(b"2"));
    let both = Some(a.rotate_left(1) ^ b);
    assert_eq!(hash_with(&[header("a"), header("b")], &lines), both);
    assert_eq!(
        hash_with(&[header("a"), header("none"), header("b")], &lines),
        both
    );
    let twice = hash_with(&[header("a"), header("a")], &lines);
    assert!(twice.is_some_and(|it| it != 0 && it != a));
    let terminal = |name| HashPolicy {
        is_terminal: true,
        ..header(name)
    };
    assert_eq!(hash_with(&[terminal("a"), header("b")], &lines), Some(a));
    assert_eq!(hash_with(&[terminal("none"), header("b")], &lines), Some(b));
    // What came before counts for a terminal one that has none of its own.
    assert_eq!(
        hash_with(&[header("a"), terminal("none"), header("b")], &lines),
        Some(a)
    );
    assert_eq!(hash_with(&[], &lines), None);
}

#[test]
fn all_lines_of_a_header_count_in_any_order() {
    let hash_of = |lines: &[_]| hash_with(&[header("a")], lines);
    let expected = Some(XxHash64::oneshot(hash(b"1"), b"2"));
    assert_eq!(hash_of(&[("a", "1"), ("a", "2")]), expected);
    assert_eq!(hash_of(&[("a", "2"), ("a", "1")]), expected);
    assert_eq!(hash_with(&[header(":authority")], &[]), Some(hash(b"web")));
    let listed = [("accept", "2"), ("accept", "1")];
    assert_eq!(hash_with(&[header("accept")], &listed), Some(hash(b"2,1")));
}

#[test]
fn parameters_and_objects_are_hashed_where_they_are_there() {
    let parameter = |name: &str| of(Hashed::QueryParameter(name.to_owned()));
    assert_eq!(hash_with(&[parameter("user")], &[]), Some(hash(b"q")));
    assert_eq!(hash_with(&[parameter("none")], &[]), None);
    let object = |name: &str| of(Hashed::FilterState(name.to_owned()));
    assert_eq!(hash_with(&[object("key")], &[]), Some(hash(b"of a filter")));
    assert_eq!(hash_with(&[object("plain")], &[]), None);
}

#[test]
fn who_has_no_cookie_is_given_one() {
    let generated = GeneratedCookie {
        ttl: 0,
        path: "/p".to_owned(),
        attributes: Vec::new(),
    };
    let policies = [of(Hashed::Cookie {
        name: "user".to_owned(),
        generated: Some(generated),
    })];
    let known = hashed(&policies, "/", &[("cookie", "user=x")]);
    assert_eq!((known.hash, known.cookies.len()), (Some(hash(b"x")), 0));
    let value = format!("{:016x}", hash(b"10.0.0.1:510.0.0.2:80"));
    let new = hashed(&policies, "/", &[("cookie", "user=")]);
    assert_eq!(new.hash, Some(hash(value.as_bytes())));
    assert_eq!(
        new.cookies,
        [format!("user=\"{value}\"; Path=/p; HttpOnly")]
    );
}
