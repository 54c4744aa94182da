//! The control plane: injector, discovery, certificates, debug endpoints.

fn main() {}
