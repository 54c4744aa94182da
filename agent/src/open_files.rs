//! The limit of open files: each connection through the sidecar is two.

/// Raises it as far as the kernel lets us. Who may not serves fewer connections.
/// How many may be open then, if that is known.
pub(crate) fn raise() -> Option<u64> {
    match weir_guard::raise_open_files() {
        Ok(limit) => {
            tracing::debug!(limit, "open files");
            Some(limit)
        }
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            None
        }
    }
}
