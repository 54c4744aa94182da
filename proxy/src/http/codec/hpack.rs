//! HPACK (RFC 7541): how HTTP/2 compresses fields.
//!
//! Our own, because the crates there are allocate for each field: here a field that repeats is
//! looked up and cloned, without a copy and without being looked at again.

mod decoder;
mod encoder;
mod field;
mod huffman;
mod integer;
mod tables;

pub(crate) use self::{
    decoder::Decoder,
    encoder::Encoder,
    field::{Field, Pseudo},
};
