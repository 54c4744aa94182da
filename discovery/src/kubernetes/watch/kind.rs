//! The kinds that are watched.

use serde::de::DeserializeOwned;

use crate::{
    kubernetes::{
        Problem, endpoint_slice, node, pod, service,
        wire::{self, Meta},
    },
    model::{Interner, NamespacedName, Object, ObjectKey},
    rules::{
        self, Rule as _, RuleKind, RuleObject,
        authorization_policy::AuthorizationPolicy,
        destination_rule::DestinationRule,
        gateway::{GrpcRoute, HttpRoute, ReferenceGrant},
        peer_authentication::PeerAuthentication,
        service_entry::ServiceEntry,
        virtual_service::VirtualService,
        workload_entry::WorkloadEntry,
    },
};

/// A kind that is watched in all namespaces.
pub(super) trait Kind: DeserializeOwned + Send + Sync + 'static {
    /// Its name.
    const KIND: &'static str;
    /// Where the API server has it.
    const PATH: &'static str;
    /// Whether a cluster may be without it: it is defined by a CRD. While it is not served there are
    /// no objects of it.
    const OPTIONAL: bool = false;

    fn meta(&self) -> &Meta;

    /// Turns it into the model's. `None` if the model needs nothing of it.
    fn read(
        &self,
        names: &Interner,
        rules: &rules::Settings,
        problems: &mut Vec<Problem>,
    ) -> Option<Object>;

    /// The key of the model's object that is made of one of that name.
    fn key(name: NamespacedName) -> ObjectKey;
}

/// Every kind, in the order of status reports.
pub(super) const KINDS: [&str; 13] = [
    wire::Service::KIND,
    wire::EndpointSlice::KIND,
    wire::Pod::KIND,
    wire::Node::KIND,
    PeerAuthentication::KIND,
    AuthorizationPolicy::KIND,
    HttpRoute::KIND,
    GrpcRoute::KIND,
    ReferenceGrant::KIND,
    DestinationRule::KIND,
    VirtualService::KIND,
    ServiceEntry::KIND,
    WorkloadEntry::KIND,
];

impl Kind for wire::Service {
    const KIND: &'static str = "Service";
    const PATH: &'static str = "/api/v1/services";

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn read(
        &self,
        names: &Interner,
        _: &rules::Settings,
        problems: &mut Vec<Problem>,
    ) -> Option<Object> {
        service(self, names, problems).map(Object::Service)
    }

    fn key(name: NamespacedName) -> ObjectKey {
        ObjectKey::Service(name)
    }
}

impl Kind for wire::EndpointSlice {
    const KIND: &'static str = "EndpointSlice";
    const PATH: &'static str = "/apis/discovery.k8s.io/v1/endpointslices";

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn read(
        &self,
        names: &Interner,
        _: &rules::Settings,
        problems: &mut Vec<Problem>,
    ) -> Option<Object> {
        endpoint_slice(self, names, problems).map(Object::EndpointSlice)
    }

    fn key(name: NamespacedName) -> ObjectKey {
        ObjectKey::EndpointSlice(name)
    }
}

impl Kind for wire::Pod {
    const KIND: &'static str = "Pod";
    const PATH: &'static str = "/api/v1/pods";

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn read(
        &self,
        names: &Interner,
        _: &rules::Settings,
        problems: &mut Vec<Problem>,
    ) -> Option<Object> {
        pod(self, names, problems).map(Object::Pod)
    }

    fn key(name: NamespacedName) -> ObjectKey {
        ObjectKey::Pod(name)
    }
}

impl Kind for wire::Node {
    const KIND: &'static str = "Node";
    const PATH: &'static str = "/api/v1/nodes";

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn read(
        &self,
        names: &Interner,
        _: &rules::Settings,
        problems: &mut Vec<Problem>,
    ) -> Option<Object> {
        node(self, names, problems).map(Object::Node)
    }

    fn key(name: NamespacedName) -> ObjectKey {
        ObjectKey::Node(name.name)
    }
}

impl<S: RuleKind> Kind for RuleObject<S> {
    const KIND: &'static str = S::KIND;
    const PATH: &'static str = S::PATH;
    const OPTIONAL: bool = true;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn read(
        &self,
        names: &Interner,
        rules: &rules::Settings,
        problems: &mut Vec<Problem>,
    ) -> Option<Object> {
        let attachment = self.attachment(names, rules, problems);
        attachment.map(Object::Attachment)
    }

    fn key(name: NamespacedName) -> ObjectKey {
        ObjectKey::Attachment(S::rule(name))
    }
}
