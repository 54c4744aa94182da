//! The files of a directory, what each said last, and what that means for the model.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    ManifestError,
    document::{self, Located},
    objects,
};
use crate::{
    model::{Event, Interner, Object, ObjectKey},
    rules,
};

/// A directory of manifests and what it said at the last look.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    files: BTreeMap<PathBuf, File>,
    /// Stamps at the last look: what differs from one look to the next is still being written.
    seen: BTreeMap<PathBuf, Stamp>,
    objects: BTreeMap<ObjectKey, Object>,
    names: Interner,
    rules: rules::Settings,
    /// Problems that were reported and are still there.
    reported: BTreeSet<String>,
}

/// A file and what it said when it last made sense.
#[derive(Debug)]
struct File {
    stamp: Stamp,
    objects: Vec<Located>,
    /// Why the text under `stamp` was not taken.
    error: Option<ManifestError>,
}

/// Tells versions of a file apart without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    size: u64,
    inode: u64,
}

// === impl Directory ===

impl Directory {
    /// Reads the directory for the first time.
    ///
    /// # Errors
    /// The directory or one of its manifests cannot be read: all that is wrong, file by file. A
    /// single bad port or endpoint is a warning in the log instead.
    pub fn open(
        path: impl Into<PathBuf>,
        rules: rules::Settings,
    ) -> Result<(Self, Vec<Event>), Vec<ManifestError>> {
        let path = path.into();
        let seen = scan(&path).map_err(|error| vec![error])?;
        let mut directory = Self {
            path,
            files: BTreeMap::new(),
            seen: BTreeMap::new(),
            objects: BTreeMap::new(),
            names: Interner::default(),
            rules,
            reported: BTreeSet::new(),
        };
        for (file, stamp) in &seen {
            directory.read(file, *stamp);
        }
        directory.seen = seen;
        let errors = directory
            .files
            .values()
            .filter_map(|file| file.error.clone());
        let errors: Vec<_> = errors
            .chain(objects::duplicates(directory.contents()))
            .collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let events = directory.update();
        Ok((directory, events))
    }

    /// Looks again. What changed and stayed the same since the last look is taken in.
    pub fn refresh(&mut self) -> Vec<Event> {
        let now = match scan(&self.path) {
            Ok(now) => now,
            Err(error) => {
                self.report([error.to_string()].into());
                return Vec::new();
            }
        };
        let mut changed = false;
        for (path, stamp) in &now {
            let settled = self.seen.get(path) == Some(stamp);
            let known = self.files.get(path).map(|file| file.stamp);
            if settled && known != Some(*stamp) {
                changed = true;
                self.read(path, *stamp);
            }
        }
        // A file that is being replaced may be gone for one look.
        self.files.retain(|path, _| {
            let stays = now.contains_key(path) || self.seen.contains_key(path);
            changed |= !stays;
            stays
        });
        self.seen = now;
        if changed { self.update() } else { Vec::new() }
    }

    /// Objects the model was told of.
    #[must_use]
    pub fn object_count(&self) -> usize {
        self.objects.len()
    }

    /// What is wrong in the files or was left out, each with its file, as the log has it.
    #[must_use]
    pub fn problems(&self) -> &BTreeSet<String> {
        &self.reported
    }

    fn read(&mut self, path: &Path, stamp: Stamp) {
        let text = fs::read_to_string(path).map_err(|error| ManifestError::Read {
            path: path.to_owned(),
            reason: error.to_string(),
        });
        let read = text.and_then(|text| document::parse(path, &text));
        let before = self.files.remove(path).map(|file| file.objects);
        let (objects, error) = match read {
            Ok(objects) => (objects, None),
            Err(error) => (before.unwrap_or_default(), Some(error)),
        };
        let file = File {
            stamp,
            objects,
            error,
        };
        self.files.insert(path.to_owned(), file);
    }

    fn contents(&self) -> impl Iterator<Item = (&Path, &Located)> + Clone {
        let files = self.files.iter();
        files.flat_map(|(path, file)| file.objects.iter().map(|object| (path.as_path(), object)))
    }

    /// What the files mean now, and how that differs from what they meant before.
    fn update(&mut self) -> Vec<Event> {
        let (objects, problems) = objects::collect(self.contents(), &self.names, &self.rules);
        let errors = self.files.values().filter_map(|file| file.error.as_ref());
        let errors = errors.map(|error| format!("{error}; what the file said before stays"));
        self.report(problems.into_iter().chain(errors).collect());

        let before = std::mem::replace(&mut self.objects, objects);
        let gone = before.keys().filter(|key| !self.objects.contains_key(key));
        let gone = gone.map(|key| Event::Deleted(key.clone()));
        let new = self
            .objects
            .iter()
            .filter(|(key, object)| before.get(key) != Some(object));
        gone.chain(new.map(|(_, object)| Event::Applied(object.clone())))
            .collect()
    }

    /// Logs each problem once, for as long as it lasts.
    fn report(&mut self, problems: BTreeSet<String>) {
        for problem in problems.difference(&self.reported) {
            tracing::warn!(problem, "manifest");
        }
        self.reported = problems;
    }
}

// === impl Stamp ===

impl From<Metadata> for Stamp {
    fn from(metadata: Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
            inode: metadata.ino(),
        }
    }
}

/// The manifest files of a directory.
fn scan(directory: &Path) -> Result<BTreeMap<PathBuf, Stamp>, ManifestError> {
    let failed = |error: std::io::Error| ManifestError::Read {
        path: directory.to_owned(),
        reason: error.to_string(),
    };
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !is_manifest(&path) {
            continue;
        }
        // A file may go between the listing and this; a symbolic link may point nowhere.
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                files.insert(path, metadata.into());
            }
            _ => {}
        }
    }
    Ok(files)
}

fn is_manifest(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && matches!(extension, Some("yaml" | "yml" | "json"))
}
