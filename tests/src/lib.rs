//! Tests that cross crates live in `tests/tests`; this library holds what they share.

pub mod api_server;
pub mod certificates;
pub mod dns;
pub mod envoy;
pub mod eventually;
pub mod frames;
pub mod golden;
pub mod helm;
pub mod http;
pub mod netns;
pub mod ports;
pub mod running;
pub mod skip;
pub mod tokens;
