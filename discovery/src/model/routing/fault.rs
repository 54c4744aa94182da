//! What is made to go wrong.

use std::time::Duration;

/// What is made to go wrong with requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fault {
    /// Some wait.
    pub delay: Option<(Duration, Share)>,
    /// Some are answered with an error.
    pub abort: Option<(Abort, Share)>,
}

/// The error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abort {
    /// A status of HTTP.
    Http(u16),
    /// A status of gRPC.
    Grpc(u32),
}

/// How many of a million requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(pub u32);

// === impl Share ===

impl Share {
    /// All of them.
    pub const ALL: Self = Self(1_000_000);
}
