//! Registries, the service model, and the xDS server that speaks of it.
