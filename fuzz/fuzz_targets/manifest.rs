//! Manifests on disk: no file makes the registry panic.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use weir_discovery::{manifests::Directory, rules};

/// One for each process, because targets may run side by side.
static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("weir-fuzz-{}", std::process::id()));
    fs::create_dir_all(&path).expect("a directory");
    path
});

fuzz_target!(|text: &[u8]| {
    fs::write(DIRECTORY.join("all.yaml"), text).expect("a file");
    let _ = Directory::open(DIRECTORY.as_path(), rules::Settings::default());
});
