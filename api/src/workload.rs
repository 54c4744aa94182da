//! Workloads, as metrics name them: who calls, and who is called.
//!
//! The sidecar knows its own from its pod's labels, and the one behind an endpoint from the endpoint's
//! metadata, where the control plane says what does not follow from the rest:
//!
//! ```yaml
//! metadata:
//!   filter_metadata:
//!     weir.dev: { namespace: shop, workload: web-v2, app: web, version: v2 }
//! ```
//!
//! Names and labels are chosen as Istio chooses them.
//! <https://istio.io/latest/docs/reference/config/metrics/#labels>

/// A workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Its name: that of a Deployment, for instance.
    pub name: Box<str>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Label `app` of its pods; empty if they have none.
    pub app: Box<str>,
    /// Label `version` of its pods; empty if they have none.
    pub version: Box<str>,
    /// What it is a part of, whatever the services that lead to it.
    pub canonical_service: Box<str>,
    /// Which edition of that it is.
    pub canonical_revision: Box<str>,
}

/// Fields of the struct `weir.dev` of an endpoint's metadata.
pub mod field {
    /// [`super::Workload::namespace`]
    pub const NAMESPACE: &str = "namespace";
    /// [`super::Workload::name`]
    pub const NAME: &str = "workload";
    /// [`super::Workload::app`]
    pub const APP: &str = "app";
    /// [`super::Workload::version`]
    pub const VERSION: &str = "version";
    /// [`super::Workload::canonical_service`], where it is neither the app nor the name.
    pub const CANONICAL_SERVICE: &str = "canonical_service";
    /// [`super::Workload::canonical_revision`], where it is neither the version nor `latest`.
    pub const CANONICAL_REVISION: &str = "canonical_revision";
}

/// What a listener's metadata says of the services that lead to each port: key in
/// `Listener.metadata.filter_metadata`, and the one field of the struct there.
pub const SERVICES: (&str, &str) = ("weir.dev.services", "by_port");

/// Hosts of services by port as that field has them, `8080=web.shop.svc.cluster.local,...`: one text,
/// since maps have no fixed encoding.
#[must_use]
pub fn services_text<'a>(services: impl Iterator<Item = (u16, &'a str)>) -> String {
    let services = services.map(|(port, host)| format!("{port}={host}"));
    services.collect::<Vec<_>>().join(",")
}

/// Reads what [`services_text`] writes; what cannot be read is left out.
pub fn services_of_text(text: &str) -> impl Iterator<Item = (u16, &str)> {
    let services = text.split(',').filter_map(|one| one.split_once('='));
    services.filter_map(|(port, host)| Some((port.parse().ok()?, host)))
}

const APP: &str = "app";
const VERSION: &str = "version";
/// Labels that name the canonical service, the first that there is.
const CANONICAL_SERVICE: [&str; 3] = [
    "service.istio.io/canonical-name",
    "app.kubernetes.io/name",
    APP,
];
/// Labels that name its revision.
const CANONICAL_REVISION: [&str; 3] = [
    "service.istio.io/canonical-revision",
    "app.kubernetes.io/version",
    VERSION,
];
/// The revision of what names none.
const LATEST: &str = "latest";

/// Every label that matters here.
pub const LABELS: [&str; 6] = [
    CANONICAL_SERVICE[0],
    CANONICAL_SERVICE[1],
    APP,
    CANONICAL_REVISION[0],
    CANONICAL_REVISION[1],
    VERSION,
];

// === impl Workload ===

