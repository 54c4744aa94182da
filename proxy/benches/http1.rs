//! What is done with the head of each HTTP/1 request at the least: read it, write it for the
//! endpoint.

use divan::{Bencher, black_box};
use weir_api::xds::json;
use weir_proxy::{
    config::listener::NetworkFilter,
    convert,
    http::{changes::RequestChanges, codec::h1::request::Request, write::write_request},
};

const BOOTSTRAP: &str = include_str!("../../examples/bootstraps/virtual-hosts.yaml");
const SHORT: &[u8] = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
/// As a browser sends it.
const USUAL: &[u8] = b"GET /cart/items?page=2 HTTP/1.1\r\nHost: shop.example\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n\
    Connection: keep-alive\r\nCookie: session=0123456789abcdef\r\n\r\n";

fn main() {
    divan::main();
}

#[divan::bench(args = [SHORT.len(), USUAL.len()])]
fn parse(bencher: Bencher<'_, '_>, length: usize) {
    let head = head(length);
    let mut request = Request::default();
    bencher.bench_local(|| request.parse(black_box(head), 100).is_ok());
}

#[divan::bench(args = [SHORT.len(), USUAL.len()])]
fn rewrite(bencher: Bencher<'_, '_>, length: usize) {
    let message = json::read_bootstrap(BOOTSTRAP).expect("an example");
    let config = convert::bootstrap(message).expect("an example");
    let mut filters = config
        .listeners
        .iter()
        .flat_map(|listener| &listener.filter_chains)
        .flat_map(|chain| &chain.filters);
    let manager = filters.find_map(|filter| match filter {
        NetworkFilter::HttpConnectionManager(manager) => Some(manager),
        _ => None,
    });
    let manager = manager.expect("the example speaks HTTP");
    let mut request = Request::default();
    request.parse(head(length), 100).expect("a head");
    let changes = RequestChanges {
        expected_timeout_ms: Some(15_000),
        ..RequestChanges::default()
    };
    let mut out = Vec::new();
    bencher.bench_local(|| {
        out.clear();
        write_request(&mut out, black_box(&request), manager, &changes, false);
        out.len()
    });
}

/// By its length, which is what a row of the table is called.
fn head(length: usize) -> &'static [u8] {
    if length == SHORT.len() { SHORT } else { USUAL }
}
