//! The state machine by itself: frames in, frames out.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};

use super::{
    Config, Error, Reason, Side,
    core::{Core, Role},
    frame::{self, FrameHead},
    message::write_request,
    store::Key,
};
use crate::http::codec::hpack::Encoder;

/// A frame: kind, flags, stream, payload.
type Frame = (u8, u8, u32, Vec<u8>);

/// `GET http://h/`, in HPACK.
const GET: &[u8] = b"\x82\x86\x84\x01\x01h";
/// `POST http://h/`, in HPACK.
const POST: &[u8] = b"\x83\x86\x84\x01\x01h";
/// `:status: 200`, in HPACK.
const OK: &[u8] = b"\x88";
const END: u8 = frame::END_STREAM | frame::END_HEADERS;
const OPEN: u8 = frame::END_HEADERS;

/// One side of a connection, and what the peer does to it.
struct One {
    core: Core,
}

fn octets(frames: &[(u8, u8, u32, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, flags, stream, payload) in frames {
        frame::write(&mut out, *kind, *flags, *stream, payload);
    }
    out
}

impl One {
    fn new(role: Role, config: Config) -> Self {
        let mut core = Core::new(role, config);
        core.begin_turn(Instant::now());
        core.output.clear();
        let mut one = Self { core };
        if role == Role::Server {
            one.receive(frame::PREFACE);
        }
        one.frames(&[(frame::SETTINGS, 0, 0, b"")]);
        one.sent();
        one
    }

    fn server() -> Self {
        Self::new(Role::Server, Config::default())
    }

    /// A client that has sent a request.
    fn client() -> (Self, Key) {
        let mut one = Self::new(Role::Client, Config::default());
        let request = Request::post("http://h/").body(()).expect("a request");
        let (head, ()) = request.into_parts();
        let key = one.core.open(&head, true).expect("room");
        one.sent();
        (one, key)
    }

    fn receive(&mut self, octets: &[u8]) {
        let mut input = BytesMut::from(octets);
        self.core.receive(&mut input);
    }

    fn frames(&mut self, frames: &[(u8, u8, u32, &[u8])]) {
        self.receive(&octets(frames));
    }

    /// What it has to say.
    fn sent(&mut self) -> Vec<Frame> {
        let mut octets = self.core.output.unsent();
        let mut frames = Vec::new();
        while let Some(head) = FrameHead::read(octets) {
            let (payload, rest) = octets[frame::HEAD..].split_at(head.length);
            frames.push((head.kind, head.flags, head.stream, payload.to_vec()));
            octets = rest;
        }
        self.core.output.clear();
        frames
    }

    /// The code of GOAWAY or RST_STREAM that it sends.
    fn complaint(&mut self) -> Option<(u8, Reason)> {
        let frames = self.sent();
        frames.iter().find_map(|(kind, _, _, payload)| match *kind {
            frame::GOAWAY => Some((*kind, frame::number(&payload[4..]).into())),
            frame::RST_STREAM => Some((*kind, frame::number(payload).into())),
            _ => None,
        })
    }

    fn request(&mut self) -> Key {
        let (key, _) = self.core.requests.pop_front().expect("a request");
        key
    }
}

#[test]
fn what_is_wrong_is_named_as_the_rfc_names_it() {
    use frame::*;
    type Frames = &'static [(u8, u8, u32, &'static [u8])];
    const CONNECTION: u8 = GOAWAY;
    const STREAM: u8 = RST_STREAM;
    let cases: [(&str, Frames, u8, Reason); 42] = [
        (
            "DATA of nobody",
            &[(DATA, 0, 0, b"x")],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "DATA of an idle stream",
            &[(DATA, 0, 1, b"x")],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "DATA behind the end",
            &[(HEADERS, END, 1, GET), (DATA, 0, 1, b"x")],
            STREAM,
            Reason::STREAM_CLOSED,
        ),
        (
            "too much padding",
            &[(HEADERS, OPEN, 1, POST), (DATA, PADDED, 1, b"\x02x")],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "padding of nothing",
            &[(HEADERS, OPEN, 1, POST), (DATA, PADDED, 1, b"")],
            CONNECTION,
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            "HEADERS of nobody",
            &[(HEADERS, END, 0, GET)],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a stream of the server's",
            &[(HEADERS, END, 2, GET)],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a stream that was passed over",
            &[(HEADERS, END, 5, GET), (HEADERS, END, 3, GET)],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "HEADERS behind the end",
            &[(HEADERS, END, 1, GET), (HEADERS, END, 1, GET)],
            STREAM,
            Reason::STREAM_CLOSED,
        ),
        (
            "HEADERS behind a reset",
            &[
                (HEADERS, OPEN, 1, POST),
                (RST_STREAM, 0, 1, &[0; 4]),
                (HEADERS, END, 1, GET),
            ],
            CONNECTION,
            Reason::STREAM_CLOSED,
        ),
        (
            "DATA behind a reset",
            &[
                (HEADERS, OPEN, 1, POST),
                (RST_STREAM, 0, 1, &[0; 4]),
                (DATA, 0, 1, b"x"),
            ],
            STREAM,
            Reason::STREAM_CLOSED,
        ),
        (
            "HEADERS too short for a priority",
            &[(HEADERS, END | WITH_PRIORITY, 1, b"abc")],
            CONNECTION,
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            "HEADERS with too much padding",
            &[(HEADERS, END | PADDED, 1, b"\xff\x82")],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a stream that depends on itself",
            &[(
                HEADERS,
                END | WITH_PRIORITY,
                1,
                b"\0\0\0\x01\0\x82\x86\x84\x01\x01h",
            )],
            STREAM,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "no HPACK",
            &[(HEADERS, END, 1, b"\x80")],
            CONNECTION,
            Reason::COMPRESSION_ERROR,
        ),
        (
            "half a field",
            &[(HEADERS, END, 1, b"\x82\x00\x05ab")],
            CONNECTION,
            Reason::COMPRESSION_ERROR,
        ),
        (
            "a frame within a section",
            &[(HEADERS, 0, 1, GET), (PING, 0, 0, &[0; 8])],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "an unknown frame within a section",
            &[(HEADERS, 0, 1, GET), (99, 0, 0, b"")],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "DATA within a section",
            &[(HEADERS, 0, 1, GET), (DATA, 0, 1, b"x")],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a section of another stream",
            &[(HEADERS, 0, 1, GET), (CONTINUATION, OPEN, 3, b"")],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "CONTINUATION of nothing",
            &[(HEADERS, END, 1, GET), (CONTINUATION, OPEN, 1, b"")],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "trailers that do not end",
            &[
                (HEADERS, OPEN, 1, POST),
                (HEADERS, OPEN, 1, b"\x00\x01a\x01b"),
            ],
            STREAM,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "trailers with a pseudo field",
            &[(HEADERS, OPEN, 1, POST), (HEADERS, END, 1, b"\x84")],
            STREAM,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a request that is none",
            &[(HEADERS, END, 1, b"\x82")],
            STREAM,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a length and no body",
            &[(HEADERS, END, 1, b"\x83\x86\x84\x01\x01h\x0f\x0d\x012")],
            STREAM,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a body longer than said",
            &[
                (HEADERS, OPEN, 1, b"\x83\x86\x84\x01\x01h\x0f\x0d\x012"),
                (DATA, 0, 1, b"abc"),
            ],
            STREAM,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a body shorter than said",
            &[
                (HEADERS, OPEN, 1, b"\x83\x86\x84\x01\x01h\x0f\x0d\x012"),
                (DATA, END_STREAM, 1, b"a"),
            ],
            STREAM,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a short body and trailers",
            &[
                (HEADERS, OPEN, 1, b"\x83\x86\x84\x01\x01h\x0f\x0d\x012"),
                (HEADERS, END, 1, b"\x00\x01a\x01b"),
            ],
            STREAM,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "PRIORITY of nobody",
            &[(PRIORITY, 0, 0, &[0; 5])],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "PRIORITY of a wrong size",
            &[(HEADERS, OPEN, 1, POST), (PRIORITY, 0, 1, &[0; 4])],
            STREAM,
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            "RST_STREAM of nobody",
            &[(RST_STREAM, 0, 0, &[0; 4])],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "RST_STREAM of an idle stream",
            &[(RST_STREAM, 0, 1, &[0; 4])],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "RST_STREAM of a wrong size",
            &[(HEADERS, OPEN, 1, POST), (RST_STREAM, 0, 1, &[0; 3])],
            CONNECTION,
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            "SETTINGS of a stream",
            &[(SETTINGS, 0, 1, b"")],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "SETTINGS of a wrong size",
            &[(SETTINGS, 0, 0, b"abc")],
            CONNECTION,
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            "an acknowledgement with more",
            &[(SETTINGS, ACK, 0, &[0; 6])],
            CONNECTION,
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            "a window that cannot be",
            &[(SETTINGS, 0, 0, b"\0\x04\x80\0\0\0")],
            CONNECTION,
            Reason::FLOW_CONTROL_ERROR,
        ),
        (
            "PING of a wrong size",
            &[(PING, 0, 0, b"abc")],
            CONNECTION,
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            "PUSH_PROMISE",
            &[
                (HEADERS, OPEN, 1, POST),
                (PUSH_PROMISE, OPEN, 1, b"\0\0\0\x02"),
            ],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a window larger by nothing",
            &[(WINDOW_UPDATE, 0, 0, &[0; 4])],
            CONNECTION,
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a connection's window that is too large",
            &[(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff")],
            CONNECTION,
            Reason::FLOW_CONTROL_ERROR,
        ),
        (
            "a stream's window that is too large",
            &[
                (HEADERS, OPEN, 1, POST),
                (WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"),
            ],
            STREAM,
            Reason::FLOW_CONTROL_ERROR,
        ),
    ];
    for (what, frames, kind, reason) in cases {
        let mut server = One::server();
        server.frames(frames);
        assert_eq!(server.complaint(), Some((kind, reason)), "{what}");
    }
}

#[test]
fn frames_that_are_allowed_are_taken() {
    use frame::*;
    let mut server = One::server();
    server.frames(&[
        (99, 0xff, 7, b"anything"),
        (PRIORITY, 0, 9, &[0; 5]),
        (
            HEADERS,
            END | PADDED | WITH_PRIORITY,
            1,
            b"\x03\0\0\0\0\x07\x82\x86\x84\x01\x01h\0\0\0",
        ),
        (HEADERS, 0, 3, b""),
        (CONTINUATION, 0, 3, POST),
        (CONTINUATION, OPEN, 3, b"\x00\x01a\x01b"),
        (DATA, PADDED, 3, b"\x02abc\0\0"),
        (WINDOW_UPDATE, 0, 3, b"\0\0\0\x05"),
        (HEADERS, END, 3, b"\x00\x01t\x01u"),
    ]);
    assert_eq!(server.complaint(), None);
    let keys = [server.request(), server.request()];
    let received = &mut server.core.store[keys[1]].received;
    assert_eq!(received.data, ["abc"]);
    assert_eq!(
        received.trailers.as_ref().map(http::HeaderMap::len),
        Some(1)
    );
    assert_eq!(received.end, Some(Ok(())));
}

#[test]
fn what_came_before_a_reset_is_kept() {
    let reset = Reason::CANCEL;
    let (mut client, key) = One::client();
    client.frames(&[
        (frame::HEADERS, OPEN, 1, OK),
        (frame::DATA, 0, 1, b"part"),
        (frame::RST_STREAM, 0, 1, &u32::from(reset).to_be_bytes()),
    ]);
    let received = &client.core.store[key].received;
    assert!(received.head.is_some());
    assert_eq!(received.data, ["part"]);
    assert_eq!(received.end, Some(Err(Error::Reset(reset, Side::Theirs))));
}

#[test]
fn what_came_before_the_connection_was_lost_is_kept() {
    let (mut client, key) = One::client();
    client.frames(&[
        (frame::HEADERS, OPEN, 1, OK),
        (frame::DATA, 0, 1, b"part"),
        (frame::GOAWAY, 0, 0, b"\0\0\0\x01\0\0\0\x02"),
    ]);
    client.core.lose(std::io::ErrorKind::UnexpectedEof);
    let received = &client.core.store[key].received;
    assert!(received.head.is_some());
    assert_eq!(received.data, ["part"]);
    assert!(matches!(received.end, Some(Err(Error::Io(_)))));
}

#[test]
fn a_complete_response_is_not_spoilt_by_a_reset() {
    let (mut client, key) = One::client();
    client.frames(&[
        (frame::HEADERS, OPEN, 1, OK),
        (frame::DATA, frame::END_STREAM, 1, b"all"),
        (frame::RST_STREAM, 0, 1, &[0; 4]),
    ]);
    assert_eq!(client.core.store[key].received.end, Some(Ok(())));
}

#[test]
fn streams_that_the_peer_will_not_look_at_are_told() {
    let mut client = One::new(Role::Client, Config::default());
    let (head, ()) = Request::get("http://h/")
        .body(())
        .expect("a request")
        .into_parts();
    let keys = [(); 2].map(|()| client.core.open(&head, true).expect("room"));
    client.frames(&[(frame::GOAWAY, 0, 0, b"\0\0\0\x01\0\0\0\0")]);
    let end = |key| client.core.store[key].received.end;
    assert_eq!(end(keys[0]), None);
    assert_eq!(
        end(keys[1]),
        Some(Err(Error::GoAway(Reason::NO_ERROR, Side::Theirs)))
    );
    assert!(client.core.open(&head, true).is_err());
}

#[test]
fn a_response_that_is_none_resets_its_stream() {
    let cases: [(&str, u8, &[u8]); 5] = [
        ("101", OPEN, b"\x08\x03101"),
        ("an informational one that ends", END, b"\x08\x03103"),
        ("no status", END, b"\x00\x01a\x01b"),
        ("a length and no body", END, b"\x88\x0f\x0d\x012"),
        ("a path", END, b"\x88\x84"),
    ];
    for (what, flags, section) in cases {
        let (mut client, key) = One::client();
        client.frames(&[(frame::HEADERS, flags, 1, section)]);
        let expected = Error::Reset(Reason::PROTOCOL_ERROR, Side::Ours);
        assert_eq!(
            client.core.store[key].received.end,
            Some(Err(expected)),
            "{what}"
        );
    }
}

#[test]
fn payload_waits_for_windows_and_what_follows_waits_with_it() {
    let mut server = One::server();
    server.frames(&[
        (frame::SETTINGS, 0, 0, b"\0\x04\0\0\0\x03"),
        (frame::HEADERS, END, 1, GET),
    ]);
    server.sent();
    let key = server.request();
    let (head, ()) = Response::new(()).into_parts();
    server.core.respond(key, &head, false).expect("a head");
    server
        .core
        .send(key, Bytes::from_static(b"abcdefgh"), false)
        .expect("data");
    let mut trailers = http::HeaderMap::new();
    trailers.insert("t", http::HeaderValue::from_static("u"));
    server.core.send_trailers(key, trailers).expect("trailers");
    let kinds = |frames: Vec<Frame>| -> Vec<_> {
        frames
            .into_iter()
            .map(|(kind, flags, _, payload)| (kind, flags, payload.len()))
            .collect()
    };
    let first = kinds(server.sent());
    assert_eq!(first[1..], [(frame::DATA, 0, 3)], "{first:?}");
    // The window shrinks below what has been sent already.
    server.frames(&[(frame::SETTINGS, 0, 0, b"\0\x04\0\0\0\x01")]);
    server.frames(&[(frame::WINDOW_UPDATE, 0, 1, b"\0\0\0\x02")]);
    assert_eq!(kinds(server.sent()), [(frame::SETTINGS, frame::ACK, 0)]);
    server.frames(&[(frame::WINDOW_UPDATE, 0, 1, b"\0\0\0\x64")]);
    let last = kinds(server.sent());
    assert_eq!(last[0], (frame::DATA, 0, 5));
    assert_eq!((last[1].0, last[1].1, last.len()), (frame::HEADERS, END, 2));
}

#[test]
fn a_reset_leaves_behind_what_was_given_as_far_as_the_peer_takes_it() {
    let mut server = One::server();
    server.frames(&[
        (frame::SETTINGS, 0, 0, b"\0\x04\0\0\0\x03"),
        (frame::HEADERS, END, 1, GET),
    ]);
    server.sent();
    let key = server.request();
    let (head, ()) = Response::new(()).into_parts();
    server.core.respond(key, &head, false).expect("a head");
    server
        .core
        .send(key, Bytes::from_static(b"abcdefgh"), true)
        .expect("data");
    server.core.reset(key, Reason::INTERNAL_ERROR);
    let sent = server.sent();
    let kinds: Vec<_> = sent
        .iter()
        .map(|(kind, flags, ..)| (*kind, *flags))
        .collect();
    assert_eq!(
        kinds,
        [
            (frame::HEADERS, OPEN),
            (frame::DATA, 0),
            (frame::RST_STREAM, 0)
        ]
    );
    assert_eq!(sent[1].3, b"abc");
}

#[test]
fn windows_are_opened_again_by_what_is_taken() {
    let config = Config {
        initial_window_size: 10,
        ..Config::default()
    };
    let mut server = One::new(Role::Server, config);
    server.frames(&[
        (frame::SETTINGS, frame::ACK, 0, b""),
        (frame::HEADERS, OPEN, 1, POST),
    ]);
    server.frames(&[(frame::DATA, 0, 1, b"abcdefghij")]);
    let key = server.request();
    server.core.release(key, 4);
    assert_eq!(server.sent(), []);
    server.core.release(key, 1);
    assert_eq!(
        server.sent(),
        [(frame::WINDOW_UPDATE, 0, 1, vec![0, 0, 0, 5])]
    );
    server.frames(&[(frame::DATA, 0, 1, b"abcdef")]);
    assert_eq!(
        server.complaint(),
        Some((frame::RST_STREAM, Reason::FLOW_CONTROL_ERROR))
    );
}

#[test]
fn a_section_is_bounded_by_its_bytes() {
    // In many small frames, and larger than what is taken.
    for (fields, is_too_large) in [(60, false), (3000, true)] {
        let mut server = One::server();
        server.frames(&[(frame::HEADERS, frame::END_STREAM, 1, GET)]);
        for _ in 0..fields {
            server.frames(&[(frame::CONTINUATION, 0, 1, b"\x00\x01a\x0412")]);
            server.frames(&[(frame::CONTINUATION, 0, 1, b"34")]);
        }
        server.frames(&[(frame::CONTINUATION, OPEN, 1, b"")]);
        assert_eq!(server.complaint(), None);
        let (_, head) = server.core.requests.pop_front().expect("a request");
        assert_eq!(
            head.extensions.get::<super::TooLarge>().is_some(),
            is_too_large
        );
        // What follows can be read.
        server.frames(&[(frame::HEADERS, END, 3, GET)]);
        assert_eq!(server.complaint(), None);
    }
    // Without end.
    let mut server = One::server();
    server.frames(&[(frame::HEADERS, frame::END_STREAM, 1, GET)]);
    let much = b"\x00\x01a\x0412".repeat(2000);
    for _ in 0..100 {
        server.frames(&[(frame::CONTINUATION, 0, 1, &much)]);
    }
    assert_eq!(
        server.complaint(),
        Some((frame::GOAWAY, Reason::ENHANCE_YOUR_CALM))
    );
}

/// A request whose field of 4000 bytes enters the table, and others that say it many times: 200 KiB.
fn expanding(streams: u32) -> Vec<u8> {
    let mut first = GET.to_vec();
    first.extend(b"\x40\x01a\x7f\xa1\x1e");
    first.resize(first.len() + 4000, b'v');
    let mut again = GET.to_vec();
    again.resize(again.len() + 50, 0xbe);
    let mut out = octets(&[(frame::HEADERS, END, 1, &first)]);
    for id in 1..=streams {
        out.extend(octets(&[(frame::HEADERS, END, 2 * id + 1, &again)]));
    }
    out
}

#[test]
fn heads_that_say_much_in_few_octets_share_what_a_connection_may_hold() {
    let config = Config {
        max_header_list_size: 256 * 1024,
        ..Config::default()
    };
    let mut server = One::new(Role::Server, config);
    server.receive(&expanding(99));
    assert_eq!(server.complaint(), None);
    let requests: Vec<_> = server.core.requests.drain(..).collect();
    assert_eq!(requests.len(), 100);
    let is_taken = |head: &http::request::Parts| head.extensions.get::<super::TooLarge>().is_none();
    // 8 MiB: what is said counts, not its 5 KiB on the wire.
    let taken = requests.iter().filter(|(_, head)| is_taken(head)).count();
    assert!((38..=42).contains(&taken), "{taken}");
    for (_, head) in requests.iter().filter(|(_, head)| !is_taken(head)) {
        assert!(head.headers.len() <= 50);
    }
    // A stream that is over gives its part back.
    for (key, _) in requests {
        server.core.reset(key, Reason::CANCEL);
        server.core.drop_handle(key);
    }
    let again = [GET, &[0xbe; 50]].concat();
    server.frames(&[(frame::HEADERS, END, 999, &again)]);
    let (_, head) = server.core.requests.pop_front().expect("a request");
    assert!(is_taken(&head));
}

#[test]
fn whoever_causes_work_for_nothing_is_told_to_calm_down() {
    use frame::*;
    type Frames = &'static [(u8, u8, u32, &'static [u8])];
    let cases: [(&str, Frames, Frames); 8] = [
        ("PING", &[], &[(PING, 0, 0, &[0; 8])]),
        ("SETTINGS", &[], &[(SETTINGS, 0, 0, b"")]),
        ("PRIORITY", &[], &[(PRIORITY, 0, 1, &[0; 5])]),
        ("unknown frames", &[], &[(99, 0, 1, b"")]),
        ("windows", &[], &[(WINDOW_UPDATE, 0, 0, b"\0\0\0\x01")]),
        (
            "empty DATA",
            &[(HEADERS, OPEN, 1, POST)],
            &[(DATA, 0, 1, b"")],
        ),
        (
            "padding",
            &[(HEADERS, OPEN, 1, POST)],
            &[(DATA, PADDED, 1, b"\0")],
        ),
        (
            "empty CONTINUATION",
            &[(HEADERS, 0, 1, POST)],
            &[(CONTINUATION, 0, 1, b"")],
        ),
    ];
    for (what, first, again) in cases {
        let mut server = One::server();
        server.frames(first);
        for _ in 0..5000 {
            server.frames(again);
        }
        let calm = Some((GOAWAY, Reason::ENHANCE_YOUR_CALM));
        let complaint = server
            .sent()
            .into_iter()
            .rev()
            .find(|frame| frame.0 == GOAWAY);
        let complaint = complaint.map(|(kind, _, _, p)| (kind, number(&p[4..]).into()));
        assert_eq!(complaint, calm, "{what}");
    }
}

