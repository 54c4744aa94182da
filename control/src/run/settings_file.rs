//! A file with settings, read again when it changes.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::ControlError;

/// Time between two looks at the file.
const INTERVAL: Duration = Duration::from_millis(500);

/// A file with settings.
pub(super) struct SettingsFile<T> {
    /// The flag that names it.
    flag: &'static str,
    path: PathBuf,
    read: fn(&str) -> Result<T, String>,
    /// What it said when it was last taken or refused.
    seen: String,
}

// === impl SettingsFile ===

impl<T> SettingsFile<T> {
    /// Reads the file for the first time.
    pub(super) fn open(
        flag: &'static str,
        path: &Path,
        read: fn(&str) -> Result<T, String>,
    ) -> Result<(Self, T), ControlError> {
        let wrong =
            |reason: String| ControlError::Config(format!("{flag} {}: {reason}", path.display()));
        let seen = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let settings = read(&seen).map_err(wrong)?;
        let file = Self {
            flag,
            path: path.to_owned(),
            read,
            seen,
        };
        Ok((file, settings))
    }

    /// Has new settings taken. Those that make no sense are refused, and the old stay in force.
    /// Never returns.
    pub(super) async fn follow(mut self, take: impl Fn(T) + Send) {
        let mut before = None;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let now = std::fs::read_to_string(&self.path).ok();
            // Whoever writes it may be at it still.
            let settled = now.is_some() && now == before;
            before = now;
            if let Some(text) = before
                .as_ref()
                .filter(|text| settled && **text != self.seen)
            {
                let (flag, path) = (self.flag, self.path.display());
                match (self.read)(text) {
                    Ok(settings) => {
                        take(settings);
                        tracing::info!(flag, %path, "new settings are in force");
                    }
                    Err(reason) => {
                        tracing::error!(flag, %path, reason, "refused; the old are in force");
                    }
                }
                self.seen.clone_from(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_changes_is_taken_and_what_makes_no_sense_is_not() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("number");
        let read = |text: &str| {
            text.trim()
                .parse::<u32>()
                .map_err(|error| error.to_string())
        };
        assert!(SettingsFile::open("--number", &path, read).is_err());
        std::fs::write(&path, "many").expect("written");
        let error = SettingsFile::open("--number", &path, read).err();
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(
            error.starts_with("--number /") && error.contains("invalid digit"),
            "{error}"
        );

        std::fs::write(&path, "1").expect("written");
        let (file, first) = SettingsFile::open("--number", &path, read).expect("read");
        assert_eq!(first, 1);
        let taken = Arc::new(Mutex::new(Vec::new()));
        let told = taken.clone();
        tokio::spawn(file.follow(move |number| told.lock().expect("no panic").push(number)));
        for text in ["2", "many", "3"] {
            std::fs::write(&path, text).expect("written");
            tokio::time::sleep(INTERVAL * 4).await;
        }
        std::fs::remove_file(&path).expect("removed");
        tokio::time::sleep(INTERVAL * 4).await;
        assert_eq!(*taken.lock().expect("no panic"), [2, 3]);
    }
}
