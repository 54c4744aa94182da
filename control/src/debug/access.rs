//! Who may look. Debug endpoints show names, addresses and versions of everything in the mesh, and no
//! secrets; still, what a pod can learn about others is no pod's business. So they answer those who
//! are on the machine itself, as `kubectl port-forward` and `kubectl exec` are.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::DebugFrom;

const ELSEWHERE: &str = "debug endpoints answer on this machine only: \
    kubectl port-forward -n weir-system deploy/weir-control 15014, or --debug-from anywhere\n";
const FOREIGN_HOST: &str = "the Host header is neither localhost nor an address\n";

/// Lets requests through that may look.
pub(super) async fn check(State(from): State<DebugFrom>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    match allowed(from, peer.map(|peer| peer.0.ip()), host) {
        Ok(()) => next.run(request).await,
        Err(reason) => (StatusCode::FORBIDDEN, reason).into_response(),
    }
}

fn allowed(from: DebugFrom, peer: Option<IpAddr>, host: &str) -> Result<(), &'static str> {
    if from == DebugFrom::Anywhere {
        return Ok(());
    }
    if !peer.is_some_and(|peer| peer.to_canonical().is_loopback()) {
        return Err(ELSEWHERE);
    }
    // A web page that an administrator looks at may have a name that resolves to 127.0.0.1.
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) {
            name
        } else {
            host
        }
    });
    let address = name.trim_start_matches('[').trim_end_matches(']');
    if name == "localhost" || address.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err(FOREIGN_HOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_under_its_own_name_may_look() {
        let from_loopback = |peer: &str, host: &str| {
            let peer = peer.parse().expect("address");
            allowed(DebugFrom::Loopback, Some(peer), host).is_ok()
        };
        for host in [
            "localhost",
            "localhost:15014",
            "127.0.0.1:15014",
            "[::1]:15014",
            "[::1]",
        ] {
            assert!(from_loopback("127.0.0.1", host), "{host}");
            assert!(from_loopback("::ffff:127.0.0.1", host), "{host}");
            assert!(!from_loopback("10.4.0.7", host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:15014",
            "localhost.evil.example",
            "",
        ] {
            assert!(!from_loopback("::1", host), "{host}");
        }
        assert!(allowed(DebugFrom::Loopback, None, "localhost").is_err());
        assert!(allowed(DebugFrom::Anywhere, None, "weir-control.weir-system:15014").is_ok());
    }
}
