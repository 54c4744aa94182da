//! Messages that end in the middle. What came before an end is delivered before it, and the end is
//! never taken for that of a whole message.

use crate::case::{
    Case, Fields, GET, GET_FIELDS, HTTP2_GET, Script,
    Step::{AtHead, Bytes, Close, Data, GoAway, Head, Heads, LastData, Reset},
};

const STATUS: Fields = &[(":status", "200")];
const POST: Fields = &[
    (":method", "POST"),
    GET_FIELDS[1],
    GET_FIELDS[2],
    GET_FIELDS[3],
];

/// Resets, GOAWAY and closed connections behind a part of a message.
pub(crate) const CUT: &[Case] = &[
    Case {
        name: "a response, then RST_STREAM, for a client of HTTP/1",
        clients: &[GET[0]],
        endpoints: &[&[Head(STATUS), Data("part"), Reset(8)]],
        client_sees: &[&["200", "body: part", "cut"]],
        ..Case::PLAIN
    },
    Case {
        name: "a response, then RST_STREAM, for a client of HTTP/2",
        clients: HTTP2_GET,
        endpoints: &[&[Head(STATUS), Data("part"), Reset(8)]],
        client_sees: &[&["200", "body: part", "reset 8"]],
        ..Case::PLAIN
    },
    Case {
        name: "a response, then GOAWAY or the end of the connection",
        endpoints: &[
            &[Head(STATUS), Data("part"), GoAway(2), Close],
            &[Head(STATUS), Data("part"), Close],
            &[
                Bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"),
                Close,
            ],
            &[
                Bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"),
                Close,
            ],
        ],
        client_sees: &[&["200", "body: part", "!whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "a chunk that is none",
        endpoints: &[&[Bytes(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\nnone\r\n",
        )]],
        client_sees: &[&["200", "body: part", "!whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "a whole response, and no more is wanted of the request",
        clients: &[
            &[Bytes(
                "POST / HTTP/1.1\r\nHost: h.example\r\nContent-Length: 9\r\n\r\npart",
            )],
            &[Head(POST), Data("part")],
        ],
        endpoints: &[&[AtHead, Head(STATUS), LastData("ok"), Reset(0)]],
        client_sees: &[&["200", "body: ok", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "a request, then RST_STREAM, for an endpoint of HTTP/2",
        clients: RESET,
        endpoints: &[&[AtHead, Head(STATUS), Data("ok")]],
        endpoint_sees: &[&["POST /", "body: part", "reset 8"]],
        ..Case::PLAIN
    },
    Case {
        name: "a request, then RST_STREAM, for an endpoint of HTTP/1",
        clients: RESET,
        endpoints: &[&[
            AtHead,
            Bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"),
        ]],
        endpoint_sees: &[&["POST /", "body: part", "cut"]],
        ..Case::PLAIN
    },
];

/// Resets its request once that has been looked at: one that nobody has seen may be dropped.
const RESET: &[Script] = &[&[Head(POST), Data("part"), Heads(1), Reset(8)]];
