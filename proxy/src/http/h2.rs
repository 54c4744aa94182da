//! Heads of HTTP/2 messages as routing sees them.

pub(crate) mod head;
