//! Manifests, and what clients of a namespace are told of them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use weir_discovery::{
    manifests::Directory,
    model::{Changes, Event, Index, NamespacedName, Snapshot},
    rules,
    xds::{Client, Generator, Kind, Resource},
};

pub(crate) fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

pub(crate) fn client(namespace: &str) -> Arc<Client> {
    Arc::new(Client {
        pod: Some(NamespacedName::new(namespace, "it")),
        ..Client::default()
    })
}

pub(crate) fn told(
    snapshot: &Snapshot,
    kind: Kind,
    name: &str,
    namespace: &str,
) -> Option<Resource> {
    let generator = Generator::default();
    let view = generator.view(snapshot, kind, name, &client(namespace));
    generator.resource_for(snapshot, kind, name, &view)
}

pub(crate) fn events(text: &str) -> Vec<Event> {
    let directory = tempfile::tempdir().expect("temporary directory");
    fs::write(directory.path().join("it.yaml"), text).expect("written");
    let opened = Directory::open(directory.path(), rules::Settings::default());
    opened.expect("manifests").1
}

pub(crate) fn index(events: Vec<Event>) -> Index {
    let mut index = Index::default();
    events.into_iter().for_each(|event| index.apply(event));
    index.commit();
    index
}

/// What a step may change, as the hub is told.
pub(crate) fn affected(index: &mut Index, events: Vec<Event>) -> BTreeSet<(Kind, String)> {
    events.into_iter().for_each(|event| index.apply(event));
    let (snapshot, changes): (_, Changes) = index.commit().expect("a change");
    let generator = Generator::default();
    let affected = generator.affected(&snapshot, &changes);
    affected.into_keys().collect()
}
