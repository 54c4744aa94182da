//! The command people type: demo, echo, inject, stats.

fn main() {}
