//! A CA that the user brings: files of a mounted Secret, as cert-manager writes them. They are read
//! again when they change.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{certificates::Authority, kubernetes::mounted};

/// What the files of a directory say. One of them is a key: this is not to be printed.
pub(super) struct Given {
    directory: PathBuf,
    /// What they said at the last look, and what became of that.
    seen: Option<[String; 3]>,
    authority: Result<Arc<Authority>, String>,
}

// === impl Given ===

impl Given {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            seen: None,
            authority: Err("not read yet".to_owned()),
        }
    }

    /// Looks at the files. Says whether they changed.
    pub(super) fn look(&mut self) -> bool {
        let read = mounted::read(&self.directory);
        let is_news = match &read {
            Ok(files) => self.seen.as_ref() != Some(files),
            Err(reason) => self.authority.as_ref().err() != Some(reason),
        };
        if !is_news {
            return false;
        }
        self.authority = read.and_then(|files| {
            let [chain, key, roots] = &files;
            let authority = Authority::given(key, chain, roots).map(Arc::new);
            self.seen = Some(files);
            authority
        });
        true
    }

    /// The CA, or why there is none.
    pub(super) fn authority(&self) -> Result<Arc<Authority>, String> {
        let directory = self.directory.display();
        self.authority
            .clone()
            .map_err(|reason| format!("--ca-cert-dir {directory}: {reason}"))
    }
}
