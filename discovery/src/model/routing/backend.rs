//! Who a rule sends requests to, and whether it may and can.

use std::{fmt, sync::Arc};

use super::{Grammar, Parent, Speech};
use crate::model::{NamespacedName, Protocol, ResolvedService, ServiceKind, ServicePort, Snapshot};

/// Who a rule sends requests to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A port of a service.
    Service {
        /// The service.
        service: NamespacedName,
        /// The number of the port. None: the only one there is, else the one that was asked.
        port: Option<u16>,
        /// A group of its endpoints.
        subset: Option<Arc<str>>,
    },
    /// Something that is not known here, as its author calls it.
    Other(Arc<str>),
}

/// Who refers to a backend.
#[derive(Debug, Clone, Copy)]
pub struct Referrer<'a> {
    /// The kind of the object.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: &'a str,
    /// What requests it is about.
    pub speech: Speech,
    /// Whose rules for rules it follows.
    pub grammar: Grammar,
    /// Whose requests it routes: those may stay where they were sent.
    pub parents: &'a [Parent],
    /// The port that was asked.
    pub asked: Option<u16>,
}

/// Why a backend gets no requests. Of several the first is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unresolved {
    /// It is in another namespace, where nothing grants that.
    NotPermitted,
    /// It is no service, or one that is a name somewhere else.
    InvalidKind,
    /// There is no such service, or it has no such port.
    NotFound,
    /// What its port speaks is not what the rule routes.
    UnsupportedProtocol,
}

// === impl Backend ===

impl Backend {
    /// The service, if it is one.
    #[must_use]
    pub fn service(&self) -> Option<&NamespacedName> {
        match self {
            Self::Service { service, .. } => Some(service),
            Self::Other(_) => None,
        }
    }

    /// The group of endpoints, if it is one.
    #[must_use]
    pub fn subset(&self) -> Option<&str> {
        match self {
            Self::Service { subset, .. } => subset.as_deref(),
            Self::Other(_) => None,
        }
    }

    /// The port of the service that it is.
    ///
    /// # Errors
    /// It gets no requests, and why.
    pub fn resolve<'s>(
        &self,
        snapshot: &'s Snapshot,
        referrer: &Referrer<'_>,
    ) -> Result<(&'s ResolvedService, &'s ServicePort), Unresolved> {
        let (service, port) = self.place(snapshot, referrer)?;
        match port.hint.protocol {
            Protocol::Tcp | Protocol::Tls => Err(Unresolved::UnsupportedProtocol),
            Protocol::Http | Protocol::Http2 | Protocol::Auto => Ok((service, port)),
        }
    }

    /// The same, whatever is spoken there.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn place<'s>(
        &self,
        snapshot: &'s Snapshot,
        referrer: &Referrer<'_>,
    ) -> Result<(&'s ResolvedService, &'s ServicePort), Unresolved> {
        let Self::Service { service, port, .. } = self else {
            return Err(Unresolved::InvalidKind);
        };
        let routings = snapshot.attachments().routings();
        let is_free = referrer.grammar == Grammar::Istio;
        let is_near = is_free || *service.namespace == *referrer.namespace;
        let is_parent = || referrer.parents.iter().any(|it| it.service == *service);
        if !is_near && !is_parent() && !routings.grants(referrer, service) {
            return Err(Unresolved::NotPermitted);
        }
        let service = snapshot.named(service, Some(referrer.namespace));
        let service = service.ok_or(Unresolved::NotFound)?;
        if service.service.kind == ServiceKind::ExternalName {
            return Err(Unresolved::InvalidKind);
        }
        let only = || match &service.service.ports[..] {
            [only] => Some(only.port),
            _ => None,
        };
        let number = port.or_else(only).or(referrer.asked);
        let number = number.ok_or(Unresolved::NotFound)?;
        let (port, _) = service.port(number).ok_or(Unresolved::NotFound)?;
        Ok((service, port))
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service {
                service,
                port,
                subset,
            } => {
                write!(f, "Service {service}")?;
                let port = port.map(|it| write!(f, ", port {it}"));
                port.transpose()?;
                let subset = subset.as_ref().map(|it| write!(f, ", subset {it}"));
                subset.transpose().map(|_| ())
            }
            Self::Other(what) => f.write_str(what),
        }
    }
}

// === impl Unresolved ===

impl Unresolved {
    /// Why, and what to do about it.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotPermitted => {
                "is in another namespace, and no ReferenceGrant there lets this kind of route of this \
                 namespace refer to it"
            }
            Self::InvalidKind => "is no Service with an address or pods of its own",
            Self::NotFound => "is not there, or has no such TCP port",
            Self::UnsupportedProtocol => {
                "speaks TCP or TLS, as its port's appProtocol or name says, and no HTTP"
            }
        }
    }
}
