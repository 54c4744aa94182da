//! What the API server says, line by line and page by page.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, Status};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::kind::Kind;
use crate::kubernetes::wire::Meta;

/// Annotation of the bookmark that ends a list that came as a stream.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// One event of a watch.
pub(super) enum Frame<K> {
    /// The object is there, new or changed.
    Changed(Item<K>),
    /// The object is gone.
    Deleted(Meta),
    /// Nothing changed up to that version.
    Bookmark {
        version: Option<String>,
        /// Whether this ends a list that came as a stream.
        ends_list: bool,
    },
    /// The watch is over.
    Error(Box<Status>),
}

/// An object as far as it could be read.
pub(super) enum Item<K> {
    /// All that is needed.
    Read(K),
    /// It is not of its kind.
    Malformed(Box<Malformed>),
}

/// An object that is not of its kind.
pub(super) struct Malformed {
    /// As far as it has any.
    pub(super) meta: Meta,
    /// Path of the field that is wrong.
    pub(super) field: String,
    /// What is wrong with it.
    pub(super) reason: String,
}

/// A page of a list.
pub(super) struct Page<K> {
    pub(super) items: Vec<Item<K>>,
    pub(super) version: Option<String>,
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
struct RawFrame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct RawPage<'a> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct RawBookmark {
    metadata: Value,
}

// === impl Frame ===

impl<K: Kind> Frame<K> {
    /// Reads a line of a watch. An error is the connection's or the server's: what is wrong with an
    /// object alone is an [`Item`].
    pub(super) fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        let raw: RawFrame<'_> = serde_json::from_slice(line)?;
        let object = raw.object.get();
        Ok(match &*raw.kind {
            "ADDED" | "MODIFIED" => Self::Changed(Item::read(object)),
            "DELETED" => Self::Deleted(meta(object)),
            "BOOKMARK" => {
                let bookmark: RawBookmark = serde_json::from_str(object)?;
                let at = |pointer: &str| Some(bookmark.metadata.pointer(pointer)?.as_str()?.into());
                let annotations = bookmark.metadata.get("annotations");
                Self::Bookmark {
                    version: at("/resourceVersion"),
                    ends_list: annotations
                        .and_then(|it| it.get(INITIAL_EVENTS_END))
                        .is_some(),
                }
            }
            "ERROR" => Self::Error(Box::new(serde_json::from_str(object)?)),
            other => {
                let reason = format!("{other:?} is no type of an event");
                return Err(serde::de::Error::custom(reason));
            }
        })
    }
}

// === impl Item ===

impl<K: Kind> Item<K> {
    fn read(text: &str) -> Self {
        if let Ok(object) = serde_json::from_str(text) {
            return Self::Read(object);
        }
        // Once more, to say where: the path is not worth its cost while nothing is wrong.
        let reader = &mut serde_json::Deserializer::from_str(text);
        match serde_path_to_error::deserialize::<_, K>(reader) {
            Ok(object) => Self::Read(object),
            Err(error) => Self::Malformed(Box::new(Malformed {
                meta: meta(text),
                field: error.path().to_string(),
                reason: error.into_inner().to_string(),
            })),
        }
    }

    pub(super) fn meta(&self) -> &Meta {
        match self {
            Self::Read(object) => object.meta(),
            Self::Malformed(malformed) => &malformed.meta,
        }
    }
}

// === impl Page ===

impl<K: Kind> Page<K> {
    pub(super) fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        let raw: RawPage<'_> = serde_json::from_slice(text)?;
        let items = raw.items.unwrap_or_default().into_iter();
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(Self {
            items: items.map(|item| Item::read(item.get())).collect(),
            version: said(raw.metadata.resource_version),
            next: said(raw.metadata.continue_),
        })
    }
}

/// Name, namespace and version of an object of which nothing else need be right.
fn meta(text: &str) -> Meta {
    let object: Value = serde_json::from_str(text).unwrap_or_default();
    let said = |field| Some(object.get("metadata")?.get(field)?.as_str()?.to_owned());
    Meta {
        name: said("name"),
        namespace: said("namespace"),
        resource_version: said("resourceVersion"),
        ..Meta::default()
    }
}
