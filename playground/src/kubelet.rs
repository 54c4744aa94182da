//! The kubelet's part: runs a pod's containers in the order and with the restarts, probes, files
//! and environment that its spec asks for, and ends them in the order Kubernetes does.

pub mod environment;
pub mod log;
pub mod pod;
pub mod probe;
pub mod process;
pub mod request;
pub mod resolve;
pub mod volumes;
