//! The server's side of HTTP/2: whatever a client sends, in whatever pieces, nothing panics, waits
//! without end or gathers without bounds.

#![no_main]

use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use weir_proxy::http::codec::h2::{Config, Reason, Socket, server};

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
        Poll::Ready(Ok(bytes.len().min(self.step * 64)))
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((first, left)) = data.split_first() else {
        return;
    };
    let config = Config {
        initial_window_size: 1000,
        max_header_list_size: 2000,
        max_concurrent_streams: 8,
        ..Config::default()
    };
    let step = usize::from(*first) + 1;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut http2 = server::Connection::new(Script { left, step }, preface, config);
    let mut cx = Context::from_waker(Waker::noop());
    let mut streams = Vec::new();
    loop {
        match http2.poll_accept(&mut cx) {
            Poll::Ready(Some(Ok((request, respond)))) => {
                streams.push((request.into_body(), Some(respond), None));
            }
            Poll::Ready(_) => break,
            Poll::Pending => {}
        }
        for (at, (body, respond, to)) in streams.iter_mut().enumerate() {
            if let Poll::Ready(Some(Ok(data))) = body.poll_data(&cx) {
                body.release_capacity(data.len());
            }
            if at % 3 == 1
                && let Some(mut respond) = respond.take()
            {
                *to = respond
                    .send_response(http::Response::new(()), at % 2 == 0)
                    .ok();
            }
            if let Some(to) = to {
                let _ = to.send_data(Bytes::from_static(&[b'x'; 3000]), at % 4 == 0);
                if at % 5 == 4 {
                    to.send_reset(Reason::INTERNAL_ERROR);
                }
            }
        }
        if streams.len() > 6 {
            streams.remove(0);
        }
        http2.flush(&mut cx);
    }
});
