//! Waiting for what happens in another process, where nothing announces it.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

/// Asks `look` again and again until it finds something, for at most `limit`.
pub fn eventually<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        ensure!(began.elapsed() < limit, "nothing after {limit:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
