//! Redirects.

use weir_api::xds::envoy::config::route::v3 as pb;

use super::{
    at::{At, take},
    route_action::path_rewrite_of,
    value::{enumeration, header_value},
};
use crate::config::route::{Redirect, RedirectPath};

pub(super) fn redirect(at: &At<'_>, message: pb::RedirectAction) -> Option<Redirect> {
    use pb::redirect_action::{
        PathRewriteSpecifier, RedirectResponseCode as Code, SchemeRewriteSpecifier,
    };

    take!(at, message => pb::RedirectAction {
        supported: host_redirect, port_redirect, response_code, strip_query,
            scheme_rewrite_specifier, path_rewrite_specifier;
    });
    let scheme = match scheme_rewrite_specifier {
        None | Some(SchemeRewriteSpecifier::HttpsRedirect(false)) => None,
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some("https".to_owned()),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => {
            if !["", "http", "https"].contains(&scheme.as_str()) {
                at.field("scheme_redirect")
                    .unsupported(format!("{scheme:?}"));
            }
            Some(scheme).filter(|scheme| !scheme.is_empty())
        }
    };
    let text = |name: &str, text: String| header_value(&at.field(name), text);
    let path = match path_rewrite_specifier {
        None => None,
        Some(PathRewriteSpecifier::PathRedirect(path)) => {
            let path = text("path_redirect", path);
            (!path.is_empty()).then_some(RedirectPath::Full(path))
        }
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => {
            path_rewrite_of(at, prefix, None).map(RedirectPath::Rewrite)
        }
        Some(PathRewriteSpecifier::RegexRewrite(message)) => {
            path_rewrite_of(at, String::new(), Some(message)).map(RedirectPath::Rewrite)
        }
        Some(PathRewriteSpecifier::PathRewrite(template)) => {
            at.field("path_rewrite")
                .unsupported(format!("{template:?}"));
            None
        }
    };
    let port = u16::try_from(port_redirect).ok();
    if port.is_none() {
        at.field("port_redirect").unsupported(port_redirect);
    }
    let host = text("host_redirect", host_redirect);
    Some(Redirect {
        scheme,
        host: (!host.is_empty()).then_some(host),
        port: port.filter(|port| *port != 0),
        path,
        status: match enumeration(&at.field("response_code"), response_code)? {
            Code::MovedPermanently => 301,
            Code::Found => 302,
            Code::SeeOther => 303,
            Code::TemporaryRedirect => 307,
            Code::PermanentRedirect => 308,
        },
        strip_query,
    })
}