#[test]
fn rapid_resets_end_the_connection_and_patient_ones_do_not() {
    for is_rapid in [true, false] {
        let mut server = One::server();
        let (head, ()) = Response::new(()).into_parts();
        for id in (1..10_000).step_by(2) {
            server.frames(&[(frame::HEADERS, END, id, GET)]);
            if !is_rapid && let Some((key, _)) = server.core.requests.pop_front() {
                server.core.respond(key, &head, false).expect("open");
                server.frames(&[(frame::RST_STREAM, 0, id, &[0; 4])]);
                server.core.drop_handle(key);
            }
            server.frames(&[(frame::RST_STREAM, 0, id, &[0; 4])]);
            while let Some((key, _)) = server.core.requests.pop_front() {
                server.core.drop_handle(key);
            }
            let waits_little = server.core.output.len() < 1 << 20;
            assert!(waits_little);
            if !is_rapid {
                // Patience: what a second brings.
                let later = Instant::now() + std::time::Duration::from_secs(u64::from(id));
                server.core.begin_turn(later);
            }
        }
        assert_eq!(server.core.end.is_some(), is_rapid);
    }
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    let config = Config {
        max_concurrent_streams: 1,
        ..Config::default()
    };
    let mut server = One::new(Role::Server, config);
    server.frames(&[(frame::HEADERS, END, 1, GET), (frame::HEADERS, END, 3, GET)]);
    assert_eq!(
        server.complaint(),
        Some((frame::RST_STREAM, Reason::REFUSED_STREAM))
    );
    let mut client = One::new(Role::Client, Config::default());
    let (head, ()) = Request::get("http://h/")
        .body(())
        .expect("a request")
        .into_parts();
    client.frames(&[(frame::SETTINGS, 0, 0, b"\0\x03\0\0\0\x01")]);
    let key = client.core.open(&head, true).expect("room");
    assert_eq!(client.core.open(&head, true).err(), Some(Error::NoRoom));
    client.frames(&[(frame::HEADERS, END, 1, OK)]);
    assert!(client.core.store[key].is_closed);
    assert!(client.core.open(&head, true).is_ok());
}

