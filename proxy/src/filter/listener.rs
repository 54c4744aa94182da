//! Listener filters: what looks at a connection before its filter chain is chosen.

pub mod inspector;
mod original_dst;
pub mod proxy_protocol;

use crate::info::Detected;
use std::rc::Rc;

use tokio::net::TcpStream;

use self::{inspector::Inspection, original_dst::OriginalDst, proxy_protocol::ProxyProtocol};
use crate::{
    buffer::Buffer,
    config::listener_filter::{ListenerFilter as Config, ListenerFilterKind, ListenerMatch},
    factory_context::FactoryContext,
    filter::local_rate_limit::{LocalRateLimit, Of},
    info::ConnectionInfo,
    net::address::OriginalSource,
};

/// A listener filter in one worker.
pub(crate) struct ListenerFilter {
    kind: Kind,
    disabled: Option<ListenerMatch>,
}

enum Kind {
    OriginalDst(OriginalDst),
    TlsInspector,
    HttpInspector,
    ProxyProtocol(ProxyProtocol),
    LocalRateLimit(LocalRateLimit),
    OriginalSrc { mark: u32 },
}

/// What becomes of a connection once a filter has looked at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The next filter looks.
    Continue,
    /// The filter looks again when there is more.
    Wait,
    /// It is closed.
    Close,
}

// === impl ListenerFilter ===

impl ListenerFilter {
    /// `owner` is the listener's name, and the filter's place in its list.
    pub(crate) fn new(
        config: &Config,
        stat_prefix: &str,
        owner: &str,
        context: &Rc<FactoryContext>,
    ) -> Self {
        let kind = match &config.kind {
            ListenerFilterKind::OriginalDst => {
                Kind::OriginalDst(OriginalDst::new(stat_prefix, context))
            }
            ListenerFilterKind::TlsInspector => Kind::TlsInspector,
            ListenerFilterKind::HttpInspector => Kind::HttpInspector,
            ListenerFilterKind::ProxyProtocol(config) => {
                Kind::ProxyProtocol(ProxyProtocol::new(config, context))
            }
            ListenerFilterKind::LocalRateLimit(config) => {
                Kind::LocalRateLimit(LocalRateLimit::new(config, Of::Listener, owner, context))
            }
            ListenerFilterKind::OriginalSrc { mark } => Kind::OriginalSrc { mark: *mark },
        };
        Self {
            kind,
            disabled: config.disabled.clone(),
        }
    }

    /// Looks at the connection. What it uses up of the buffer is gone for those behind it.
    pub(crate) fn run(
        &self,
        connection: &mut ConnectionInfo,
        socket: Option<&TcpStream>,
        buffer: &mut Buffer,
    ) -> Status {
        let port = connection.original_destination.port();
        if self
            .disabled
            .as_ref()
            .is_some_and(|disabled| disabled.holds(port))
        {
            return Status::Continue;
        }
        match &self.kind {
            Kind::OriginalDst(filter) => filter.run(connection, socket),
            Kind::TlsInspector => inspect_tls(connection, buffer),
            Kind::HttpInspector => inspect_http(connection, buffer),
            Kind::ProxyProtocol(filter) => filter.run(connection, buffer),
            Kind::LocalRateLimit(filter) if filter.is_over() => Status::Close,
            Kind::LocalRateLimit(_) => Status::Continue,
            Kind::OriginalSrc { mark } => {
                let ip = connection.remote.ip();
                connection.source = Some(OriginalSource { ip, mark: *mark });
                Status::Continue
            }
        }
    }
}

fn inspect_tls(connection: &mut ConnectionInfo, buffer: &Buffer) -> Status {
    if buffer.is_empty() {
        return Status::Wait;
    }
    match inspector::tls::inspect(buffer.filled()) {
        Inspection::NeedMore => Status::Wait,
        Inspection::No => Status::Continue,
        Inspection::Yes(hello) => {
            connection.server_name = hello.server_name;
            connection.application_protocols = hello.application_protocols.into();
            connection.protocol = Detected::Tls;
            Status::Continue
        }
    }
}

fn inspect_http(connection: &mut ConnectionInfo, buffer: &Buffer) -> Status {
    // What TLS carries is not to be seen.
    if connection.protocol == Detected::Tls {
        return Status::Continue;
    }
    if buffer.is_empty() {
        return Status::Wait;
    }
    match inspector::http::inspect(buffer.filled()) {
        Inspection::NeedMore => Status::Wait,
        Inspection::No => Status::Continue,
        Inspection::Yes(version) => {
            connection.protocol = version.detected();
            Status::Continue
        }
    }
}
