//! Messages of HTTP/2 that are unusual, or none.

use crate::case::{
    Case, Fields, GET_FIELDS, HTTP2_OK, OK, Script,
    Step::{Cut, Data, Head, Heads, Last, LastData, On},
};

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/");
const AUTHORITY: (&str, &str) = (":authority", "h.example");
const POST: (&str, &str) = (":method", "POST");
/// Half a kilobyte.
const LONG: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const LARGE: Fields = &[
    METHOD,
    SCHEME,
    PATH,
    AUTHORITY,
    ("x-1", LONG),
    ("x-2", LONG),
    ("x-3", LONG),
    ("x-4", LONG),
    ("x-5", LONG),
    ("x-6", LONG),
];
/// What a client may be told of a request that is none.
const REFUSED: &[&[&str]] = &[&["no head", "reset 1"], &["400", "whole"]];

/// Where a request says it goes (RFC 9113 section 8.3.1).
pub(crate) const AUTHORITIES: &[Case] = &[
    Case {
        name: "host stands in for :authority",
        clients: &[&[Last(&[METHOD, SCHEME, PATH, ("host", "h.example")])]],
        client_sees: &[&["200", "body: ok", "whole"]],
        endpoint_sees: &[&["GET /", "host: h.example", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "requests that say none, two, or what is none",
        clients: &[
            &[Last(&[METHOD, SCHEME, PATH])],
            &[Last(&[METHOD, SCHEME, PATH, ("host", "a"), ("host", "b")])],
            &[Last(&[METHOD, SCHEME, PATH, ("host", "x/y")])],
            &[Last(&[METHOD, SCHEME, PATH, ("host", "u@x.example")])],
            &[Last(&[
                METHOD,
                SCHEME,
                PATH,
                (":authority", "u:p@x.example"),
            ])],
        ],
        client_sees: REFUSED,
        endpoint_sees: &[&["nothing"]],
        ..Case::PLAIN
    },
    Case {
        name: "CONNECT goes nowhere",
        clients: &[&[Head(&[
            (":method", "CONNECT"),
            (":authority", "db.example:443"),
        ])]],
        client_sees: &[&["403"], &["404"]],
        endpoint_sees: &[&["nothing"]],
        ..Case::PLAIN
    },
];

/// What belongs to no message, or to another.
pub(crate) const SECTIONS: &[Case] = &[
    Case {
        name: "a pseudo field in trailers",
        clients: &[&[
            Head(&[POST, SCHEME, PATH, AUTHORITY]),
            Data("abc"),
            Last(&[(":path", "/x")]),
        ]],
        client_sees: &[&["no head", "reset 1"], &["400"]],
        endpoint_sees: &[&["!whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "a length that is said twice",
        clients: &[&[
            Head(&[
                POST,
                SCHEME,
                PATH,
                AUTHORITY,
                ("content-length", "3"),
                ("content-length", "3"),
            ]),
            LastData("abc"),
        ]],
        endpoint_sees: &[&["nothing"], &["content-length: 3", "body: abc", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "switching protocols, which HTTP/2 does not have",
        endpoints: &[
            &[Last(&[(":status", "101")])],
            &[Head(&[(":status", "101")])],
        ],
        client_sees: &[&["502", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "an interim response",
        endpoints: &[
            &[
                Head(&[(":status", "103"), ("link", "</a>")]),
                Head(&[(":status", "200")]),
                LastData("ok"),
            ],
            &[crate::case::Step::Bytes(
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            )],
        ],
        client_sees: &[&["103", "link: </a>", "---", "200", "body: ok", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "a length where there is no body",
        endpoints: &[&[Last(&[(":status", "204"), ("content-length", "0")])]],
        client_sees: &[&["204", "!content-length", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "a request in few frames",
        clients: FEW_FRAMES,
        endpoints: OK,
        client_sees: &[&["200", "body: ok", "whole"]],
        endpoint_sees: &[&["GET /", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "a request in few frames beside a body",
        clients: &[&[
            Head(&[POST, SCHEME, PATH, AUTHORITY]),
            On(3),
            Cut(LARGE, 11),
            Heads(1),
            On(1),
            LastData("abc"),
        ]],
        endpoints: HTTP2_OK,
        client_sees: &[&["200", "body: ok", "whole", "---", "!reset"]],
        endpoint_sees: &[&["POST /", "body: abc", "---", "GET /", "whole"]],
        ..Case::PLAIN
    },
    Case {
        name: "a response in few frames",
        endpoints: &[&[Cut(
            &[
                (":status", "200"),
                ("x-1", LONG),
                ("x-2", LONG),
                ("x-3", LONG),
                ("x-4", LONG),
            ],
            11,
        )]],
        client_sees: &[&["200", "whole"]],
        ..Case::PLAIN
    },
];

const FEW_FRAMES: &[Script] = &[&[Cut(LARGE, 9)], &[Cut(LARGE, 11)], &[Cut(GET_FIELDS, 3)]];
