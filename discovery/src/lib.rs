//! Service discovery: registries fill a [`model`] of services and endpoints, and an [`xds`] server
//! tells sidecars about it, to each only what it asked for.
//!
//! Dependencies inside the crate point one way. `model` knows neither Kubernetes nor protobuf;
//! `kubernetes` turns Kubernetes objects into the model's, and `rules` those by which people say how
//! traffic is to be treated; `manifests` reads such objects from a directory; `xds` reads the model and knows
//! nothing of where it came from; `publish` stands between the two and debounces.

mod header;
pub mod kubernetes;
pub mod manifests;
pub mod model;
pub mod publish;
pub mod rules;
pub mod verdict;
pub mod xds;
