//! The tree of subsets: a key, a value, the next key, and so on.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

use serde_json::Value;

use super::super::{super::Host, Choice, Grouping};
use crate::config::subset::{Criterion, SubsetSelector, Subsets, text_of};

/// What is below a value.
#[derive(Default)]
pub(super) struct Node {
    children: HashMap<Box<str>, HashMap<Box<str>, Node>>,
    entry: Entry,
}

/// The subset of the keys and values on the way to a node.
#[derive(Default)]
pub(super) enum Entry {
    /// There is none.
    #[default]
    None,
    /// Of one host, which is picked whatever its health.
    Single(Rc<Host>),
    Many(Vec<Choice>),
}

/// Keys and the text of their values.
type Path = Vec<(Box<str>, Box<str>)>;

/// The hosts of a subset, before they are grouped.
struct Members {
    is_single: bool,
    hosts: Vec<Rc<Host>>,
}

// === impl Node ===

impl Node {
    /// The tree of all hosts, and how many were left out of subsets of one host.
    pub(super) fn of(settings: &Subsets, all: &[Rc<Host>], grouping: Grouping<'_>) -> (Self, i64) {
        let mut members = BTreeMap::<Path, Members>::new();
        let mut duplicates = 0;
        for host in all {
            for selector in &settings.selectors {
                for path in paths_of(host, selector, settings.list_as_any) {
                    // The selector that comes first says whether it has one host.
                    let subset = members.entry(path).or_insert_with(|| Members {
                        is_single: selector.single_host,
                        hosts: Vec::new(),
                    });
                    let has_one = |known: &Rc<Host>| known.priority == host.priority;
                    if subset.is_single && subset.hosts.iter().any(has_one) {
                        duplicates += 1;
                        continue;
                    }
                    // A host that several selectors lead to is there once.
                    let is_there = subset.hosts.last().is_some_and(|it| Rc::ptr_eq(it, host));
                    if !is_there {
                        subset.hosts.push(Rc::clone(host));
                    }
                }
            }
        }
        let mut root = Self::default();
        for (path, subset) in members {
            let first = subset.hosts.iter().min_by_key(|host| host.priority);
            root.at(path).entry = match (subset.is_single, first) {
                (true, Some(first)) => Entry::Single(Rc::clone(first)),
                _ => Entry::Many(grouping.choices(&subset.hosts)),
            };
        }
        (root, duplicates)
    }

    fn at(&mut self, path: Path) -> &mut Self {
        path.into_iter().fold(self, |node, (key, value)| {
            node.children
                .entry(key)
                .or_default()
                .entry(value)
                .or_default()
        })
    }

    /// The subset of these criteria, which are sorted by their names.
    pub(super) fn find<'c>(&self, criteria: impl Iterator<Item = &'c Criterion>) -> Option<&Entry> {
        let mut node = self;
        for one in criteria {
            node = node.children.get(&one.name)?.get(&one.text)?;
        }
        Some(&node.entry)
    }

    /// The ways to all subsets.
    pub(super) fn paths(&self) -> BTreeSet<Path> {
        let mut paths = BTreeSet::new();
        self.add_paths(&mut Vec::new(), &mut paths);
        paths
    }

    fn add_paths(&self, way: &mut Path, paths: &mut BTreeSet<Path>) {
        if !matches!(self.entry, Entry::None) {
            paths.insert(way.clone());
        }
        for (key, values) in &self.children {
            for (value, node) in values {
                way.push((key.clone(), value.clone()));
                node.add_paths(way, paths);
                way.pop();
            }
        }
    }
}

/// The subsets of a selector that a host is in: none if it lacks a key, several if a list stands for each
/// of its values.
fn paths_of(host: &Host, selector: &SubsetSelector, list_as_any: bool) -> Vec<Path> {
    let Some(metadata) = host.lb_metadata.as_deref() else {
        return Vec::new();
    };
    let mut paths = vec![Path::new()];
    for key in &selector.keys {
        let values = match metadata.get(key) {
            None => return Vec::new(),
            Some(Value::Array(values)) if list_as_any => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        let longer = |path: &Path| {
            let path = path.clone();
            values.iter().map(move |value| {
                let mut path = path.clone();
                path.push((key.as_str().into(), text_of(value)));
                path
            })
        };
        paths = paths.iter().flat_map(longer).collect();
    }
    paths.retain(|path| !path.is_empty());
    paths
}