impl Workload {
    /// The workload of this name whose pods have these labels.
    #[must_use]
    pub fn new<'a>(name: &str, namespace: &str, label: impl Fn(&str) -> Option<&'a str>) -> Self {
        let first = |keys: &[&str]| {
            let mut values = keys.iter().filter_map(|key| label(key));
            values.find(|value| !value.is_empty())
        };
        Self {
            name: name.into(),
            namespace: namespace.into(),
            app: label(APP).unwrap_or_default().into(),
            version: label(VERSION).unwrap_or_default().into(),
            canonical_service: first(&CANONICAL_SERVICE).unwrap_or(name).into(),
            canonical_revision: first(&CANONICAL_REVISION).unwrap_or(LATEST).into(),
        }
    }

    /// What metadata says of it, in the order of [`field`], without what follows from the rest.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let service = self.service_without_label();
        let revision = self.revision_without_label();
        let all = [
            (field::NAMESPACE, &*self.namespace, ""),
            (field::NAME, &self.name, ""),
            (field::APP, &self.app, ""),
            (field::VERSION, &self.version, ""),
            (field::CANONICAL_SERVICE, &self.canonical_service, service),
            (
                field::CANONICAL_REVISION,
                &self.canonical_revision,
                revision,
            ),
        ];
        let said = all.into_iter().filter(|(_, value, known)| value != known);
        said.map(|(key, value, _)| (key, value))
    }

    /// Reads what [`Workload::fields`] writes; none if there is no name in it.
    #[must_use]
    pub fn of_fields<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let text = |key: &str| get(key).unwrap_or_default().into();
        let mut workload = Self {
            name: get(field::NAME).filter(|name| !name.is_empty())?.into(),
            namespace: text(field::NAMESPACE),
            app: text(field::APP),
            version: text(field::VERSION),
            canonical_service: text(field::CANONICAL_SERVICE),
            canonical_revision: text(field::CANONICAL_REVISION),
        };
        if workload.canonical_service.is_empty() {
            workload.canonical_service = workload.service_without_label().into();
        }
        if workload.canonical_revision.is_empty() {
            workload.canonical_revision = workload.revision_without_label().into();
        }
        Some(workload)
    }

    fn service_without_label(&self) -> &str {
        Some(&*self.app)
            .filter(|app| !app.is_empty())
            .unwrap_or(&self.name)
    }

    fn revision_without_label(&self) -> &str {
        let version = Some(&*self.version).filter(|version| !version.is_empty());
        version.unwrap_or(LATEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(labels: &[(&str, &'static str)]) -> Workload {
        Workload::new("web-v2", "shop", |key| {
            let found = labels.iter().find(|(known, _)| *known == key);
            found.map(|(_, value)| *value)
        })
    }

    #[test]
    fn the_canonical_service_is_named_by_the_first_label_that_there_is() {
        let canonical = |labels: &[(&str, &'static str)]| {
            let workload = of(labels);
            (
                workload.canonical_service.to_string(),
                workload.canonical_revision.to_string(),
            )
        };
        let pair = |service: &str, revision: &str| (service.to_owned(), revision.to_owned());
        assert_eq!(canonical(&[]), pair("web-v2", "latest"));
        let app = [("app", "web"), ("version", "v2")];
        assert_eq!(canonical(&app), pair("web", "v2"));
        let kubernetes = [
            ("app", "web"),
            ("app.kubernetes.io/name", "shop-web"),
            ("app.kubernetes.io/version", "2.0"),
        ];
        assert_eq!(canonical(&kubernetes), pair("shop-web", "2.0"));
        let explicit = [
            ("app.kubernetes.io/name", "shop-web"),
            ("service.istio.io/canonical-name", "front"),
            ("service.istio.io/canonical-revision", "blue"),
        ];
        assert_eq!(canonical(&explicit), pair("front", "blue"));
    }

    #[test]
    fn services_by_port_are_read_back() {
        let services = [
            (80, "web.shop.svc.cluster.local"),
            (9000, "pay.shop.svc.cluster.local"),
        ];
        let text = services_text(services.into_iter());
        assert_eq!(services_of_text(&text).collect::<Vec<_>>(), services);
        assert_eq!(services_of_text("x=y,80").count(), 0);
        assert_eq!(services_of_text("").count(), 0);
    }

    #[test]
    fn fields_say_what_does_not_follow_and_are_read_back() {
        for (labels, said) in [
            (&[][..], 2),
            (&[("app", "web"), ("version", "v2")], 4),
            (&[("app", "web"), ("app.kubernetes.io/name", "front")], 4),
        ] {
            let workload = of(labels);
            let fields: Vec<_> = workload.fields().collect();
            assert_eq!(fields.len(), said, "{fields:?}");
            let read = Workload::of_fields(|key| {
                let found = fields.iter().find(|(known, _)| *known == key);
                found.map(|(_, value)| *value)
            });
            assert_eq!(read, Some(workload));
        }
        assert_eq!(Workload::of_fields(|_| None), None);
    }
}
