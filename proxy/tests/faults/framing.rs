//! What frames and addresses a message of HTTP/1: decided by what was understood of it, and written
//! anew for each hop (RFC 9110 sections 6.5.1, 7.6.1 and 8.6, RFC 9112 sections 3.2, 6 and 7.1).

use crate::case::{
    Case, GET, HTTP1_GET, HTTP1_OK, HTTP2_GET,
    Step::{Bytes, Close},
};

const BODY: &str = "body: GET /admin HTTP/1.1\r\nHost: x\r\n\r\n";

/// `Connection` lists what is no affair of one connection.
pub(crate) const CONNECTION_NAMES: &[Case] = &[
    Case {
        name: "Connection names the length of a request",
        clients: &[
            &[Bytes(
                "POST /a HTTP/1.1\r\nHost: x\r\nConnection: content-length\r\nContent-Length: 32\r\n\r\n\
                 GET /admin HTTP/1.1\r\nHost: x\r\n\r\n",
            )],
            &[Bytes(
                "POST /a HTTP/1.1\r\nHost: x\r\nConnection: keep-alive,\t CONTENT-Length ,x-a\r\n\
                 X-A: 1\r\nConnection: Host\r\nContent-Length: 32\r\n\r\n\
                 GET /admin HTTP/1.1\r\nHost: x\r\n\r\n",
            )],
        ],
        client_sees: &[&["200", "whole"]],
        endpoint_sees: &[&[
            "POST /a",
            "host: x",
            "content-length: 32",
            "!x-a",
            BODY,
            "whole",
        ]],
        ..Case::PLAIN
    },
    Case {
        name: "Connection names the chunks of a request",
        clients: &[&[Bytes(
            "POST /a HTTP/1.1\r\nHost: x\r\nConnection: Transfer-Encoding, host\r\n\
             Transfer-Encoding: chunked\r\n\r\n20\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n\r\n0\r\n\r\n",
        )]],
        client_sees: &[&["200", "whole"]],
        endpoint_sees: &[&["POST /a", "host: x", BODY, "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "Connection names what is meant for all recipients",
        clients: &[&[Bytes(
            "GET / HTTP/1.1\r\nHost: x\r\n\
             Connection: authorization, cookie, cache-control, x-forwarded-for, x-hop\r\n\
             Authorization: a\r\nCookie: c\r\nCache-Control: no-store\r\nX-Forwarded-For: 1.1.1.1\r\n\
             X-Hop: 1\r\n\r\n",
        )]],
        endpoint_sees: &[&[
            "authorization: a",
            "cookie: c",
            "cache-control: no-store",
            "x-forwarded-for: 1.1.1.1",
            "!x-hop",
        ]],
        ..Case::PLAIN
    },
    Case {
        name: "Connection names the length of a response",
        clients: GET,
        endpoints: &[
            &[Bytes(
                "HTTP/1.1 200 OK\r\nConnection: content-length, set-cookie, x-a\r\nX-A: 1\r\n\
                 Set-Cookie: s\r\nContent-Length: 2\r\n\r\nok",
            )],
            &[Bytes(
                "HTTP/1.1 200 OK\r\nConnection: transfer-encoding\r\nConnection: x-a, set-cookie\r\n\
                 X-A: 1\r\nSet-Cookie: s\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            )],
        ],
        client_sees: &[&["200", "set-cookie: s", "!x-a", "body: ok", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "Connection names a trailer",
        clients: &[&[Bytes(
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: x-hop\r\nTransfer-Encoding: chunked\r\n\r\n\
             1\r\na\r\n0\r\nX-Hop: 1\r\nX-T: 1\r\n\r\n",
        )]],
        endpoint_sees: &[&["body: a", "trailer x-t: 1", "!trailer x-hop", "whole"]],
        ..Case::PLAIN
    },
];

/// Chunks and lengths that say in more than one way where a message ends.
pub(crate) const LENGTHS: &[Case] = &[
    Case {
        name: "a chunk size with something in it",
        clients: &[
            &[Bytes(
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1 1\r\na\r\n0\r\n\r\n",
            )],
            &[Bytes(
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
            )],
            &[Bytes(
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
            )],
            &[Bytes(
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n",
            )],
        ],
        client_sees: &[&["400", "connection: close", "whole"]],
        endpoint_sees: &[&["nothing"], &["!body", "!whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "a trailer without a name",
        clients: &[
            &[Bytes(
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX T: 1\r\n\r\n",
            )],
            &[Bytes(
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T: 1\r\n y\r\n\r\n",
            )],
            &[Bytes(
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T : 1\r\n\r\n",
            )],
        ],
        client_sees: &[&["400", "connection: close", "whole"]],
        endpoint_sees: &[&["nothing"], &["!whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "what the grammar of chunks allows",
        clients: &[&[Bytes(
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
             0001 \t; x=\"y z\" ;z\r\na\r\n2  \r\nbc\r\n000;e\r\nX-T:  1 \r\n\r\n",
        )]],
        client_sees: &[&["200", "whole"]],
        endpoint_sees: &[&["body: abc", "trailer x-t: 1", "!~;", "!~0001", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "trailers that frame or route",
        clients: &[&[Bytes(
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\
             Content-Length: 9\r\nHost: evil\r\nX-T: 1\r\nTransfer-Encoding: chunked\r\n\
             Connection: x\r\nTE: x\r\nUpgrade: x\r\n\r\n",
        )]],
        endpoint_sees: &[&[
            "host: x",
            "body: a",
            "trailer x-t: 1",
            "!trailer content-length",
            "!trailer host",
            "!trailer t",
            "!trailer connection",
            "!trailer upgrade",
            "whole",
        ]],
        ..Case::PLAIN
    },
    Case {
        name: "a length twice in a request",
        clients: &[
            &[Bytes(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
            )],
            &[Bytes(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2 , 2\r\n\r\nab",
            )],
            &[Bytes(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 002\r\n\r\nab",
            )],
        ],
        endpoint_sees: &[&[
            "content-length: 2",
            "!~2\r\nContent-Length",
            "body: ab",
            "whole",
        ]],
        ..Case::PLAIN
    },
    Case {
        name: "a length twice in a response",
        clients: GET,
        endpoints: &[
            &[Bytes(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
            )],
            &[Bytes("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok")],
        ],
        client_sees: &[&["200", "content-length: 2", "body: ok", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "two lengths, or a length and chunks",
        clients: &[
            &[Bytes(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
            )],
            &[Bytes(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            )],
        ],
        client_sees: &[&["400", "connection: close", "whole"]],
        endpoint_sees: &[&["nothing"]],
        ..Case::PLAIN
    },
    Case {
        name: "a response with a chunk size that has something in it",
        clients: GET,
        endpoints: &[&[Bytes(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2 2\r\nok\r\n0\r\n\r\n",
        )]],
        client_sees: &[
            &["200", "!~2 2", "!whole"],
            &["502"],
            &["reset 1"],
            &["!whole", "!2"],
        ],
        ..Case::PLAIN
    },
    Case {
        name: "framing where there is no body",
        clients: HTTP1_GET,
        endpoints: &[
            &[Bytes(
                "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\nX-A: 1\r\n\r\n",
            )],
            &[Bytes(
                "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n",
            )],
        ],
        client_sees: &[&[
            "204",
            "x-a: 1",
            "!content-length",
            "!transfer-encoding",
            "whole",
        ]],
        ..Case::PLAIN
    },
    Case {
        name: "chunks where there is no body",
        clients: HTTP1_GET,
        endpoints: &[&[Bytes(
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\nETag: \"x\"\r\n\r\n",
        )]],
        client_sees: &[&["304", "etag: \"x\"", "!transfer-encoding", "whole"]],
        ..Case::PLAIN
    },
];

/// Start lines and hosts.
pub(crate) const START_LINES: &[Case] = &[
    Case {
        name: "a status below 100",
        endpoints: &[&[Bytes("HTTP/1.1 099 X\r\nContent-Length: 2\r\n\r\nok")]],
        client_sees: &[&["502"]],
        ..Case::PLAIN
    },
    Case {
        name: "a status line without a reason",
        clients: HTTP1_GET,
        endpoints: &[&[Bytes("HTTP/1.0 200\r\nContent-Length: 2\r\n\r\nok")]],
        client_sees: &[&["200", "~HTTP/1.1 200 \r\n", "body: ok", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "a switch that nobody asked for",
        endpoints: &[&[Bytes(
            "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        )]],
        client_sees: &[&["502"]],
        ..Case::PLAIN
    },
    Case {
        name: "a host or a target that is none",
        clients: &[
            &[Bytes("GET / HTTP/1.1\r\nHost: x/y\r\n\r\n")],
            &[Bytes("GET / HTTP/1.1\r\nHost: u:p@x\r\n\r\n")],
            &[Bytes("GET / HTTP/1.1\r\nHost: x y\r\n\r\n")],
            &[Bytes("GET /a#frag HTTP/1.1\r\nHost: x\r\n\r\n")],
            &[Bytes("GET http://x/a#frag HTTP/1.1\r\nHost: x\r\n\r\n")],
            &[Bytes("GET http://u@x/ HTTP/1.1\r\nHost: x\r\n\r\n")],
            &[Bytes("GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n")],
            &[Bytes("GET http://x/ HTTP/1.1\r\nHost: x/y\r\n\r\n")],
            &[Bytes("GET * HTTP/1.1\r\nHost: x\r\n\r\n")],
            &[Bytes("GET / HTTP/1.1\r\n\r\n")],
            &[Bytes("CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n")],
        ],
        client_sees: &[&["400", "connection: close", "whole"]],
        endpoint_sees: &[&["nothing"]],
        ..Case::PLAIN
    },
    Case {
        name: "a target in absolute form",
        clients: &[
            &[Bytes("GET http://x:80/a?b HTTP/1.1\r\nHost: other\r\n\r\n")],
            &[Bytes("GET HTTP://x:80/a?b HTTP/1.1\r\nHost: x:80\r\n\r\n")],
        ],
        endpoint_sees: &[&["GET /a?b", "host: x:80", "!~other", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "a tunnel that no route takes",
        clients: &[&[Bytes(
            "CONNECT db.example:443 HTTP/1.1\r\nHost: db.example:443\r\n\r\nhello",
        )]],
        client_sees: &[&["404", "connection: close", "whole"]],
        endpoint_sees: &[&["nothing"]],
        ..Case::PLAIN
    },
];

/// What is not changed stays as it came.
pub(crate) const UNCHANGED: &[Case] = &[Case {
    name: "the case of names",
    manager: ", http_protocol_options: { header_key_format: { stateful_formatter: { \
        name: preserve_case, typed_config: { \"@type\": type.googleapis.com/\
        envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig } } } }",
    clients: &[&[Bytes(
        "POST / HTTP/1.1\r\nHOST: x\r\nX-MiXed:  1\r\nCONTENT-length: 1\r\n\r\na",
    )]],
    endpoints: &[&[Bytes(
        "HTTP/1.1 299 My Own\r\nX-OTHER: \t2\r\nContent-LENGTH: 2\r\n\r\nok",
    )]],
    client_sees: &[&[
        "~HTTP/1.1 299 My Own\r\nX-OTHER: \t2\r\nContent-LENGTH: 2\r\n",
        "body: ok",
    ]],
    endpoint_sees: &[&[
        "~\r\nHOST: x\r\nX-MiXed:  1\r\nCONTENT-length: 1\r\n",
        "body: a",
    ]],
    ..Case::PLAIN
}];

/// `Upgrade` is of one connection, as are interim responses' fields.
pub(crate) const UPGRADES: &[Case] = &[
    Case {
        name: "Upgrade in a response that does not switch",
        clients: GET,
        endpoints: &[&[Bytes(
            "HTTP/1.1 200 OK\r\nUpgrade: h2,h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok",
        )]],
        client_sees: &[&["200", "!upgrade", "!connection", "body: ok", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "Upgrade in a response that asks for it",
        clients: HTTP1_GET,
        endpoints: &[&[Bytes(
            "HTTP/1.1 426 Upgrade Required\r\nUpgrade: h2,h2c\r\nConnection: Upgrade\r\n\
             Content-Length: 2\r\n\r\nok",
        )]],
        client_sees: &[&[
            "426",
            "upgrade: h2,h2c",
            "connection: Upgrade",
            "body: ok",
            "whole",
        ]],
        ..Case::PLAIN
    },
    Case {
        name: "Upgrade in a response that asks for it and closes",
        clients: HTTP1_GET,
        endpoints: &[&[
            Bytes("HTTP/1.1 426 Upgrade Required\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nok"),
            Close,
        ]],
        client_sees: &[&[
            "426",
            "upgrade: h2c",
            "connection: Upgrade, close",
            "body: ok",
        ]],
        ..Case::PLAIN
    },
    Case {
        name: "Upgrade in a request without its option",
        clients: &[
            &[Bytes(
                "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
            )],
            &[Bytes(
                "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                 HTTP2-Settings: AAMAAABk\r\n\r\n",
            )],
        ],
        manager: ", upgrade_configs: [ { upgrade_type: websocket } ]",
        client_sees: &[&["200"]],
        endpoint_sees: &[&["!upgrade", "!connection", "!http2-settings", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "more upgrades than the one that is allowed",
        clients: &[&[Bytes(
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n",
        )]],
        manager: ", upgrade_configs: [ { upgrade_type: websocket } ]",
        client_sees: &[&["403", "connection: close"]],
        endpoint_sees: &[&["nothing"]],
        ..Case::PLAIN
    },
    Case {
        name: "fields of the connection in an interim response",
        clients: HTTP1_GET,
        endpoints: &[&[Bytes(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x-hop\r\nX-Hop: 1\r\n\
             Content-Length: 4\r\nUpgrade: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        )]],
        client_sees: &[&[
            "103",
            "link: </a>",
            "!x-hop",
            "!connection",
            "!upgrade",
            "!content-length: 4",
            "---",
            "200",
            "body: ok",
            "whole",
        ]],
        ..Case::PLAIN
    },
    Case {
        name: "what a client takes",
        clients: &[
            &[Bytes(
                "GET / HTTP/1.1\r\nHost: x\r\nTE: gzip, trailers;q=0.5\r\n\r\n",
            )],
            &[Bytes(
                "GET / HTTP/1.1\r\nHost: x\r\nConnection: te\r\nTE: gzip\r\nTE: Trailers\r\n\r\n",
            )],
        ],
        endpoints: HTTP1_OK,
        endpoint_sees: &[&["te: trailers", "!~gzip"]],
        ..Case::PLAIN
    },
];

/// What a proxy adds to, or does not take from a client.
pub(crate) const EDGE: &[Case] = &[
    Case {
        name: "X-Forwarded-For in several lines",
        manager: ", use_remote_address: true",
        clients: &[&[Bytes(
            "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 9.9.9.9\r\nX-A: 1\r\n\
             X-Forwarded-For: 8.8.8.8, 7.7.7.7\r\n\r\n",
        )]],
        endpoint_sees: &[&["x-forwarded-for: 9.9.9.9,8.8.8.8, 7.7.7.7,127.0.0.1"]],
        ..Case::PLAIN
    },
    Case {
        name: "what a client cannot know",
        manager: ", use_remote_address: true",
        clients: &[&[Bytes(
            "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\nX-Envoy-Internal: true\r\n\
                 X-Envoy-Max-Retries: 9\r\nx-envoy-retry-on: 5xx\r\nX-Envoy-Expected-Rq-Timeout-Ms: 1\r\n\
                 X-Envoy-External-Address: 1.2.3.4\r\nX-Forwarded-Client-Cert: x\r\n\
                 X-Envoy-Original-Path: /a\r\nX-Envoy-Custom: 1\r\n\r\n",
        )]],
        endpoint_sees: &[&[
            "x-forwarded-proto: http",
            "x-envoy-external-address: 127.0.0.1",
            "!x-envoy-external-address: 1.2.3.4",
            "x-envoy-expected-rq-timeout-ms: 15000",
            "!x-envoy-expected-rq-timeout-ms: 1\r",
            "!x-envoy-internal",
            "!x-envoy-max-retries",
            "!x-envoy-retry-on",
            "!x-envoy-original-path",
            "!x-forwarded-client-cert",
            "x-envoy-custom: 1",
        ]],
        ..Case::PLAIN
    },
    Case {
        name: "via in what the proxy answers itself",
        manager: ", via: mesh",
        clients: &[
            &[Bytes("GET / HTTP/1.1\r\nHost: x/y\r\n\r\n")],
            &[Bytes("CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n")],
        ],
        client_sees: &[&["via: mesh", "400"], &["via: mesh", "404"]],
        ..Case::PLAIN
    },
    Case {
        name: "a head that is larger than allowed",
        manager: ", max_request_headers_kb: 1",
        clients: &[&[Bytes(concat!(
            "GET / HTTP/1.1\r\nHost: x\r\nX-A: ",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789",
            "\r\n\r\n",
        ))]],
        client_sees: &[&["431", "connection: close"]],
        endpoint_sees: &[&["nothing"]],
        ..Case::PLAIN
    },
    Case {
        name: "an open circuit breaker",
        cluster: ", circuit_breakers: { thresholds: [ { max_requests: 0 } ] }",
        clients: &[HTTP1_GET[0], HTTP2_GET[0]],
        client_sees: &[&["503", "x-envoy-overloaded: true", "whole"]],
        endpoint_sees: &[&["nothing"]],
        ..Case::PLAIN
    },
];
