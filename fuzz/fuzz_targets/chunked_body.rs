//! Chunked bodies: no bytes make the scanner panic, where a body ends and what is sent on of it do
//! not depend on how the bytes were cut into reads, and what is sent on reads the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_proxy::http::h1::body::{Body, Framing};

/// What is sent on and how much is left, if the body has ended, read in pieces of `size`.
fn scan(bytes: &[u8], size: usize) -> Option<(Vec<u8>, usize)> {
    let mut body = Body::new(Framing::Chunked);
    let (mut held, mut sent) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(size) {
        held.extend_from_slice(piece);
        let advanced = body.advance(&mut held);
        assert!(advanced.kept <= advanced.taken);
        sent.extend_from_slice(&held[..advanced.kept]);
        held.drain(..advanced.taken);
        if advanced.malformed {
            return None;
        }
    }
    body.has_ended().then_some((sent, held.len()))
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let whole = scan(bytes, bytes.len().max(1));
    let pieces = scan(bytes, usize::from(size).max(1));
    assert_eq!(whole, pieces);
    if let Some((sent, _)) = whole {
        let again = scan(&sent, sent.len());
        assert_eq!(again, Some((sent, 0)));
    }
});
