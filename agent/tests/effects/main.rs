//! Each supported field has an effect, the same as in real Envoy.
//!
//! `cases/*.yaml` has a case for each: a configuration, and what to send. The case runs with
//! the field and without it, in `weir-agent proxy` and in Envoy. What is then to be seen differs,
//! and by the same lines in both. `docs/supported-configuration.md` lists the fields that cases
//! name, and no others (`proxy/tests/supported_configuration.rs`).
//!
//! # A case for a field
//!
//! A few lines in a file of `cases`, a file for each subject:
//!
//! ```yaml
//! - shows: RouteAction.prefix_rewrite       # Message.field, as the document has it; several in a list
//!   route: { route: { prefix_rewrite: /new } }
//!   send: GET /old
//! ```
//!
//! - `shows: { Route.name: other }` changes the field to `other` in place of taking it out: for one
//!   that must be there. Of a choice, such as `Route.action`, each member is a field: `Route.redirect`.
//! - Configuration is laid onto one that forwards everything to endpoint A: `route` (or `routes`),
//!   `virtual_host`, `route_config`, `http_filter` (with its `@type`, in front of the router), `hcm`,
//!   `tcp` (TcpProxy in place of HTTP) or `network_filter`, `chain`, `listener_filter`, `listener`,
//!   `cluster`, `clusters` (more of them), `ads` (resources of the control plane at cluster `ads`) and
//!   `bootstrap` (of a process of its own). `@type: Router` is written without its package.
//! - `@ID@` is the name of listener, cluster and stat prefix. `@A@`, `@B@` and `@C@` are endpoints that
//!   answer with what they got, `@GONE@` is one that refuses connections, `@AT:A@` an address; `@LOG@`
//!   is a file. In place of a whole message stand `@SAY:text@`, a filter that answers with a text,
//!   `@LOGS:%PROTOCOL%@`, an access log at `@LOG@`, and `@CLUSTER:b@`, a cluster `@ID@-b` of endpoint B.
//! - `send` is a request, or several in a list, each on a connection of its own: `GET /path` with lines
//!   of headers, or, where it says `HTTP/`, the bytes as they stand. Paths that an endpoint knows:
//!   `/sleep`, `/upgrade`, `/count` (requests of its connection), `/flaky/N/409|503|close|sleep/@ID@`. `times: 9` repeats; only the set of lines
//!   counts then. `clients: 9` sends from as many addresses, and shows to which endpoint each comes.
//! - `look` adds to the answers: `log: true`, `stats: [cluster.@ID@.upstream_rq_retry]`,
//!   `admin: /clusters` (and `lines: part of them`), `ads: true` (what the control plane was asked), `output: true`.
//! - `own: true`: without the field the configuration is refused, or the process as a whole changes.
//! - `differs: why` excuses a field whose effect is not Envoy's; `elsewhere: FILE TEST` names a test
//!   where a case cannot show it; `no_effect: why` says that nobody can see it.
//!
//! `EFFECTS=RouteAction.` runs the cases of some fields only and prints what is seen.

mod case;
mod control_plane;
mod endpoint;
mod frames;
mod proxy;
mod schema;
mod seen;

use std::{env, fs, path::Path, sync::Mutex, thread};

use case::{Case, Variant};
use proxy::{Kind, Proxy, Until};
use schema::Schema;
use seen::{Difference, Seen};
use weir_tests::skip::has;

/// Exchanges at a time: each waits more than it works.
const AT_A_TIME: usize = 48;
/// Processes of their own at a time.
const PROCESSES: usize = 4;

