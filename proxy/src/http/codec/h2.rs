//! HTTP/2 (RFC 9113), both sides: a state machine without I/O (`core`), what is said of streams
//! (`handle`), and the socket (`wire`).
//!
//! Our own, because a proxy wants of it what the crates there are do not give: nothing that came
//! before a reset is lost, error codes are those that the RFC names, a header section is bounded by
//! its bytes, floods have an end, and no lock, task or copy is paid for a stream.

pub mod client;
mod core;
mod error;
mod floods;
mod frame;
mod handle;
mod header_block;
mod heads;
mod message;
mod output;
mod receive;
mod send;
pub mod server;
mod settings;
mod store;
mod stream;
mod wire;

/// Gives up the buffers that this worker has not needed since it last called this.
pub(crate) fn age_stock() {
    output::age_stock();
    wire::age_stock();
}

#[cfg(test)]
mod tests;

pub use self::{
    core::Counts,
    error::{Error, Reason, Side},
    floods::{Flood, FloodLimits},
    handle::{RecvStream, ResponseFuture, SendResponse, SendStream},
    message::TooLarge,
    settings::Config,
    wire::{Flushed, Socket, Traffic},
};
