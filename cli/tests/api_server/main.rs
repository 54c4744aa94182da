//! `weir check` beside a real API server: before Weir is installed, when it works, and when it is
//! broken in each of the ways that people meet.
//!
//! There are no nodes, so the control plane is a process of this machine, with the flags of the
//! chart's Deployment and the rights of the chart's ServiceAccount.

mod check;
mod installation;
mod kubelet;
mod proxies;