#[test]
fn farewell_is_said_in_two_steps() {
    let mut server = One::server();
    server.frames(&[(frame::HEADERS, END, 1, GET)]);
    let key = server.request();
    server.core.leave();
    let sent = server.sent();
    assert_eq!(
        (sent[0].0, &sent[0].3[..4]),
        (frame::GOAWAY, &b"\x7f\xff\xff\xff"[..])
    );
    let ping = sent[1].3.clone();
    server.frames(&[
        (frame::HEADERS, END, 3, GET),
        (frame::PING, frame::ACK, 0, &ping),
    ]);
    let other = server.request();
    assert_eq!(
        server.sent(),
        [(frame::GOAWAY, 0, 0, b"\0\0\0\x03\0\0\0\0".to_vec())]
    );
    server.frames(&[(frame::HEADERS, END, 5, GET)]);
    assert!(server.core.requests.is_empty() && !server.core.is_finished());
    let (head, ()) = Response::new(()).into_parts();
    for key in [key, other] {
        server.core.respond(key, &head, true).expect("a head");
    }
    assert!(server.core.is_finished());
}

/// What a peer says in some order, as octets, with what makes it interesting to split.
fn conversation() -> Vec<u8> {
    let mut encoder = Encoder::default();
    let mut out = frame::PREFACE.to_vec();
    out.extend(octets(&[(frame::SETTINGS, 0, 0, b"\0\x04\0\0\0\x40")]));
    for n in 0..6_u32 {
        let id = 2 * n + 1;
        let request = Request::post(format!("http://h/{n}")).header("x-a", "always");
        let (head, ()) = request
            .header("x-n", n)
            .body(())
            .expect("a request")
            .into_parts();
        let mut section = Vec::new();
        write_request(&mut encoder, &mut section, &head);
        let (first, second) = section.split_at(section.len() / 2);
        out.extend(octets(&[
            (frame::HEADERS, 0, id, first),
            (frame::CONTINUATION, OPEN, id, second),
            (frame::DATA, frame::PADDED, id, b"\x02payload\0\0"),
            (frame::PING, 0, 0, b"12345678"),
        ]));
        out.extend(match n % 3 {
            0 => octets(&[(frame::DATA, frame::END_STREAM, id, b"last")]),
            1 => octets(&[(frame::HEADERS, END, id, b"\x00\x01t\x01u")]),
            _ => octets(&[(frame::RST_STREAM, 0, id, b"\0\0\0\x08")]),
        });
    }
    out
}

