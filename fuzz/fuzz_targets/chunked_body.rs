//! Chunked bodies: no bytes make the scanner panic, and neither where a body ends nor what is sent on of
//! it depends on how the bytes were cut into reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_proxy::http::codec::h1::body::{Body, Framing};

/// What is sent on, what is left, and whether the body has ended, read in pieces of `size`. None for
/// what is malformed.
fn follow(bytes: &[u8], size: usize) -> Option<(Vec<u8>, Vec<u8>, bool)> {
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
    Some((sent, held, body.has_ended()))
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let whole = follow(bytes, bytes.len().max(1));
    let pieces = follow(bytes, usize::from(size).max(1));
    assert_eq!(whole, pieces);
});
