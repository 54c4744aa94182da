//! Files that are there whole or not at all.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::CertificateError;

/// Who may read a file.
#[derive(Clone, Copy)]
pub(super) enum Access {
    Owner,
    Everyone,
}

/// Reads a file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, CertificateError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, error)),
    }
}

/// Writes a file, in place of one that is there.
pub(super) fn write(path: &Path, text: &str, access: Access) -> Result<(), CertificateError> {
    let draft = draft(path, text, access)?;
    fs::rename(&draft, path).map_err(|error| failed(path, error))
}

/// Writes a file unless there is one; says whether it did.
pub(super) fn write_new(path: &Path, text: &str, access: Access) -> Result<bool, CertificateError> {
    let draft = draft(path, text, access)?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft).map_err(|error| failed(&draft, error))?;
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(path, error)),
    }
}

/// Drafts made so far, so that no two threads of this process share one.
static DRAFTS: AtomicU64 = AtomicU64::new(0);

/// Writes the text to a file beside `path` that nobody else writes.
fn draft(path: &Path, text: &str, access: Access) -> Result<PathBuf, CertificateError> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    }
    let mut name = path.as_os_str().to_owned();
    let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{number}.tmp", std::process::id()));
    let draft = PathBuf::from(name);
    let mode = match access {
        Access::Owner => 0o600,
        Access::Everyone => 0o644,
    };
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    options
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .map_err(|error| failed(&draft, error))?;
    Ok(draft)
}

fn failed(path: &Path, reason: io::Error) -> CertificateError {
    CertificateError::File {
        path: path.to_owned(),
        reason,
    }
}
