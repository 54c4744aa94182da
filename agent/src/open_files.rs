//! The limit of open files: each connection through the sidecar is two.

/// Raises it as far as the kernel lets us. Who may not serves fewer connections.
pub(crate) fn raise() {
    match weir_guard::raise_open_files() {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
    }
}
