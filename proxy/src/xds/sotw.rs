//! The state-of-the-world variant in the words of the delta variant, in which the
//! [state](super::state) thinks: a request names all that is wanted each time, and a response of
//! listeners or clusters is all there is of them.

use std::collections::BTreeSet;

use weir_api::xds::{
    envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse},
    google::protobuf::Any,
};

use super::{Kind, state::Request};

/// What was said on a stream, by kind.
#[derive(Debug, Default)]
pub(super) struct Books([Book; 4]);

#[derive(Debug, Default)]
struct Book {
    /// Names that are subscribed to.
    names: BTreeSet<String>,
    /// There was one.
    is_by_name: bool,
    /// Nonce of the last response.
    nonce: String,
    /// Version of the last response.
    latest: String,
    /// Version of the last response that was accepted.
    accepted: String,
}

/// A response, its resources by name.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) version: String,
    pub(super) nonce: String,
    pub(super) resources: Vec<(String, Any)>,
}

// === impl Books ===

impl Books {
    /// The request that says the same, with all that is still so. `None`: it need not be said.
    pub(super) fn request(&mut self, request: &Request) -> Option<DiscoveryRequest> {
        let book = &mut self.0[request.kind as usize];
        book.names.extend(request.subscribe.iter().cloned());
        for name in &request.unsubscribe {
            book.names.remove(name);
        }
        let answers = !request.nonce.is_empty();
        if answers && request.error.is_none() {
            book.accepted.clone_from(&book.latest);
        }
        // Without names a request stands for all there is, and must not do so by accident. What
        // comes of the last ones meanwhile is of no use, and no harm.
        book.is_by_name |= !book.names.is_empty();
        if book.is_by_name && book.names.is_empty() {
            return None;
        }
        Some(DiscoveryRequest {
            version_info: book.accepted.clone(),
            resource_names: book.names.iter().cloned().collect(),
            type_url: request.kind.type_url().to_owned(),
            response_nonce: book.nonce.clone(),
            ..DiscoveryRequest::default()
        })
    }

    /// Takes a response in.
    pub(super) fn response(&mut self, kind: Kind, response: DiscoveryResponse) -> Told {
        let book = &mut self.0[kind as usize];
        book.nonce.clone_from(&response.nonce);
        book.latest.clone_from(&response.version_info);
        let resources = response.resources.into_iter();
        Told {
            version: response.version_info,
            nonce: response.nonce,
            resources: resources
                .map(|message| (super::resource::name_of(kind, &message), message))
                .collect(),
        }
    }
}

/// Whether a response of this kind holds all there is of it, so that what is missing is gone.
pub(super) fn is_whole(kind: Kind) -> bool {
    matches!(kind, Kind::Listener | Kind::Cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(subscribe: &[&str], unsubscribe: &[&str], nonce: &str) -> Request {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Request {
            kind: Kind::Cluster,
            subscribe: names(subscribe),
            unsubscribe: names(unsubscribe),
            initial_versions: Default::default(),
            nonce: nonce.to_owned(),
            error: None,
        }
    }

    fn said(books: &mut Books, request: &Request) -> Option<(Vec<String>, String, String)> {
        let said = books.request(request)?;
        Some((said.resource_names, said.version_info, said.response_nonce))
    }

    fn names(names: &[&str], version: &str, nonce: &str) -> Option<(Vec<String>, String, String)> {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Some((names, version.to_owned(), nonce.to_owned()))
    }

    #[test]
    fn every_request_names_all_that_is_wanted_and_the_last_version_that_was_good() {
        let mut books = Books::default();
        let all = &mut books;
        assert_eq!(said(all, &request(&["a"], &[], "")), names(&["a"], "", ""));
        let response = |version: &str, nonce: &str| DiscoveryResponse {
            version_info: version.to_owned(),
            nonce: nonce.to_owned(),
            ..DiscoveryResponse::default()
        };
        all.response(Kind::Cluster, response("1", "n1"));
        assert_eq!(
            said(all, &request(&[], &[], "n1")),
            names(&["a"], "1", "n1")
        );
        assert_eq!(
            said(all, &request(&["b"], &[], "")),
            names(&["a", "b"], "1", "n1")
        );

        all.response(Kind::Cluster, response("2", "n2"));
        let mut refusal = request(&[], &[], "n2");
        refusal.error = Some("no".to_owned());
        assert_eq!(said(all, &refusal), names(&["a", "b"], "1", "n2"));
        assert_eq!(
            said(all, &request(&[], &["a"], "")),
            names(&["b"], "1", "n2")
        );
        assert_eq!(
            said(all, &request(&[], &["b"], "")),
            None,
            "that would mean all"
        );
    }
}
