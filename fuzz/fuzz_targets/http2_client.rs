//! The client's side of HTTP/2: whatever a server answers, in whatever pieces, nothing panics, waits
//! without end or gathers without bounds.

#![no_main]

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use weir_proxy::http::codec::h2::{Config, Socket, client};

/// A socket from which a script is read, a few bytes at a time.
struct Script<'s> {
    left: &'s [u8],
    step: usize,
}

impl Socket for Script<'_> {
    fn poll_read(
        &mut self,
        _: &mut Context<'_>,
        into: &mut BytesMut,
    ) -> Poll<std::io::Result<usize>> {
        let (now, left) = self.left.split_at(self.step.min(self.left.len()));
        into.extend_from_slice(now);
        self.left = left;
        Poll::Ready(Ok(now.len()))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((first, left)) = data.split_first() else {
        return;
    };
    let step = usize::from(*first) + 1;
    let config = Config {
        initial_window_size: 1000,
        max_header_list_size: 2000,
        ..Config::default()
    };
    let (mut sender, mut connection) = client::handshake(Script { left, step }, config);
    let mut cx = Context::from_waker(Waker::noop());
    let mut exchanges = Vec::new();
    for at in 0..3 {
        let method = if at == 0 { "HEAD" } else { "POST" };
        let request = http::Request::builder().method(method).uri("http://h/");
        let request = request.body(()).expect("a request");
        let (response, mut to) = sender.send_request(request, at == 0).expect("room");
        let _ = to.send_data(Bytes::from_static(&[b'x'; 70_000]), at == 1);
        exchanges.push((response, to, None));
    }
    while connection.poll(&mut cx).is_pending() {
        for (response, to, body) in &mut exchanges {
            while let Poll::Ready(Some(Ok(_))) = response.poll_informational(&cx) {}
            if body.is_none()
                && let Poll::Ready(Ok(answer)) = Pin::new(response).poll(&mut cx)
            {
                *body = Some(answer.into_body());
            }
            if let Some(body) = body {
                while let Poll::Ready(Some(Ok(data))) = body.poll_data(&cx) {
                    body.release_capacity(data.len());
                }
                let _ = body.poll_trailers(&cx);
            }
            let _ = to.poll_reset(&cx);
        }
    }
});
