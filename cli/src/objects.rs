//! Objects of Kubernetes as people keep them: files of YAML or JSON, and directories of these.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize as _;
use serde_json::Value;
use weir_playground::Error;

/// Endings of the files of a directory that hold objects.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// The deepest directory that is looked into, from the one that was named: a loop of links ends.
const DEEPEST: usize = 16;

/// An object, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Placed {
    /// The file; none: the cluster.
    pub(crate) file: Option<PathBuf>,
    pub(crate) object: Value,
}

/// Reads the objects of files, and of the files of directories and of those in them, in the order of
/// their names.
///
/// # Errors
/// One cannot be read, or is neither YAML nor JSON.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Placed>, Error> {
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        collect(path, DEEPEST, &mut files).map_err(|source| Error::File {
            action: "read",
            path: path.clone(),
            source,
        })?;
        if files.len() == before {
            let endings = ENDINGS.join(", ");
            return Err(wrong(path, format!("no file in it ends in {endings}")));
        }
    }
    let mut objects = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|source| Error::File {
            action: "read",
            path: file.clone(),
            source,
        })?;
        parse(&file, &text, &mut objects)?;
    }
    Ok(objects)
}

fn collect(path: &Path, deeper: usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path()));
    let mut entries = entries.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort();
    for entry in entries {
        let ending = entry.extension().and_then(|ending| ending.to_str());
        let is_directory = entry.is_dir() && deeper > 0;
        if is_directory || ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            collect(&entry, deeper.saturating_sub(1), files)?;
        }
    }
    Ok(())
}

/// Reads all documents of a text. What is no object of Kubernetes is passed over.
pub(crate) fn parse(file: &Path, text: &str, into: &mut Vec<Placed>) -> Result<(), Error> {
    for (index, document) in yaml_serde::Deserializer::from_str(text).enumerate() {
        let wrong = |reason: String| wrong(file, format!("document {}: {reason}", index + 1));
        let value = yaml_serde::Value::deserialize(document).map_err(|it| wrong(it.to_string()))?;
        let value = serde_json::to_value(value).map_err(|it| wrong(it.to_string()))?;
        place(file, value, into);
    }
    Ok(())
}

/// Takes in an object, or those of a list.
fn place(file: &Path, object: Value, into: &mut Vec<Placed>) {
    let kind = object["kind"].as_str().unwrap_or_default();
    match (kind.strip_suffix("List"), object["items"].as_array()) {
        (Some(_), Some(items)) => {
            for item in items {
                place(file, item.clone(), into);
            }
        }
        _ if kind.is_empty() => {}
        _ => into.push(Placed {
            file: Some(file.to_owned()),
            object,
        }),
    }
}

fn wrong(path: &Path, reason: String) -> Error {
    Error::Manifest {
        file: path.display().to_string(),
        reason,
    }
}

// === impl Placed ===

impl Placed {
    pub(crate) fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    /// Its API group; empty for Kubernetes' own first one.
    pub(crate) fn group(&self) -> &str {
        let version = self.object["apiVersion"].as_str().unwrap_or_default();
        version.split_once('/').map_or("", |(group, _)| group)
    }

    pub(crate) fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Its namespace, which is `default` where it says none.
    pub(crate) fn namespace(&self) -> &str {
        let said = self.object["metadata"]["namespace"].as_str();
        said.filter(|said| !said.is_empty()).unwrap_or("default")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_lists_are_read_and_other_texts_are_passed_over() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let file = root.path().join(name);
            fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
            fs::write(file, text).expect("write");
        };
        write(
            "b/one.yaml",
            "{kind: Pod, metadata: {name: a, namespace: x}}",
        );
        write(
            "a.yml",
            "replicas: 3\n---\n{kind: List, items: [{kind: Service, metadata: {name: s}}]}\n---\n",
        );
        write("notes.txt", "kind: Pod");
        let objects = read(&[root.path().to_owned()]).expect("objects");
        let names: Vec<_> = objects
            .iter()
            .map(|it| (it.kind(), it.namespace(), it.name()))
            .collect();
        assert_eq!(names, [("Service", "default", "s"), ("Pod", "x", "a")]);
        write("c.yaml", "a: [");
        assert!(read(&[root.path().to_owned()]).is_err_and(|it| it.is_usage()));
    }
}
