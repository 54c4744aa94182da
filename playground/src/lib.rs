//! Pods as network namespaces on one machine.
