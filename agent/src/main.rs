//! The only program in a pod: capture, run, proxy, wait.

fn main() {}
