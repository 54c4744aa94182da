//! Files, directories and standard input.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde_json::Value;
use weir_injector::Config;

/// Endings of the files of a directory that hold objects.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// Key of the ConfigMap that holds the injector's settings.
const CONFIG_KEY: &str = "injector.yaml";

/// A text, and what people know it by.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {reason}")]
pub(super) struct FileError {
    name: String,
    reason: String,
}

/// Reads all of them. A directory stands for its files in the order of their names, without those
/// of directories in it.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Source>, FileError> {
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            sources.push(source(path)?);
        } else if path.is_dir() {
            let files = files_of(path).map_err(|error| wrong(path, error.to_string()))?;
            if files.is_empty() {
                let endings = ENDINGS.join(", ");
                return Err(wrong(path, format!("no file in it ends in {endings}")));
            }
            for file in files {
                sources.push(source(&file)?);
            }
        } else {
            sources.push(source(path)?);
        }
    }
    Ok(sources)
}

/// Reads the injector's settings, written as they are or in a ConfigMap.
pub(super) fn config(path: &Path) -> Result<Config, FileError> {
    let read = |text: &str| {
        let config = Config::read(yaml_serde::Deserializer::from_str(text));
        config.map_err(|error| wrong(path, error.to_string()))
    };
    let Source { text, .. } = source(path)?;
    let object: Option<Value> = yaml_serde::from_str(&text).ok();
    match object {
        Some(object) if object["kind"] == "ConfigMap" => {
            match object["data"][CONFIG_KEY].as_str() {
                Some(text) => read(text),
                None => Err(wrong(path, format!("the ConfigMap has no {CONFIG_KEY}"))),
            }
        }
        _ => read(&text),
    }
}

fn source(path: &Path) -> Result<Source, FileError> {
    let mut bytes = Vec::new();
    let read = match path.as_os_str() == "-" {
        true => io::stdin().read_to_end(&mut bytes).map(|_| bytes),
        false => fs::read(path),
    };
    let bytes = read.map_err(|error| wrong(path, error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| wrong(path, error.to_string()))?;
    let name = display(path);
    Ok(Source { name, text })
}

fn files_of(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_file() && ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn wrong(path: &Path, reason: String) -> FileError {
    let name = display(path);
    FileError { name, reason }
}

fn display(path: &Path) -> String {
    match path.as_os_str() == "-" {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    }
}
