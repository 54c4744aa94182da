//! Filters: what serves a connection.

pub mod network;
