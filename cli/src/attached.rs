//! What objects that people wrote mean together, without a cluster.

use std::sync::Arc;

use serde_json::Value;
use weir_discovery::{
    model::{Event, Index, Object, Snapshot},
    rules::{KnownKind, Settings},
};

/// What rules attach to whom. What is none of its kind attaches nothing.
pub(crate) fn snapshot<'a>(
    rules: impl Iterator<Item = (&'static KnownKind, &'a Value)>,
    settings: &Settings,
) -> Arc<Snapshot> {
    let mut index = Index::default();
    for (kind, object) in rules {
        if let Some(attachment) = kind.attachment(object, settings) {
            index.apply(Event::Applied(Object::Attachment(attachment)));
        }
    }
    index.commit();
    index.snapshot()
}
