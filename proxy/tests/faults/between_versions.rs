//! What one version of HTTP has and the other has not.

use crate::case::{
    Case, GET_FIELDS, HTTP2_GET, HTTP2_OK,
    Step::{Bytes, Data, Head, Last},
};

/// Fields that are of one connection, in sections of fields that change their version (RFC 9113
/// section 8.2.2, RFC 9110 sections 6.5.1 and 7.6.1).
pub(crate) const CONNECTION_SPECIFIC: &[Case] = &[
    Case {
        name: "TE in a response",
        endpoints: &[&[Bytes(
            "HTTP/1.1 200 OK\r\nTE: x\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok",
        )]],
        client_sees: &[&["200", "x-a: 1", "body: ok", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "a response with all of them",
        clients: HTTP2_GET,
        endpoints: &[&[Bytes(
            "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-hop\r\nKeep-Alive: timeout=5\r\n\
             Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\
             TE: trailers\r\nX-Hop: 1\r\nX-A: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        )]],
        client_sees: &[&[
            "200",
            "x-a: 1",
            "!connection",
            "!keep-alive",
            "!proxy-connection",
            "!upgrade",
            "!transfer-encoding",
            "!te",
            "!x-hop",
            "body: ok",
            "whole",
        ]],
        ..Case::PLAIN
    },
    Case {
        name: "a response's trailers",
        clients: HTTP2_GET,
        endpoints: &[&[Bytes(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\
             Connection: close, x-hop\r\nX-Hop: 1\r\nTransfer-Encoding: gzip\r\nTE: x\r\n\
             Content-Length: 9\r\nUpgrade: h2c\r\nX-T: 1\r\n\r\n",
        )]],
        client_sees: &[&[
            "200",
            "body: ok",
            "trailer x-t: 1",
            "!trailer connection",
            "!trailer t",
            "!trailer content-length",
            "!trailer upgrade",
            "whole",
        ]],
        ..Case::PLAIN
    },
    Case {
        name: "nothing is left of a response's trailers",
        clients: HTTP2_GET,
        endpoints: &[&[Bytes(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\
             Connection: close\r\n\r\n",
        )]],
        client_sees: &[&["200", "body: ok", "!trailer", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "a request with all of them",
        clients: &[&[Bytes(
            "POST / HTTP/1.1\r\nHost: h.example\r\nConnection: keep-alive, x-hop, te\r\n\
             Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nX-Hop: 1\r\n\
             TE: deflate, trailers\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n0\r\n\r\n",
        )]],
        endpoints: HTTP2_OK,
        client_sees: &[&["200", "body: ok", "whole"]],
        endpoint_sees: &[&[
            "POST /",
            "host: h.example",
            "x-a: 1",
            "te: trailers",
            "!connection",
            "!keep-alive",
            "!proxy-connection",
            "!transfer-encoding",
            "!x-hop",
            "body: abc",
            "whole",
        ]],
        ..Case::PLAIN
    },
    Case {
        name: "a TE that HTTP/2 cannot say",
        clients: &[&[Bytes(
            "GET / HTTP/1.1\r\nHost: h.example\r\nTE: deflate;q=0.5\r\nConnection: TE\r\n\r\n",
        )]],
        endpoints: HTTP2_OK,
        client_sees: &[&["200", "body: ok", "whole"]],
        endpoint_sees: &[&["GET /", "!te", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "a request's trailers",
        clients: &[&[Bytes(
            "POST / HTTP/1.1\r\nHost: h.example\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n0\r\nConnection: x\r\nHost: evil\r\nX-T: 1\r\n\r\n",
        )]],
        endpoints: HTTP2_OK,
        client_sees: &[&["200", "body: ok", "whole"]],
        endpoint_sees: &[&[
            "POST /",
            "body: abc",
            "trailer x-t: 1",
            "!trailer connection",
            "!trailer host",
            "whole",
        ]],
        ..Case::PLAIN
    },
    Case {
        name: "a request of HTTP/2 with one of them is malformed",
        clients: &[
            &[Last(&[
                GET_FIELDS[0],
                GET_FIELDS[1],
                GET_FIELDS[2],
                GET_FIELDS[3],
                ("connection", "close"),
            ])],
            &[Last(&[
                GET_FIELDS[0],
                GET_FIELDS[1],
                GET_FIELDS[2],
                GET_FIELDS[3],
                ("te", "deflate"),
            ])],
        ],
        client_sees: &[&["no head", "reset 1"], &["400", "whole"]],
        endpoint_sees: &[&["nothing"]],
        ..Case::PLAIN
    },
    Case {
        name: "a response of HTTP/2 with one of them is malformed",
        endpoints: &[&[
            Head(&[(":status", "200"), ("transfer-encoding", "chunked")]),
            Data("ok"),
            Last(&[("x-t", "1")]),
        ]],
        client_sees: &[&["502"]],
        ..Case::PLAIN
    },
];
