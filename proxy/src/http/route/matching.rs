//! Whether a route's conditions hold for a request.

use std::borrow::Cow;

use super::Matched;
use crate::{
    config::{
        RouteConfiguration,
        matcher::matches_whole,
        route::{
            ForwardTarget, PathMatch, QueryParameterMatcher, Route, RouteAction, RouteMatch,
            RouteWeightedCluster, VirtualHost,
        },
    },
    http::{
        authority::Authority,
        head::{RequestHead, header_matches},
    },
    runtime::Runtime,
};

/// The virtual host and the route that serve a request. `random` decides for routes that serve a
/// share of the requests, which `runtime` may override.
pub fn find<'c>(
    config: &'c RouteConfiguration,
    request: &dyn RequestHead,
    runtime: &Runtime,
    random: u64,
) -> Option<(&'c VirtualHost, &'c Route)> {
    let host = comparable_host(request.authority(), config.ignore_port_in_host_matching);
    let virtual_host = config.virtual_hosts.get(config.domains.find(&host)?)?;
    let mut routes = virtual_host.routes.iter();
    let route = routes.find(|route| matches(&route.criteria, request, runtime, random))?;
    Some((virtual_host, route))
}

/// The same, with the cluster that was drawn where the route has several.
pub fn resolve<'c>(
    config: &'c RouteConfiguration,
    request: &dyn RequestHead,
    runtime: &Runtime,
    random: u64,
) -> Option<Matched<'c>> {
    let (virtual_host, route) = find(config, request, runtime, random)?;
    let weighted = match &route.action {
        RouteAction::Forward(forward)
            if matches!(forward.target, ForwardTarget::Weighted { .. }) =>
        {
            cluster(&forward.target, request, random).and_then(|(_, weighted)| weighted)
        }
        _ => None,
    };
    Some(Matched {
        config,
        virtual_host,
        route,
        weighted,
    })
}

/// The cluster of a route: `None` if a header was to name it and is not there.
pub fn cluster<'c>(
    target: &'c ForwardTarget,
    request: &dyn RequestHead,
    random: u64,
) -> Option<(Cow<'c, str>, Option<&'c RouteWeightedCluster>)> {
    match target {
        ForwardTarget::Cluster(name) => Some((name.into(), None)),
        ForwardTarget::ClusterHeader(name) => {
            let name = match name.starts_with(':') || name == "host" {
                true => request.field(name),
                false => request.first(name),
            };
            Some((name?.into_owned().into(), None))
        }
        ForwardTarget::Weighted { clusters, total } => {
            let mut drawn = random % (*total).max(1);
            let chosen = clusters.iter().find(|cluster| {
                let hit = drawn < u64::from(cluster.weight);
                drawn = drawn.saturating_sub(u64::from(cluster.weight));
                hit
            })?;
            Some((chosen.name.as_str().into(), Some(chosen)))
        }
    }
}

/// The host as domains are compared with it: lower case, without a port if that does not count.
fn comparable_host(authority: &str, ignore_port: bool) -> Cow<'_, str> {
    let host = match ignore_port {
        true => Authority::split(authority).host,
        false => authority,
    };
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => host.to_ascii_lowercase().into(),
        false => host.into(),
    }
}

/// Whether a request is one of those that a route, or a rule of a filter, is for.
pub(crate) fn matches(
    criteria: &RouteMatch,
    request: &dyn RequestHead,
    runtime: &Runtime,
    random: u64,
) -> bool {
    let asks_for_tunnel = request.method() == "CONNECT";
    asks_for_tunnel == matches!(criteria.path, PathMatch::Connect)
        && path_matches(&criteria.path, criteria.case_sensitive, request.path_only())
        && criteria
            .fraction
            .as_ref()
            .is_none_or(|share| runtime.includes(share, random))
        && (!criteria.grpc || is_grpc(request))
        && criteria
            .headers
            .iter()
            .all(|matcher| header_matches(matcher, request))
        && criteria
            .query
            .iter()
            .all(|matcher| query_matches(matcher, request.path()))
}

fn path_matches(matcher: &PathMatch, case_sensitive: bool, path: &str) -> bool {
    let same = |one: &str, other: &str| match case_sensitive {
        true => one == other,
        false => one.eq_ignore_ascii_case(other),
    };
    let begins = |prefix: &str| {
        path.get(..prefix.len())
            .is_some_and(|head| same(head, prefix))
    };
    match matcher {
        PathMatch::Prefix(prefix) => begins(prefix),
        PathMatch::Path(whole) => same(path, whole),
        PathMatch::PathSeparatedPrefix(prefix) => {
            begins(prefix) && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
        }
        PathMatch::Regex(regex) => matches_whole(regex, path),
        PathMatch::Connect => true,
    }
}

/// As Envoy: `application/grpc`, alone or with a `+` suffix.
pub(crate) fn is_grpc(request: &dyn RequestHead) -> bool {
    let content_type = request.header("content-type");
    let rest = content_type
        .as_deref()
        .and_then(|value| value.strip_prefix("application/grpc"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('+'))
}

fn query_matches(matcher: &QueryParameterMatcher, path: &str) -> bool {
    match (&matcher.value, query_parameter(path, &matcher.name)) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(wanted), Some(value)) => wanted.matches(value),
    }
}

