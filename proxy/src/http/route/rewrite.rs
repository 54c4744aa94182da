//! What becomes of a path, and where a redirect leads.

use crate::{
    config::route::{PathMatch, PathRewrite, Redirect, RedirectPath, RouteMatch},
    http::{authority::Authority, head::RequestHead},
};

/// The path after a rewrite, with its query.
#[must_use]
pub fn rewrite_path(rewrite: &PathRewrite, criteria: &RouteMatch, path: &str) -> String {
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let (path, query) = path.split_at(end);
    match rewrite {
        PathRewrite::Prefix(replacement) => {
            let matched = match &criteria.path {
                PathMatch::Prefix(prefix) | PathMatch::PathSeparatedPrefix(prefix) => prefix.len(),
                PathMatch::Path(_) | PathMatch::Regex(_) | PathMatch::Connect => path.len(),
            };
            format!(
                "{replacement}{}{query}",
                path.get(matched..).unwrap_or_default()
            )
        }
        PathRewrite::Regex {
            pattern,
            substitution,
        } => {
            // As Envoy: a path that would be empty stays.
            let new = match pattern.replace_all(path, substitution.as_str()) {
                new if new.is_empty() => path.into(),
                new => new,
            };
            format!("{new}{query}")
        }
    }
}

/// The `location` of a redirect.
#[must_use]
pub fn redirect_location(
    redirect: &Redirect,
    criteria: &RouteMatch,
    request: &dyn RequestHead,
    scheme: &str,
) -> String {
    let Authority { host, port } = Authority::split(request.authority());
    let port = port.filter(|port| !port.is_empty());
    let new_scheme = redirect.scheme.as_deref().unwrap_or(scheme);
    let host = redirect.host.as_deref().unwrap_or(host);
    // A port that is the old scheme's own would be wrong under the new one.
    let port = match (redirect.port, port) {
        (Some(port), _) => format!(":{port}"),
        (None, Some(_)) if redirect.host.is_some() => String::new(),
        (None, Some("80")) if redirect.scheme.is_some() && scheme == "http" => String::new(),
        (None, Some("443")) if redirect.scheme.is_some() && scheme == "https" => String::new(),
        (None, Some(port)) => format!(":{port}"),
        (None, None) => String::new(),
    };
    let path = match &redirect.path {
        None => request.path().to_owned(),
        Some(RedirectPath::Rewrite(rewrite)) => rewrite_path(rewrite, criteria, request.path()),
        Some(RedirectPath::Full(path)) if path.contains('?') || redirect.strip_query => {
            path.clone()
        }
        Some(RedirectPath::Full(path)) => match request.path().split_once('?') {
            Some((_, query)) => format!("{path}?{query}"),
            None => path.clone(),
        },
    };
    let keep = match (redirect.strip_query, &redirect.path) {
        (true, None | Some(RedirectPath::Rewrite(_))) => path.find('?').unwrap_or(path.len()),
        _ => path.len(),
    };
    format!("{new_scheme}://{host}{port}{}", &path[..keep])
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use crate::http::codec::h1::request::Request;

    fn prefix(prefix: &str) -> RouteMatch {
        RouteMatch {
            path: PathMatch::Prefix(prefix.to_owned()),
            case_sensitive: true,
            headers: Vec::new(),
            query: Vec::new(),
            grpc: false,
            fraction: None,
        }
    }

    #[test]
    fn rewrites_leave_the_query_alone() {
        let to = |text: &str| PathRewrite::Prefix(text.to_owned());
        assert_eq!(
            rewrite_path(&to("/"), &prefix("/api/"), "/api/a?b=/api/"),
            "/a?b=/api/"
        );
        assert_eq!(rewrite_path(&to("/v2"), &prefix("/v1"), "/v1/x"), "/v2/x");
        let pattern = Regex::new("^/s/([^/]+)").expect("a regex");
        let regex = PathRewrite::Regex {
            pattern,
            substitution: "/${1}".to_owned(),
        };
        assert_eq!(rewrite_path(&regex, &prefix("/"), "/s/a/b?c"), "/a/b?c");
    }

    #[test]
    fn redirects_keep_what_they_do_not_name() {
        let redirect = |scheme: Option<&str>, host: Option<&str>, port, path| Redirect {
            scheme: scheme.map(ToOwned::to_owned),
            host: host.map(ToOwned::to_owned),
            port,
            path,
            status: 301,
            strip_query: false,
        };
        let mut request = Request::default();
        let head = b"GET /a?b HTTP/1.1\r\nHost: h:80\r\n\r\n";
        request.parse(head, 10).expect("a head");
        let full = Some(RedirectPath::Full("/n".to_owned()));
        for (redirect, location) in [
            (redirect(Some("https"), None, None, None), "https://h/a?b"),
            (redirect(None, Some("o"), None, None), "http://o/a?b"),
            (redirect(None, None, Some(81), None), "http://h:81/a?b"),
            (redirect(None, None, None, full), "http://h:80/n?b"),
        ] {
            assert_eq!(
                redirect_location(&redirect, &prefix("/"), &request, "http"),
                location
            );
        }
    }
}
