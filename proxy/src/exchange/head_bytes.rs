//! How many bytes names and values of a request's head have, as access logs count them: pseudo-headers are
//! among them, and what says of one hop how a body ends is not.

use http::request;

/// What pseudo-headers have: method, path, authority and scheme.
pub(super) fn of_target(method: &str, path: &str, authority: &str, scheme: &str) -> usize {
    let pseudo = [
        (":method", method),
        (":path", path),
        (":authority", authority),
        (":scheme", scheme),
    ];
    let of_pseudo = pseudo.iter().map(|(name, value)| name.len() + value.len());
    of_pseudo.sum()
}

/// Of a head as it is sent.
pub(super) fn of_parts(head: &request::Parts, scheme: &str) -> u64 {
    let uri = &head.uri;
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let fields = head.headers.iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len());
    let target = of_target(head.method.as_str(), path, authority, scheme);
    (target + fields.sum::<usize>()) as u64
}

/// The same of a head that is written for HTTP/1.
pub(super) fn of_written(head: &[u8], scheme: &str) -> u64 {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let mut target = lines.next().unwrap_or_default().split(' ');
    let mut word = || target.next().unwrap_or_default();
    let (method, path) = (word(), word());
    let (mut authority, mut fields) = ("", 0);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        match name {
            name if name.eq_ignore_ascii_case("host") => authority = value,
            name if name.eq_ignore_ascii_case("transfer-encoding") => {}
            name => fields += name.len() + value.len(),
        }
    }
    (of_target(method, path, authority, scheme) + fields) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_as_many_bytes_however_it_is_sent() {
        let written =
            b"PUT /a?b HTTP/1.1\r\nHost: c.example\r\nX-D: e\r\nTransfer-Encoding: chunked\r\n\r\n";
        let sent = http::Request::put("https://c.example/a?b").header("x-d", "e");
        let (head, ()) = sent.body(()).expect("a request").into_parts();
        let expected = ":methodPUT:path/a?b:authorityc.example:schemehttpsx-de".len() as u64;
        assert_eq!(of_written(written, "https"), expected);
        assert_eq!(of_parts(&head, "https"), expected);
    }
}
