//! Files of what is expected, which `REFRESH_GOLDEN=1` rewrites.

use std::{env, fs, path::Path};

/// Compares a text with what a file has, or writes it there.
///
/// # Panics
/// They differ, or the file cannot be written.
pub fn check(file: &Path, actual: &str) {
    if env::var_os("REFRESH_GOLDEN").is_some() {
        fs::write(file, actual).expect("golden file");
        return;
    }
    let expected = fs::read_to_string(file).unwrap_or_default();
    assert_eq!(
        expected,
        actual,
        "{}: REFRESH_GOLDEN=1 rewrites it, then read git diff",
        file.display()
    );
}
