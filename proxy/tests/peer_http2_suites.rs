//! Suites that others wrote for servers of HTTP/2, against the data plane: h2spec, with its strict
//! cases, and httpwg. The cases that fail are listed by name in `peer_http2_suites/failing.txt`;
//! `REFRESH_GOLDEN=1` rewrites it. A case that passes and is listed fails this test too, so that the
//! list only says what is so.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use weir_tests::skip::{Need, skip};

use crate::proxy::{Config, Proxy, Upstream};

#[path = "http2/proxy.rs"]
#[allow(dead_code, reason = "shared with http2.rs")]
mod proxy;
#[path = "http2/upstream.rs"]
#[allow(dead_code, reason = "shared with http2.rs")]
mod upstream;

/// Far longer than a suite takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long a suite waits for a frame, in seconds. What passes takes milliseconds; a case that fails
/// because nothing comes takes all of it.
const FRAME_PATIENCE: u64 = 2;

/// Enough for cases that open a window of a few bytes and look at what comes.
const BODY: &[u8] = &[b'x'; 2048];

/// A suite's own words for its cases, each with whether it passed.
type Results = BTreeMap<String, bool>;

struct Suite {
    name: &'static str,
    /// How many cases this version has: none is left out unnoticed.
    cases: usize,
    /// Who answers: an endpoint of HTTP/1.1 or HTTP/2.
    endpoints: &'static [&'static str],
    run: fn(&Path, SocketAddr) -> Results,
}

// Not where the proxy itself answers: a request is often over there before what is wrong with it comes.
const SUITES: [Suite; 2] = [
    Suite {
        name: "h2spec",
        cases: 146,
        endpoints: &["http1", "http2"],
        run: h2spec,
    },
    Suite {
        name: "httpwg",
        cases: 107,
        endpoints: &["http1", "http2"],
        run: httpwg,
    },
];

/// Cases of httpwg that may fail or pass, by which of two frames is read first. Neither is listed.
const RACES: [&str; 2] = [
    // The proxy closes a connection whose client has said GOAWAY and has no streams; if the client's
    // PING has arrived by then, the answer is a reset, which httpwg takes for none.
    "7. error codes | sends goaway frame with unknown error code",
    // The connection ends without GOAWAY, now before and now after httpwg has given up.
    "8. expressing http semantics in http2 | client sends push promise frame",
];

#[test]
fn h2spec_and_httpwg_fail_in_no_other_cases_than_those_listed() {
    let programs = SUITES.map(|suite| program(suite.name));
    if programs.iter().any(|program| !program.exists()) {
        skip(
            Need::Peers,
            "there is no h2spec or no httpwg; `scripts/setup test` builds them",
        );
        return;
    }
    // The proxy has threads of its own; the endpoint is served by these.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let all = async {
        let mut failing: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for (suite, program) in SUITES.iter().zip(&programs) {
            for &endpoint in suite.endpoints {
                let proxy = in_front_of(endpoint).await;
                let (run, program, address) = (suite.run, program.clone(), proxy.address());
                let results = tokio::task::spawn_blocking(move || run(&program, address)).await;
                let results = results.expect("a suite that runs");
                let cases: Vec<_> = results.keys().collect();
                assert_eq!(cases.len(), suite.cases, "{}: {cases:#?}", suite.name);
                let fails =
                    |(case, passed): &(String, bool)| !passed && !RACES.contains(&case.as_str());
                for (case, _) in results.into_iter().filter(fails) {
                    let case = format!("{} | {case}", suite.name);
                    failing.entry(case).or_default().insert(endpoint);
                }
            }
        }
        failing
    };
    let patient = async { tokio::time::timeout(PATIENCE, all).await };
    let failing = tokio::task::LocalSet::new().block_on(&runtime, patient);
    compare(&failing.expect("no hang"));
}

/// Where `scripts/setup test` leaves it.
fn program(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.join(".make/tools/bin").join(name)
}

