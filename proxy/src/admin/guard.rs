//! Refuses what a web page in the browser of somebody on this machine could have sent.

use std::net::{IpAddr, SocketAddr};

use http::{header, request::Parts};

/// Why the request is refused, if it is.
pub(super) fn refusal(head: &Parts, local: Option<SocketAddr>) -> Option<String> {
    if head.headers.contains_key(header::ORIGIN) {
        return Some("requests with an Origin header are refused".to_owned());
    }
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let mut hosts = head.headers.get_all(header::HOST).iter();
    // HTTP/1.0 has none, and browsers do not speak it.
    let header = hosts.next().map(|host| host.to_str().unwrap_or_default());
    let foreign = [authority, header, hosts.next().map(|_| "")]
        .into_iter()
        .flatten()
        .find(|host| !is_ours(host, local))?;
    Some(format!(
        "Host {foreign:?} is not this admin interface; use localhost or 127.0.0.1"
    ))
}

/// Whether `authority` names this machine: a name that DNS could turn elsewhere does not.
fn is_ours(authority: &str, local: Option<SocketAddr>) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => authority,
    };
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let Ok(address) = bare.unwrap_or(host).parse::<IpAddr>() else {
        return false;
    };
    address.is_loopback() || local.is_some_and(|local| local.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(headers: &[(&str, &str)]) -> bool {
        let mut request = http::Request::builder().uri("/stats");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let local = "10.4.0.7:15000".parse().ok();
        refusal(&head, local).is_some()
    }

    #[test]
    fn only_names_of_this_machine_are_served() {
        for host in [
            "localhost",
            "LOCALHOST:15000",
            "127.0.0.1:80",
            "[::1]:1",
            "10.4.0.7",
        ] {
            assert!(!refused(&[("host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "10.4.0.8",
            "",
            "[::1",
            "a:15000",
        ] {
            assert!(refused(&[("host", host)]), "{host}");
        }
        assert!(!refused(&[]));
        assert!(refused(&[("host", "localhost"), ("host", "localhost")]));
    }

    #[test]
    fn any_origin_is_refused() {
        assert!(refused(&[("host", "localhost"), ("origin", "null")]));
        assert!(refused(&[
            ("host", "localhost"),
            ("origin", "http://localhost")
        ]));
    }
}
