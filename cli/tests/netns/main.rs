//! Playgrounds in network namespaces, driven by the `weir` command. They need root.

mod affinity;
mod authorization;
mod custom;
mod demo;
mod ends;
mod external;
mod failures;
mod foreign;
mod guarded;
mod inbound;
mod istio;
mod last_resort;
mod lockdown;
mod mesh;
mod metrics;
mod pod_life;
mod pods;
mod refusals;
mod routes;
mod strict;
mod tokens;
