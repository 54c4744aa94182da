//! Where the endpoint of a session stands in requests and in responses.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use weir_api::xds::session_cookie::SessionCookie as Content;

use crate::{
    config::http_filter::stateful_session::{SessionCookie, SessionState},
    http::{
        cookie::{Attributes, cookie, set_cookie},
        edits::Edits,
        head::RequestHead,
    },
};

/// The session of one request.
pub(super) struct Session<'c> {
    state: &'c SessionState,
    /// The endpoint that the client names, as it does.
    pub(super) address: Option<String>,
}

// === impl Session ===

impl<'c> Session<'c> {
    /// None for a request whose path has no sessions.
    pub(super) fn of(state: &'c SessionState, request: &dyn RequestHead) -> Option<Self> {
        let address = match state {
            SessionState::Cookie(cookie) if !covers(&cookie.path, request.path()) => return None,
            SessionState::Cookie(config) => {
                let value = cookie(request, &config.name);
                value.and_then(|value| address_in(&value, now()))
            }
            SessionState::Header(name) => {
                let value = request.first(name);
                value.and_then(|value| text(&STANDARD.decode(&*value).ok()?))
            }
        };
        Some(Self { state, address })
    }

    /// Tells the client which endpoint has served it.
    pub(super) fn tell(&self, host: &str, edits: &mut Edits<'c>) {
        match self.state {
            SessionState::Cookie(cookie) => {
                let value = content(cookie, host, now());
                let attributes = Attributes {
                    max_age: cookie.ttl,
                    path: &cookie.path,
                    others: &cookie.attributes,
                };
                edits.add("set-cookie", set_cookie(&cookie.name, &value, attributes));
            }
            SessionState::Header(name) => edits.set(name, STANDARD.encode(host)),
        }
    }
}

/// Whether a cookie of this path goes with a request.
fn covers(cookie: &str, request: &str) -> bool {
    if matches!(cookie, "" | "/") {
        return true;
    }
    let Some(rest) = request.strip_prefix(cookie) else {
        return false;
    };
    cookie.ends_with('/') || rest.is_empty() || rest.starts_with(['/', '?', '#'])
}

/// The endpoint that a cookie names, if that has not expired.
fn address_in(value: &str, now: u64) -> Option<String> {
    let bytes = STANDARD.decode(value).ok()?;
    let Some(content) = Content::read(&bytes) else {
        // As it was written once.
        return text(&bytes);
    };
    let holds = content.expires == 0 || now <= content.expires;
    (holds && !content.address.is_empty()).then_some(content.address)
}

/// The value of a cookie that names an endpoint.
fn content(cookie: &SessionCookie, host: &str, now: u64) -> String {
    let content = Content {
        address: host.to_owned(),
        expires: match cookie.ttl {
            0 => 0,
            ttl => now.saturating_add(ttl),
        },
    };
    STANDARD.encode(content.bytes())
}

/// Whatever is no text is an address still, which no host has.
fn text(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// Seconds since 1970, as Envoy writes them into cookies.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(ttl: u64) -> SessionCookie {
        SessionCookie {
            name: "session".to_owned(),
            ttl,
            path: String::new(),
            attributes: Vec::new(),
        }
    }

    #[test]
    fn a_cookie_names_its_endpoint_until_it_expires() {
        let value = content(&cookie(10), "10.0.0.1:80", 100);
        for (now, expected) in [(100, true), (110, true), (111, false)] {
            let named = address_in(&value, now);
            assert_eq!(named.is_some(), expected, "{now}: {named:?}");
        }
        let lasting = content(&cookie(0), "[::1]:80", 100);
        assert_eq!(address_in(&lasting, u64::MAX).as_deref(), Some("[::1]:80"));
    }

    #[test]
    fn what_is_no_message_is_an_address_as_it_was_written_once() {
        let old = STANDARD.encode("1.2.3.4:80");
        assert_eq!(address_in(&old, 0).as_deref(), Some("1.2.3.4:80"));
        for wrong in ["", "####", "MS4yLjMuNDo4MA"] {
            assert_eq!(address_in(wrong, 0), None, "{wrong}");
        }
    }

    #[test]
    fn the_path_of_a_cookie_covers_whole_segments() {
        for (cookie, request, expected) in [
            ("", "/a", true),
            ("/", "/a", true),
            ("/a/", "/a/b", true),
            ("/a/", "/a", false),
            ("/a", "/a", true),
            ("/a", "/a/b", true),
            ("/a", "/a?b", true),
            ("/a", "/ab", false),
            ("/a", "/", false),
        ] {
            assert_eq!(covers(cookie, request), expected, "{cookie:?} {request}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_cookie_makes_reading_panic(value in ".{0,40}", bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            let _ = (address_in(&value, 0), address_in(&STANDARD.encode(bytes), 0));
        }
    }
}
