//! Where a pod goes: its namespace, and the cluster.

use std::collections::BTreeMap;

use weir_api::inbound_demands::InboundDemands;

/// Where a pod goes, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Name of the namespace, which is the request's: a pod made by a controller often does not
    /// name its own.
    pub namespace: &'a str,
    /// What the namespace says of itself; `None` if that is not known.
    pub about: Option<&'a Namespace>,
    /// `None` for a pod in a file, which may go to any cluster.
    pub cluster: Option<&'a Cluster>,
    /// The API server chose the pod for this webhook by the labels of its namespace. What is known
    /// here of those may be older, and does not decide then.
    pub is_selected: bool,
    /// What rules demand of whoever connects to the pod; `None` if that is not known.
    pub inbound: Option<&'a InboundDemands>,
}

/// What a namespace says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What the control plane knows of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The control plane's own revision.
    pub revision: String,
    /// Version of the oldest kubelet, such as `(1, 29)`; `None` if no node was seen yet.
    pub least_kubelet: Option<(u32, u32)>,
}

/// Revision of a control plane, and of pods, that name none.
pub const DEFAULT_REVISION: &str = "default";
/// The first kubelet that runs native sidecars unless told not to.
const NATIVE_SIDECARS: (u32, u32) = (1, 29);
/// Annotation of an OpenShift namespace: the users that its pods may run as.
const UID_RANGE: &str = "openshift.io/sa.scc.uid-range";
/// Label of a namespace: the Pod Security level that its pods must keep to.
const POD_SECURITY: &str = "pod-security.kubernetes.io/enforce";

// === impl Place ===

impl<'a> From<&'a str> for Place<'a> {
    /// A namespace of which nothing else is known.
    fn from(namespace: &'a str) -> Self {
        Self {
            namespace,
            about: None,
            cluster: None,
            is_selected: false,
            inbound: None,
        }
    }
}

impl Place<'_> {
    /// Whether a kubelet of the cluster is known to be too old for native sidecars.
    pub(crate) fn is_old(&self) -> bool {
        let least = self.cluster.and_then(|cluster| cluster.least_kubelet);
        least.is_some_and(|version| version < NATIVE_SIDECARS)
    }

    /// A label of the namespace.
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.about?.labels.get(name).map(String::as_str)
    }

    /// The Pod Security level that refuses the init container, if the namespace enforces one.
    pub(crate) fn refuses_net_admin(&self) -> Option<&str> {
        let level = self.about?.pod_security()?;
        ["baseline", "restricted"].contains(&level).then_some(level)
    }

    /// The last of the users that OpenShift lets the namespace's pods run as. It gives the first to
    /// containers that name none, so this one is the least likely to be an application's.
    pub(crate) fn last_user(&self) -> Option<u32> {
        let range = self.about?.annotations.get(UID_RANGE)?;
        let number = |text: &str| text.trim().parse::<u32>().ok();
        if let Some((first, size)) = range.split_once('/') {
            return number(first)?.checked_add(number(size)?.checked_sub(1)?);
        }
        number(range.split_once('-')?.1)
    }
}

// === impl Namespace ===

impl Namespace {
    /// The Pod Security level that it enforces.
    pub(crate) fn pod_security(&self) -> Option<&str> {
        self.labels.get(POD_SECURITY).map(String::as_str)
    }

    /// The same, that does not say which level it enforces.
    pub(crate) fn without_pod_security(&self) -> Self {
        let mut told = self.clone();
        told.labels.remove(POD_SECURITY);
        told
    }
}

// === impl Cluster ===

impl Default for Cluster {
    fn default() -> Self {
        Self {
            revision: DEFAULT_REVISION.to_owned(),
            least_kubelet: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_user(range: &str) -> Option<u32> {
        let about = Namespace {
            annotations: [(UID_RANGE.to_owned(), range.to_owned())].into(),
            ..Namespace::default()
        };
        let place = Place {
            about: Some(&about),
            ..Place::from("shop")
        };
        place.last_user()
    }

    #[test]
    fn the_last_user_of_a_range_is_read_from_either_form() {
        assert_eq!(last_user("1000620000/10000"), Some(1_000_629_999));
        assert_eq!(last_user("1000-1999"), Some(1999));
        for wrong in ["", "1000", "1000/0", "a/b", "4294967295/2", "1000/-1"] {
            assert_eq!(last_user(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_a_kubelet_that_is_known_is_old() {
        for (least, old) in [
            (None, false),
            (Some((1, 28)), true),
            (Some((1, 29)), false),
            (Some((2, 0)), false),
        ] {
            let cluster = Cluster {
                least_kubelet: least,
                ..Cluster::default()
            };
            let place = Place {
                cluster: Some(&cluster),
                ..Place::from("shop")
            };
            assert_eq!(place.is_old(), old, "{least:?}");
        }
    }
}