/// A proxy that speaks HTTP/2 with its clients, and who answers behind it.
async fn in_front_of(endpoint: &str) -> Proxy {
    let mut config = match endpoint {
        "http1" => Config::to(Upstream::Http1, serve().await),
        _ => Config::to(Upstream::Http2, serve().await),
    };
    // A connection that begins with something else is HTTP/1 to a listener that takes both.
    config.codec = "HTTP2";
    config.start()
}

/// An endpoint that reads each request to its end and answers it.
async fn serve() -> SocketAddr {
    upstream::accept(|stream| async move {
        let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        let served = builder.serve_connection(TokioIo::new(stream), service_fn(answer));
        let _ = served.await;
    })
    .await
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = request.into_body().collect().await;
    Ok(Response::new(Full::from(BODY)))
}

fn h2spec(program: &Path, proxy: SocketAddr) -> Results {
    let directory = tempfile::tempdir().expect("a directory");
    let report = directory.path().join("report.xml");
    let output = Command::new(program)
        .arg("--strict")
        .args(["--host", &proxy.ip().to_string()])
        .args(["--port", &proxy.port().to_string()])
        .args(["--timeout", &FRAME_PATIENCE.to_string()])
        .arg("--junit-report")
        .arg(&report)
        .output()
        .expect("h2spec");
    let report = fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    junit(&report)
}

/// Cases of a JUnit report: one opening tag a line, what went wrong inside of it.
fn junit(report: &str) -> Results {
    let cases = report.split("<testcase ").skip(1);
    let result = |case: &str| {
        let (tag, inner) = case.split_once('>').expect("a tag");
        let attribute = |name: &str| {
            let (_, value) = tag.split_once(&format!("{name}=\"")).expect("an attribute");
            value.split('"').next().unwrap_or_default().to_owned()
        };
        let title = attribute("classname").replace("&#34;", "\"");
        let name = format!("{} | {title}", attribute("package"));
        let inner = inner.split("</testcase>").next().unwrap_or_default();
        (name, inner.trim().is_empty())
    };
    cases.map(result).collect()
}

fn httpwg(program: &Path, proxy: SocketAddr) -> Results {
    let output = Command::new(program)
        // All at once, it loses its own time-outs where the machine is busy.
        .env("SEQUENTIAL", "1")
        .arg("--verbose")
        .args(["--address", &proxy.to_string()])
        .args(["--frame-timeout", &(FRAME_PATIENCE * 1000).to_string()])
        .args(["--connect-timeout", "10000"])
        .output()
        .expect("httpwg");
    let text = said(&output);
    let mut results = Results::new();
    for line in text.lines() {
        if let Some((mark, case)) = line.split_once(": RFC 9113 :: ") {
            // The panic of a case is neither: it has failed unless it says that it passed.
            let passed = mark.ends_with("Test passed");
            *results.entry(case.replace(" :: ", " | ")).or_default() |= passed;
        }
    }
    results
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn compare(failing: &BTreeMap<String, BTreeSet<&str>>) {
    let mut text = String::from(
        "# Cases of h2spec --strict and httpwg that fail, and who answers where they do: an\n\
         # endpoint of HTTP/1.1 or of HTTP/2. Made by\n\
         # REFRESH_GOLDEN=1 cargo test -p weir-proxy --test peer_http2_suites\n",
    );
    for (case, endpoints) in failing {
        let endpoints: Vec<_> = endpoints.iter().copied().collect();
        text.push_str(&format!("{case} | {}\n", endpoints.join(" ")));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peer_http2_suites/failing.txt");
    if env::var_os("REFRESH_GOLDEN").is_some() {
        fs::write(&path, &text).expect("writable");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let lines = |text: &str| -> BTreeSet<String> { text.lines().map(str::to_owned).collect() };
    let (now, before) = (lines(&text), lines(&committed));
    let new: Vec<_> = now.difference(&before).collect();
    let gone: Vec<_> = before.difference(&now).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "failing, and not so in the list: {new:#?}\nin the list, and not so: {gone:#?}"
    );
}