/// The first query parameter of this name, as it stands there.
pub(crate) fn query_parameter<'p>(path: &'p str, name: &str) -> Option<&'p str> {
    let (_, query) = path.split_once('?')?;
    let query = query.split('#').next().unwrap_or_default();
    let mut parameters = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = parameters.find(|(known, _)| *known == name)?;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::route::{HeaderCondition, HeaderMatcher};
    use crate::{
        config::matcher::{StringMatcher, StringPattern},
        http::codec::h1::request::Request,
    };

    fn request(head: &str) -> Request {
        let mut request = Request::default();
        request
            .parse(format!("{head}\r\n\r\n").as_bytes(), 100)
            .expect(head);
        request
    }

    #[test]
    fn path_matches_are_envoys() {
        let path = |text: &str| text.to_owned();
        for (matcher, case_sensitive, actual, expected) in [
            (PathMatch::Prefix(path("/a")), true, "/ab?x", true),
            (PathMatch::Prefix(path("/A")), true, "/ab", false),
            (PathMatch::Prefix(path("/A")), false, "/ab", true),
            (PathMatch::Path(path("/a")), true, "/a?x=1", true),
            (PathMatch::Path(path("/a")), true, "/a/", false),
            (
                PathMatch::PathSeparatedPrefix(path("/a")),
                true,
                "/a/b",
                true,
            ),
            (
                PathMatch::PathSeparatedPrefix(path("/a")),
                true,
                "/ab",
                false,
            ),
            (PathMatch::PathSeparatedPrefix(path("/a")), true, "/a", true),
        ] {
            let request = request(&format!("GET {actual} HTTP/1.1"));
            let found = path_matches(&matcher, case_sensitive, request.path_only());
            assert_eq!(found, expected, "{matcher:?} {actual}");
        }
    }

    #[test]
    fn header_matches_are_envoys() {
        let exact = |value: &str| {
            let pattern = StringPattern::Exact(value.to_owned());
            HeaderCondition::Value(StringMatcher {
                pattern,
                ignore_case: false,
            })
        };
        let request = request("GET /x HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nX-N: -5");
        for (name, condition, invert, expected) in [
            ("x-a", exact("1"), false, true),
            ("x-b", exact("1"), true, false),
            ("x-b", HeaderCondition::Present(false), false, true),
            ("x-b", HeaderCondition::Present(true), true, true),
            (
                "x-n",
                HeaderCondition::Range { start: -10, end: 0 },
                false,
                true,
            ),
            (":method", exact("GET"), false, true),
            (":authority", exact("h"), false, true),
        ] {
            let text = format!("{name} {condition:?} {invert}");
            let name = name.to_owned();
            let matcher = HeaderMatcher {
                name,
                condition,
                invert,
                treat_missing_as_empty: false,
            };
            assert_eq!(header_matches(&matcher, &request), expected, "{text}");
        }
    }

    fn text(pattern: StringPattern) -> HeaderCondition {
        let ignore_case = false;
        HeaderCondition::Value(StringMatcher {
            pattern,
            ignore_case,
        })
    }

    /// Each with what Envoy 1.40 says, plain and inverted, of the lines `a` and `b`.
    #[test]
    fn a_matcher_looks_at_each_line_by_itself() {
        use StringPattern::{Contains, Exact, Prefix, Regex, Suffix};
        let regex = |text: &str| Regex(regex::Regex::new(&format!("^(?:{text})$")).expect(text));
        let of = |text: &str| text.to_owned();
        let cases = [
            (text(Exact(of("a,b"))), [false, true], [true, false]),
            (text(Exact(of("a"))), [true, false], [false, true]),
            (text(Exact(of("b"))), [true, false], [false, true]),
            (text(Prefix(of("b"))), [true, false], [false, true]),
            (text(Suffix(of("a"))), [true, false], [false, true]),
            (text(Contains(of("a,"))), [false, true], [true, false]),
            (text(Contains(of("b"))), [true, false], [true, false]),
            (text(regex("b")), [true, false], [false, true]),
            (text(regex("a,b")), [false, true], [true, false]),
            (
                HeaderCondition::Range { start: 0, end: 9 },
                [false, true],
                [false, true],
            ),
            (HeaderCondition::Present(true), [true, false], [true, false]),
            (
                HeaderCondition::Present(false),
                [false, true],
                [false, true],
            ),
        ];
        let http1 = request("GET / HTTP/1.1\r\nX-M: a\r\nAccept: a\r\nx-m: b\r\naccept: b");
        let mut http2 = http::Request::builder().uri("http://h/");
        for (name, value) in [("x-m", "a"), ("accept", "a"), ("x-m", "b"), ("accept", "b")] {
            http2 = http2.header(name, value);
        }
        let (http2, ()) = http2.body(()).expect("a request").into_parts();
        let codecs: [&dyn RequestHead; 2] = [&http1, &http2];
        for (condition, of_lines, of_a_list) in cases {
            let mut matcher = HeaderMatcher {
                name: String::new(),
                condition,
                invert: false,
                treat_missing_as_empty: false,
            };
            for (name, expected) in [("x-m", of_lines), ("accept", of_a_list)] {
                matcher.name = of(name);
                for (invert, expected) in [false, true].into_iter().zip(expected) {
                    matcher.invert = invert;
                    for request in codecs {
                        let found = header_matches(&matcher, request);
                        assert_eq!(found, expected, "{matcher:?} {}", request.protocol());
                    }
                }
            }
        }
    }

    #[test]
    fn hosts_are_compared_without_case_and_if_asked_without_port() {
        assert_eq!(comparable_host("A.Example:80", true), "a.example");
        assert_eq!(comparable_host("a.example:80", false), "a.example:80");
        assert_eq!(comparable_host("[::1]:80", true), "[::1]");
    }
}
