//! The limit of open files.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one, and says what it is then. The soft limit is
/// 1024 on most machines for the sake of `select(2)`, which nobody here calls.
///
/// # Errors
/// The kernel refuses; the limit is what it was.
pub fn raise_open_files() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        let low = hard.min(512);
        setrlimit(Resource::RLIMIT_NOFILE, low, hard).expect("lowered");
        assert_eq!(raise_open_files().expect("raised"), hard);
        let limits = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        assert_eq!(limits, (hard, hard));
    }
}
