//! Calls that no safe crate has, one a function. The only crate of the workspace that says `unsafe`.

/// Gives free memory of the allocator back to the system, from all of its arenas and not only from
/// their ends. Says whether there was any. Takes the locks of the arenas, one after the other.
///
/// [malloc_trim(3)](https://man7.org/linux/man-pages/man3/malloc_trim.3.html). Does nothing where the
/// C library is not glibc.
#[must_use]
pub fn trim_heap() -> bool {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "no crate has a safe function for it")]
    // SAFETY: takes a number and no pointer, may be called by any thread at any time (MT-Safe), and
    // only unmaps pages that no allocation is on.
    let trimmed = unsafe { libc::malloc_trim(0) } == 1;
    #[cfg(not(target_env = "gnu"))]
    let trimmed = false;
    trimmed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_freed_goes_back_and_what_is_in_use_stays() {
        let kept: Vec<Vec<u8>> = (0..2000).map(|n| vec![n as u8; 8 * 1024]).collect();
        // Every second one, so that no end of the heap is free.
        let kept: Vec<_> = kept.into_iter().step_by(2).collect();
        let trimmed = trim_heap();
        assert_eq!(trimmed, cfg!(target_env = "gnu"));
        let whole = |(n, bytes): (usize, &Vec<u8>)| bytes.iter().all(|byte| *byte == (2 * n) as u8);
        assert!(kept.iter().enumerate().all(whole));
    }
}
