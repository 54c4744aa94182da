//! How much of a request's body may be kept, so that it can be sent again.

use crate::buffer::BufferLimit;

/// `request_body_buffer_limit` and `per_request_buffer_limit_bytes` of a virtual host or a route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestBuffer {
    /// Bytes, whatever the connection's limit. 4 GiB stand for all that is more.
    pub body: Option<u32>,
    /// Bytes, and no more than the connection's limit.
    pub request: Option<u32>,
}

// === impl RequestBuffer ===

impl RequestBuffer {
    /// Bytes that are kept at a route with these settings, of a virtual host with those.
    pub(crate) fn kept(self, of_host: Self, connection: BufferLimit) -> u32 {
        let request = self.request.or(of_host.request);
        self.body.or(of_host.body).unwrap_or(match request {
            Some(most) => connection.kept_at_most(most),
            None => connection.kept(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_comes_before_the_virtual_host_and_a_body_s_limit_before_a_request_s() {
        let said = |body, request| RequestBuffer { body, request };
        let limit = BufferLimit::new(Some(100));
        for (route, host, kept) in [
            (said(None, None), said(None, None), 100),
            (said(None, Some(10)), said(None, Some(20)), 10),
            (said(None, None), said(None, Some(20)), 20),
            (said(None, Some(1000)), said(None, None), 100),
            (said(None, Some(10)), said(Some(1000), None), 1000),
            (said(Some(0), Some(10)), said(Some(1000), None), 0),
        ] {
            assert_eq!(route.kept(host, limit), kept, "{route:?}, {host:?}");
        }
        assert_eq!(
            said(None, Some(7)).kept(said(None, None), BufferLimit::new(None)),
            7
        );
    }
}
