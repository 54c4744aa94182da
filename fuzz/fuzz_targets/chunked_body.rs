//! Chunked bodies: no bytes make the scanner panic, and where a body ends does not depend on how the
//! bytes were cut into reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_proxy::http::h1::body::{BadChunk, Body, Framing};

/// How many bytes belong to the body, and whether it has ended, read in pieces of `size`.
fn scan(bytes: &[u8], size: usize) -> Result<(usize, bool), BadChunk> {
    let mut body = Body::new(Framing::Chunked);
    let mut taken = 0;
    for piece in bytes.chunks(size) {
        let advanced = body.advance(piece)?;
        assert!(advanced <= piece.len());
        taken += advanced;
        if body.has_ended() {
            break;
        }
        assert_eq!(
            advanced,
            piece.len(),
            "a body that goes on takes all there is"
        );
    }
    Ok((taken, body.has_ended()))
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let whole = scan(bytes, bytes.len().max(1));
    let pieces = scan(bytes, usize::from(size).max(1));
    assert_eq!(whole, pieces);
});
