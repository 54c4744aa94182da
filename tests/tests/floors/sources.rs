//! Which modules a source file uses, by its text.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A source file of a crate.
pub(crate) struct Source {
    /// Its module, from the crate's root: empty for the root itself.
    pub(crate) module: Vec<String>,
    /// What it uses of its own crate, from the crate's root, each path with its item.
    pub(crate) uses: BTreeSet<Vec<String>>,
}

/// The sources below a directory, without those of tests.
pub(crate) fn read(directory: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    find(directory, &mut files);
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).expect("a source file");
        let relative = file.strip_prefix(directory).expect("below it");
        Source::new(module_of(relative), &text)
    };
    files.iter().map(read).collect()
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        match path.is_dir() {
            _ if is_test => {}
            true => find(&path, files),
            false => files.push(path),
        }
    }
    files.sort();
}

fn module_of(file: &Path) -> Vec<String> {
    let parts = file.with_extension("");
    let parts = parts.iter().map(|part| part.to_string_lossy().into_owned());
    let module: Vec<String> = parts.collect();
    match module.as_slice() {
        [only] if only == "lib" || only == "main" => Vec::new(),
        _ => module,
    }
}

// === impl Source ===

impl Source {
    fn new(module: Vec<String>, text: &str) -> Self {
        let mut source = Self {
            module,
            uses: BTreeSet::new(),
        };
        let code = without_comments_and_tests(text);
        let mut rest = code.as_str();
        while let Some((start, keyword)) = next_path(rest) {
            let path = &rest[start..];
            let tree = match keyword {
                // The path, or the tree, up to the end of the statement.
                "use " => &path[4..path.find(';').unwrap_or(path.len())],
                _ => &path[..path.find(|c: char| !is_of_path(c)).unwrap_or(path.len())],
            };
            source.add(&mut Vec::new(), tree.trim());
            rest = &path[keyword.len().max(tree.len())..];
        }
        source
    }

    /// Its module as the name of a file.
    pub(crate) fn name(&self) -> String {
        self.module.join("/")
    }

    /// Adds each path of a `use` tree.
    fn add(&mut self, before: &mut Vec<String>, tree: &str) {
        let depth = before.len();
        let (path, group) = match tree.split_once('{') {
            Some((path, group)) => (path, group.rsplit_once('}').map(|(group, _)| group)),
            None => (tree, None),
        };
        let path = path.split(" as ").next().unwrap_or_default();
        let parts = path
            .split("::")
            .map(str::trim)
            .filter(|part| !part.is_empty());
        before.extend(parts.map(str::to_owned));
        match group {
            Some(group) => split(group)
                .into_iter()
                .for_each(|tree| self.add(before, tree)),
            None => self.uses.extend(self.resolve(before)),
        }
        before.truncate(depth);
    }

    /// A path from the crate's root; none if it leads out of the crate or stays in the module.
    fn resolve(&self, path: &[String]) -> Option<Vec<String>> {
        if path.first()? == "crate" {
            return Some(path[1..].to_vec());
        }
        let ups = path.iter().take_while(|part| *part == "super").count();
        if ups == 0 {
            return None;
        }
        let around = self.module.len().checked_sub(ups)?;
        Some([&self.module[..around], &path[ups..]].concat())
    }
}

/// Where the next path of the crate's own begins, or the next `use`.
fn next_path(code: &str) -> Option<(usize, &'static str)> {
    let found = ["use ", "crate::", "super::"]
        .into_iter()
        .filter_map(|keyword| {
            let mut places = code.match_indices(keyword).map(|(place, _)| place);
            let place = places.find(|place| {
                let before = code[..*place].chars().next_back();
                before.is_none_or(|c| !is_of_path(c) && c != '$')
            });
            Some((place?, keyword))
        });
    found.min()
}

fn is_of_path(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == ':'
}

/// The entries of a group, which may hold groups.
fn split(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut entries) = (0_usize, 0, Vec::new());
    for (place, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                entries.push(group[start..place].trim());
                start = place + 1;
            }
            _ => {}
        }
    }
    entries.push(group[start..].trim());
    entries.retain(|entry| !entry.is_empty());
    entries
}

fn without_comments_and_tests(text: &str) -> String {
    let code = text
        .find("#[cfg(test)]\nmod ")
        .map_or(text, |tests| &text[..tests]);
    let lines = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    let text = "\
//! crate::no::comment
use std::rc::Rc;
use crate::{
    a::{B, c::{D, E as F}},
    g::H,
};
pub(super) use super::near;
fn f(x: crate::i::J) { super::super::k::l(); $crate::not::this() }
#[cfg(test)]
mod tests { use crate::not::tests; }
";
    let module = ["m", "n", "o"].map(str::to_owned).to_vec();
    let source = Source::new(module, text);
    let seen: Vec<String> = source.uses.iter().map(|path| path.join("::")).collect();
    let wanted = [
        "a::B",
        "a::c::D",
        "a::c::E",
        "g::H",
        "i::J",
        "m::k::l",
        "m::n::near",
    ];
    assert_eq!(seen, wanted);
}
