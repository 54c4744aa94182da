//! Clusters whose endpoints are names beside real Envoy: both ask one server of names, whose answers
//! change, and come to the same endpoints, the same gauges and the same counts.

mod discovery;
mod pair;
mod refresh;
mod resolvers;
