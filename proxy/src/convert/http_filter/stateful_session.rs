//! `envoy.filters.http.stateful_session`.

use weir_api::xds::{
    codec,
    envoy::{
        config::core::v3::TypedExtensionConfig,
        extensions::{
            filters::http::stateful_session::v3::{
                self as pb, stateful_session_per_route::Override,
            },
            http::stateful_session::{
                cookie::v3::CookieBasedSessionState, header::v3::HeaderBasedSessionState,
            },
        },
        r#type::http::v3 as pb_http,
    },
    google::protobuf::Any,
};

use super::super::{
    at::{At, take},
    hash::cookie_attribute,
    value::{duration, header_name, header_value, non_empty, type_name, unpack},
};
use crate::config::http_filter::{
    HttpFilterConfig, RouteSpecificFilterConfig, StatefulSession,
    stateful_session::{SessionCookie, SessionState},
};

/// What Envoy answers where a strict session's endpoint is gone.
const MISSING: u16 = 503;

pub(super) fn filter(at: &At<'_>, any: &Any) -> Option<HttpFilterConfig> {
    let message = unpack(at, any, codec::unpack_stateful_session)?;
    let session = session(at, message);
    Some(HttpFilterConfig::StatefulSession(Box::new(session)))
}

pub(super) fn per_route(at: &At<'_>, any: &Any) -> Option<RouteSpecificFilterConfig> {
    let message = unpack(at, any, codec::unpack_stateful_session_per_route)?;
    take!(at, message => pb::StatefulSessionPerRoute { supported: r#override; });
    let session = match at.field("disabled").required(r#override)? {
        Override::Disabled(disabled) => {
            if !disabled {
                at.field("disabled").error("must be true");
            }
            None
        }
        Override::StatefulSession(message) => {
            let at = at.field("stateful_session");
            if !message.stat_prefix.is_empty() {
                // Envoy counts nothing of it.
                at.field("stat_prefix").unsupported("that of a route");
            }
            Some(Box::new(session(&at, message)))
        }
    };
    Some(RouteSpecificFilterConfig::StatefulSession(session))
}

fn session(at: &At<'_>, message: pb::StatefulSession) -> StatefulSession {
    take!(at, message => pb::StatefulSession {
        supported: session_state, strict, stat_prefix, status_on_strict_destination_not_found;
    });
    let at_status = at.field("status_on_strict_destination_not_found");
    let status = status_on_strict_destination_not_found;
    let missing_status = u16::try_from(status).ok();
    let missing_status = missing_status.filter(|it| *it == 0 || (200..600).contains(it));
    if missing_status.is_none() {
        at_status.error(format!("{status}: must be from 200 to 599"));
    }
    StatefulSession {
        state: session_state.and_then(|it| state(&at.field("session_state"), it)),
        is_strict: strict,
        missing_status: missing_status.filter(|it| *it > 0).unwrap_or(MISSING),
        stat_prefix,
    }
}

fn state(at: &At<'_>, message: TypedExtensionConfig) -> Option<SessionState> {
    take!(at, message => TypedExtensionConfig { supported: name, typed_config; });
    let at_name = at.field("name");
    let at = at.field("typed_config");
    let any = at.required(typed_config)?;
    // Envoy goes by the name.
    let is_named = |known: &str| {
        if name != known {
            at_name.error(format!("{name:?}: must be {known}"));
        }
    };
    Some(match type_name(&any) {
        "envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState" => {
            is_named("envoy.http.stateful_session.cookie");
            let message = unpack(&at, &any, codec::unpack_cookie_session)?;
            take!(at, message => CookieBasedSessionState { supported: cookie; });
            let at = at.field("cookie");
            SessionState::Cookie(self::cookie(&at, at.required(cookie)?))
        }
        "envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState" => {
            is_named("envoy.http.stateful_session.header");
            let message = unpack(&at, &any, codec::unpack_header_session)?;
            take!(at, message => HeaderBasedSessionState { supported: name; });
            SessionState::Header(header_name(&at.field("name"), &name))
        }
        other => {
            at.unsupported(format!("session state {other}"));
            return None;
        }
    })
}

fn cookie(at: &At<'_>, message: pb_http::Cookie) -> SessionCookie {
    take!(at, message => pb_http::Cookie { supported: name, ttl, path, attributes; });
    let (at_name, at_attributes) = (at.field("name"), at.field("attributes"));
    let attributes = attributes.into_iter().enumerate().map(|(index, message)| {
        let at = at_attributes.index(index);
        take!(at, message => pb_http::CookieAttribute { supported: name, value; });
        cookie_attribute(&at, name, value)
    });
    SessionCookie {
        name: header_value(&at_name, non_empty(&at_name, name)),
        ttl: duration(&at.field("ttl"), ttl).map_or(0, |ttl| ttl.as_secs()),
        path: header_value(&at.field("path"), path),
        attributes: attributes.collect(),
    }
}
