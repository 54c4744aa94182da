//! Tests that cross crates live in `tests/tests`; this library holds what they share.

pub mod api_server;
pub mod eventually;
pub mod netns;
pub mod skip;
