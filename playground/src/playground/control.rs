//! The control plane of a playground: `weir-control` in a pod of its own, fed by the live objects.
