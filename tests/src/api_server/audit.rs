//! What an API server of our own was asked, by whom, and whether they might.

use std::fs;

use anyhow::Result;
use serde_json::Value;

use super::ApiServer;

/// Who asked for what: of a watch when it begins and when it ends, of all else when it ends. What is
/// asked by everybody is left out.
pub(super) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, Panic]
rules:
  - level: None
    users: ['system:apiserver', 'system:kube-controller-manager']
  - level: None
    nonResourceURLs: ['/*']
  - level: Metadata
";

/// A request for a kind of object, whichever object of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Such as `list`.
    pub verb: String,
    /// Group of the resource; empty for the core's.
    pub group: String,
    /// Such as `pods`, or `pods/status`.
    pub resource: String,
    /// Namespace; empty for requests across namespaces.
    pub namespace: String,
    /// Name of the object; empty where the request names none.
    pub name: String,
    /// Whether RBAC let it through.
    pub allowed: bool,
}

impl ApiServer {
    /// Every request that a user made, in the order in which they were answered.
    pub fn requests_of(&self, user: &str) -> Result<Vec<Request>> {
        let log = fs::read_to_string(self.dir().join("audit.log"))?;
        let events = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let theirs = events.filter(|event: &Value| event["user"]["username"] == user);
        Ok(theirs.filter_map(|event| Request::read(&event)).collect())
    }
}

// === impl Request ===

impl Request {
    fn read(event: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = event.get("objectRef")?;
        let mut resource = text(&object["resource"]);
        if let Some(part) = object["subresource"].as_str() {
            resource = format!("{resource}/{part}");
        }
        Some(Self {
            verb: text(&event["verb"]),
            group: text(&object["apiGroup"]),
            resource,
            namespace: text(&object["namespace"]),
            name: text(&object["name"]),
            allowed: event["annotations"]["authorization.k8s.io/decision"] == "allow",
        })
    }
}
