//! Whether one condition holds of a flow.

use std::net::IpAddr;

use ipnet::IpNet;
use weir_api::spiffe::TrustDomain;

use super::{
    Flow, FlowKind, Need, Request, Truth,
    identity::{Identity, is_principal},
};
use crate::model::{Attribute, Condition, Value};

// === impl Condition ===

impl Condition {
    /// One of its values, where there are some, and none of the others.
    pub(super) fn holds(&self, flow: &Flow<'_>, trust_domain: &TrustDomain) -> Truth {
        let one_of = |values: &[Value]| {
            let each = values.iter();
            let each = each.map(|value| has(flow, &self.attribute, value, trust_domain));
            each.fold(Truth::Fails, Truth::or)
        };
        let some = match self.values.as_slice() {
            [] => Truth::Holds,
            values => one_of(values),
        };
        some.and(one_of(&self.not_values).not())
    }
}

/// Whether an attribute of the flow is that value.
fn has(flow: &Flow<'_>, attribute: &Attribute, value: &Value, own: &TrustDomain) -> Truth {
    let of_caller = |holds: &dyn Fn(&Identity<'_>) -> bool| {
        let identity = flow.principal.and_then(Identity::parse);
        identity.is_some_and(|it| holds(&it)).into()
    };
    match attribute {
        Attribute::Principal => flow
            .principal
            .is_some_and(|principal| is_principal(principal, value, own))
            .into(),
        Attribute::Namespace => of_caller(&|it| it.is_in_namespace(value)),
        Attribute::ServiceAccount => of_caller(&|it| it.is_account(value)),
        Attribute::TrustDomain => of_caller(&|it| it.is_of_domain(value, own)),
        Attribute::SourceIp => within(flow.source_ip, value, Need::SourceAddress),
        Attribute::RemoteIp => within(flow.remote_ip, value, Need::RemoteAddress),
        Attribute::DestinationIp => within(flow.destination_ip, value, Need::DestinationAddress),
        Attribute::DestinationPort => (*value == Value::Port(flow.destination_port)).into(),
        Attribute::ServerName => match flow.server_name {
            Some(name) => is_text(name, value).into(),
            None => Truth::needs(Need::ServerName),
        },
        Attribute::Host
        | Attribute::Method
        | Attribute::Path
        | Attribute::Header(_)
        | Attribute::Token => match &flow.speech {
            FlowKind::Request(request) => request.has(attribute, value),
            FlowKind::Connection => Truth::Fails,
        },
    }
}

fn within(address: Option<IpAddr>, value: &Value, need: Need) -> Truth {
    let (Some(address), Value::Network(network, length)) = (address, value) else {
        return Truth::needs(need);
    };
    let network = IpNet::new(*network, *length);
    network.is_ok_and(|it| it.contains(&address)).into()
}

/// Whether a text is that value.
pub(super) fn is_text(text: &str, value: &Value) -> bool {
    match value {
        Value::Present => !text.is_empty(),
        Value::Exact(other) => text == &**other,
        Value::Prefix(start) => text.starts_with(&**start),
        Value::Suffix(end) => text.ends_with(&**end),
        Value::Template(_) | Value::Network(..) | Value::Port(_) => false,
    }
}

// === impl Request ===

impl Request<'_> {
    fn has(&self, attribute: &Attribute, value: &Value) -> Truth {
        match attribute {
            Attribute::Host => match self.host {
                Some(host) => is_host(host, value).into(),
                None => Truth::needs(Need::Host),
            },
            Attribute::Method => match self.method {
                Some(method) => is_text(method, value).into(),
                None => Truth::needs(Need::Method),
            },
            Attribute::Path => self.path.is(value),
            Attribute::Header(name) => match (self.headers)(name) {
                // One that is there and empty is there.
                Some(lines) if *value == Value::Present => (!lines.is_empty()).into(),
                Some(lines) => lines.iter().any(|line| is_text(line, value)).into(),
                None => Truth::needs(Need::Header(name.clone())),
            },
            // Whose token that is, nobody here can say.
            _ => match self.has_token {
                Some(false) => Truth::Fails,
                Some(true) | None => Truth::needs(Need::Claim),
            },
        }
    }
}

/// Hosts are compared without regard to case.
fn is_host(host: &str, value: &Value) -> bool {
    let host = host.to_ascii_lowercase();
    let lower = |text: &str| text.to_ascii_lowercase();
    match value {
        Value::Present => true,
        Value::Exact(other) => host == lower(other),
        Value::Prefix(start) => host.starts_with(&lower(start)),
        Value::Suffix(end) => host.ends_with(&lower(end)),
        Value::Template(_) | Value::Network(..) | Value::Port(_) => false,
    }
}
