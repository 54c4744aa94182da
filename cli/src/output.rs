//! Standard output and standard error, for text that is meant for people or programs. A reader that
//! has gone away is no reason to panic.

use std::io::{self, Write};

/// Writes a line to standard output.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Writes bytes to standard output as they are.
pub(crate) fn bytes(bytes: &[u8]) {
    let mut stdout = io::stdout();
    let _ = stdout.write_all(bytes);
    let _ = stdout.flush();
}

/// Writes a line to standard error.
pub(crate) fn error(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