#[test]
#[expect(clippy::print_stdout, reason = "for who writes a case")]
fn each_field_has_an_effect_and_it_is_envoys() {
    if !has("envoy") {
        return;
    }
    let (schema, only) = (Schema::load(), env::var("EFFECTS").unwrap_or_default());
    let cases = case::read().into_iter().filter(Case::is_here);
    let cases = cases.filter(|case| {
        case.fields()
            .iter()
            .any(|it| it.to_string().contains(&only))
    });
    let cases: Vec<(Case, Vec<Variant>)> = cases
        .enumerate()
        .map(|(number, case)| (case.clone(), case.variants(number, &schema)))
        .collect();
    let (ours, envoys) = thread::scope(|scope| {
        let envoys = scope.spawn(|| see_all(Kind::Envoy, &cases));
        let ours = see_all(Kind::Weir, &cases);
        (ours, envoys.join().expect("no panic"))
    });
    let mut wrong = Vec::new();
    for ((case, variants), (ours, envoys)) in cases.iter().zip(ours.iter().zip(&envoys)) {
        for (nth, variant) in variants.iter().enumerate().skip(1) {
            let field = variant.without.as_ref().expect("one that is changed");
            if let Some(why) = fault(case, ours, envoys, nth) {
                wrong.push(format!("{field}: {why}"));
            } else if !only.is_empty() {
                println!("{field}: {:#?}", Difference::between(&ours[0], &ours[nth]));
                println!("Envoy: {:#?}", envoys[nth]);
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} fields:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_test_that_a_case_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for case in case::read() {
        let Some(test) = &case.elsewhere else {
            continue;
        };
        let (file, name) = test.split_once(' ').expect("FILE TEST");
        let source = fs::read_to_string(root.join(file)).unwrap_or_default();
        let is_there = source.contains(&format!("fn {name}("));
        assert!(is_there, "{}: {file} has no test {name}", case.name());
    }
}

/// Why the variant does not show its field, if it does not.
fn fault(case: &Case, ours: &[Seen], envoys: &[Seen], nth: usize) -> Option<String> {
    let our = Difference::between(&ours[0], &ours[nth]);
    if our.is_none() {
        let seen = &ours[0];
        return Some(format!(
            "nothing changes without it. What is seen: {seen:#?}"
        ));
    }
    if case.differs.is_some() {
        return None;
    }
    let envoy = Difference::between(&envoys[0], &envoys[nth]);
    (our != envoy).then(|| format!("\n  ours: {our:#?}\n  Envoy's: {envoy:#?}"))
}

/// What is seen of each variant of each case.
fn see_all(kind: Kind, cases: &[(Case, Vec<Variant>)]) -> Vec<Vec<Seen>> {
    let asked: Vec<bool> = cases
        .iter()
        .map(|(case, _)| kind == Kind::Weir || case.differs.is_none())
        .collect();
    let of = |own: bool| {
        let (all, asked) = (cases.iter().enumerate(), &asked);
        let asked = all.filter(move |(number, (case, _))| asked[*number] && case.is_own() == own);
        asked.flat_map(|(number, (_, variants))| (0..variants.len()).map(move |nth| (number, nth)))
    };
    let variants: Vec<&Variant> = of(false)
        .map(|(number, nth)| &cases[number].1[nth])
        .collect();
    let shared = (!variants.is_empty()).then(|| {
        Proxy::start(kind, &variants, Until::Ready)
            .unwrap_or_else(|why| panic!("{kind:?} refuses: {why}"))
    });
    let none: Vec<Vec<Seen>> = cases
        .iter()
        .map(|(_, it)| vec![Seen::new(); it.len()])
        .collect();
    let seen = Mutex::new(none);
    let look = |(number, nth): (usize, usize)| {
        let (case, variants) = &cases[number];
        let it = match &shared {
            Some(proxy) if !case.is_own() => proxy.see(case, &variants[nth]),
            _ => see_alone(kind, case, &variants[nth]),
        };
        seen.lock().expect("no panic")[number][nth] = it;
    };
    each(of(false).collect(), AT_A_TIME, look);
    each(of(true).collect(), PROCESSES, look);
    seen.into_inner().expect("no panic")
}

/// Does it to all, several at a time.
fn each<T: Send>(all: Vec<T>, at_a_time: usize, what: impl Fn(T) + Sync) {
    let left = Mutex::new(all.into_iter());
    let next = || left.lock().expect("no panic").next();
    thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                while let Some(one) = next() {
                    what(one);
                }
            });
        }
    });
}

/// What is seen of a process of its own, which may refuse the configuration.
fn see_alone(kind: Kind, case: &Case, variant: &Variant) -> Seen {
    let until = match case.look.ads {
        true => Until::Runs,
        false => Until::Ready,
    };
    let seen =
        Proxy::start(kind, &[variant], until).and_then(|mut proxy| proxy.see_alone(case, variant));
    seen.unwrap_or_else(|_| vec!["refused".to_owned()])
}