/// What a server makes of `pieces`, as text.
fn made_of(pieces: &[&[u8]]) -> String {
    let mut core = Core::new(Role::Server, Config::default());
    core.output.clear();
    let mut input = BytesMut::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        core.receive(&mut input);
    }
    let mut text = format!("{:?} {:?}", core.end, core.output.unsent());
    while let Some((key, head)) = core.requests.pop_front() {
        let received = &core.store[key].received;
        let data = received.data.iter().flatten().copied().collect::<Vec<u8>>();
        text.push_str(&format!(
            "\n{head:?} {data:?} {:?} {:?}",
            received.trailers, received.end
        ));
    }
    text
}

proptest::proptest! {
    #[test]
    fn however_octets_are_split_they_say_the_same(
        cuts in proptest::collection::vec(0_usize..1200, 0..12),
        broken in proptest::option::of((0_usize..1200, 0_u8..255)),
    ) {
        let mut octets = conversation();
        if let Some((at, octet)) = broken {
            let at = at % octets.len();
            octets[at] ^= octet;
        }
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % octets.len()).collect();
        cuts.sort_unstable();
        let (mut pieces, mut from) = (Vec::new(), 0);
        for cut in cuts {
            pieces.push(&octets[from..cut]);
            from = cut;
        }
        pieces.push(&octets[from..]);
        proptest::prop_assert_eq!(made_of(&pieces), made_of(&[&octets]));
    }
}
