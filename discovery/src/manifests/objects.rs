//! The objects of all files together to objects of the model.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{
    ManifestError,
    document::{Located, Manifest},
    endpoints,
};
use crate::{
    kubernetes::{self, Problem, wire::Meta},
    model::{Interner, Object, ObjectKey},
    rules,
};

/// Objects of the model, and what is wrong in the files, each with the file it is in.
pub(super) fn collect<'a>(
    contents: impl Iterator<Item = (&'a Path, &'a Located)> + Clone,
    names: &Interner,
    rules: &rules::Settings,
) -> (BTreeMap<ObjectKey, Object>, BTreeSet<String>) {
    let mut objects = BTreeMap::new();
    let mut problems = BTreeSet::new();
    for (path, located) in contents.clone() {
        let mut found = Vec::new();
        if let Some(object) = read(&located.manifest, names, rules, &mut found) {
            // The first has it; `duplicates` names the others.
            objects.entry(object.key()).or_insert(object);
        }
        let document = located.document;
        if let Manifest::Unknown {
            version,
            kind,
            meta,
        } = &located.manifest
        {
            let unknown = unknown(version, kind, meta);
            problems.insert(format!(
                "{}: document {document}: {unknown}",
                path.display()
            ));
        }
        let place =
            |problem: &Problem| format!("{}: document {document}: {problem}", path.display());
        problems.extend(found.iter().map(place));
    }
    let manifests = contents.clone().map(|(_, located)| &located.manifest);
    for slice in endpoints::derive(manifests, names) {
        let slice = Object::EndpointSlice(slice);
        objects.entry(slice.key()).or_insert(slice);
    }
    problems.extend(duplicates(contents).map(|error| error.to_string()));
    (objects, problems)
}

/// Objects that are there twice.
pub(super) fn duplicates<'a>(
    contents: impl Iterator<Item = (&'a Path, &'a Located)>,
) -> impl Iterator<Item = ManifestError> {
    let mut first = BTreeMap::new();
    // Kinds of one name from several groups are not the same.
    let known =
        |(_, located): &(&Path, &Located)| !matches!(located.manifest, Manifest::Unknown { .. });
    contents.filter(known).filter_map(move |(path, located)| {
        let (kind, meta) = identity(&located.manifest);
        let name = meta.name.as_deref().unwrap_or_default();
        let key = (
            kind.to_owned(),
            meta.namespace().to_owned(),
            name.to_owned(),
        );
        let (at, document) = *first.entry(key).or_insert((path, located));
        (!std::ptr::eq(document, located)).then(|| ManifestError::Document {
            path: path.to_owned(),
            document: located.document,
            field: "metadata.name".to_owned(),
            reason: format!(
                "{kind} {}/{name} is also in {}, document {}",
                meta.namespace(),
                at.display(),
                document.document
            ),
        })
    })
}

/// What it means that an object is left out.
fn unknown(version: &str, kind: &str, meta: &Meta) -> String {
    let name = meta.name.as_deref().unwrap_or_default();
    // NetworkPolicy, RequestAuthentication and the like.
    let restricts = kind.ends_with("Policy") || kind.ends_with("Authentication");
    let consequence = match restricts {
        true => "what it forbids or demands of traffic is not enforced",
        false => "it has no effect",
    };
    format!(
        "{kind} {}/{name} ({version}) is of a kind that is not known here and left out: {consequence}",
        meta.namespace()
    )
}

fn read(
    manifest: &Manifest,
    names: &Interner,
    rules: &rules::Settings,
    problems: &mut Vec<Problem>,
) -> Option<Object> {
    match manifest {
        Manifest::Service(service) => {
            kubernetes::service(service, names, problems).map(Object::Service)
        }
        Manifest::EndpointSlice(slice) => {
            kubernetes::endpoint_slice(slice, names, problems).map(Object::EndpointSlice)
        }
        Manifest::Pod(pod) => kubernetes::pod(pod, names, problems).map(Object::Pod),
        Manifest::Node(node) => kubernetes::node(node, names, problems).map(Object::Node),
        Manifest::Rule(rule) => {
            let attachment = rule.attachment(names, rules, problems);
            attachment.map(Object::Attachment)
        }
        Manifest::Other { .. } | Manifest::Unknown { .. } => None,
    }
}

fn identity(manifest: &Manifest) -> (&str, &Meta) {
    match manifest {
        Manifest::Service(service) => ("Service", &service.metadata),
        Manifest::EndpointSlice(slice) => ("EndpointSlice", &slice.metadata),
        Manifest::Pod(pod) => ("Pod", &pod.metadata),
        Manifest::Node(node) => ("Node", &node.metadata),
        Manifest::Rule(rule) => (rule.kind(), rule.meta()),
        Manifest::Other { kind, meta } | Manifest::Unknown { kind, meta, .. } => (kind, meta),
    }
}
