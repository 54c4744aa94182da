//! Messages that break a rule, that two recipients could read differently, or that end in the
//! middle, through the data plane on loopback. The cases are tables; each is run over every pair
//! of codecs for which it has scripts.

use std::future::Future;

#[path = "faults/between_versions.rs"]
mod between_versions;
#[path = "faults/case.rs"]
mod case;
#[path = "faults/endings.rs"]
mod endings;
#[path = "faults/framing.rs"]
mod framing;
#[path = "faults/http1.rs"]
mod http1;
#[path = "faults/http2.rs"]
mod http2;
#[path = "faults/http2_messages.rs"]
mod http2_messages;
#[path = "faults/peer.rs"]
mod peer;
#[expect(dead_code, reason = "shared with the tests of HTTP/2")]
#[path = "http2/proxy.rs"]
mod proxy;
#[path = "faults/seen.rs"]
mod seen;

/// Runs all cases of a table, and says which went wrong in which pair of codecs.
fn hold(table: &[case::Case]) {
    let wrong = run(async {
        let mut wrong = Vec::new();
        for case in table {
            wrong.extend(case.run().await);
        }
        wrong
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

#[test]
fn connection_specific_fields_end_between_versions() {
    hold(between_versions::CONNECTION_SPECIFIC);
}

#[test]
fn what_came_before_an_end_is_delivered_before_it() {
    hold(endings::CUT);
}

#[test]
fn requests_of_http2_say_where_they_go() {
    hold(http2_messages::AUTHORITIES);
}

#[test]
fn sections_of_http2_hold_what_belongs_there() {
    hold(http2_messages::SECTIONS);
}

#[test]
fn connection_names_nothing_that_frames_or_is_for_all() {
    hold(framing::CONNECTION_NAMES);
}

#[test]
fn chunks_and_lengths_are_written_as_they_were_understood() {
    hold(framing::LENGTHS);
}

#[test]
fn start_lines_and_hosts_that_are_none_are_refused() {
    hold(framing::START_LINES);
}

#[test]
fn names_and_values_keep_their_bytes() {
    hold(framing::UNCHANGED);
}

#[test]
fn upgrade_goes_with_its_option_or_not_at_all() {
    hold(framing::UPGRADES);
}

#[test]
fn what_a_proxy_knows_is_not_taken_from_clients() {
    hold(framing::EDGE);
}
