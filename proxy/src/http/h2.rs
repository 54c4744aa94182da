//! HTTP/2: what the `h2` crate leaves to its user. Sockets as it reads and writes them, and heads
//! as routing sees them.

pub(crate) mod head;
pub(crate) mod io;
