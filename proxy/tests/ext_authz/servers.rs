//! The authorization servers and the endpoint. What they do is in the path that they are asked about.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_stream::wrappers::TcpListenerStream;
use weir_api::xds::{
    envoy::{
        config::core::v3::{
            HeaderValue, HeaderValueOption, QueryParameter, address::Address,
            header_value_option::HeaderAppendAction, socket_address::PortSpecifier,
        },
        service::auth::v3::{
            CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
            attribute_context::Peer,
            authorization_server::{Authorization, AuthorizationServer},
            check_response::HttpResponse,
        },
        r#type::v3::HttpStatus,
    },
    google::{
        protobuf::{BoolValue, Struct, Value, value::Kind},
        rpc,
    },
    tonic::{self, Request, Response, Status, transport::Server},
};

/// What differs from run to run.
const VARYING: [&str; 2] = ["x-request-id", "date"];

/// The servers, and what they were asked since somebody looked.
pub(super) struct Servers {
    pub(super) grpc: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) endpoint: SocketAddr,
    asked: Asked,
    _runtime: Runtime,
}

type Asked = Arc<Mutex<Vec<String>>>;

struct Authorizer(Asked);

impl Servers {
    pub(super) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let asked = Asked::default();
        let bind = || {
            runtime
                .block_on(TcpListener::bind("127.0.0.1:0"))
                .expect("a port")
        };
        let [grpc, http, endpoint] = [bind(), bind(), bind()];
        let at = |listener: &TcpListener| listener.local_addr().expect("bound");
        let servers = (at(&grpc), at(&http), at(&endpoint));
        let authorizer = AuthorizationServer::new(Authorizer(Arc::clone(&asked)));
        let server = Server::builder().add_service(authorizer);
        runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(grpc)));
        runtime.spawn(serve(http, Some(Arc::clone(&asked))));
        runtime.spawn(serve(endpoint, None));
        Self {
            grpc: servers.0,
            http: servers.1,
            endpoint: servers.2,
            asked,
            _runtime: runtime,
        }
    }

    /// What the authorization servers were asked since the last time.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("no panic"))
    }
}

#[tonic::async_trait]
impl Authorization for Authorizer {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut lines = described(&request);
        for name in ["x-initial", "grpc-timeout"] {
            if let Some(value) = metadata.get(name) {
                lines.push(format!("metadata {name}: {value:?}"));
            }
        }
        self.0.lock().expect("no panic").extend(lines);
        let http = request.attributes.and_then(|it| it.request?.http);
        let path = http.unwrap_or_default().path;
        if path.starts_with("/sleep") {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        answer(&path).map(Response::new)
    }
}

/// A question in lines.
fn described(request: &CheckRequest) -> Vec<String> {
    let attributes = request.attributes.clone().unwrap_or_default();
    let peer = |name: &str, peer: Option<Peer>| {
        let peer = peer.unwrap_or_default();
        let address = peer.address.and_then(|it| it.address);
        let address = match address {
            Some(Address::SocketAddress(it)) => {
                let has_port = matches!(it.port_specifier, Some(PortSpecifier::PortValue(1..)));
                format!("{} {:?} {has_port}", it.address, it.protocol)
            }
            other => format!("{other:?}"),
        };
        let Peer {
            service,
            labels,
            principal,
            certificate,
            ..
        } = peer;
        format!("{name}: {address} {service:?} {labels:?} {principal:?} {certificate:?}")
    };
    let request = attributes.request.unwrap_or_default();
    let http = request.http.unwrap_or_default();
    let sorted = |it: &std::collections::HashMap<String, String>| {
        it.iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect::<BTreeMap<_, _>>()
    };
    let mut headers = sorted(&http.headers);
    VARYING.iter().for_each(|name| drop(headers.remove(*name)));
    let metadata = |name: &str, it: Option<weir_api::xds::envoy::config::core::v3::Metadata>| {
        let namespaces = it.unwrap_or_default().filter_metadata.into_iter();
        let fields = namespaces
            .map(|(namespace, it)| (namespace, it.fields.into_iter().collect::<BTreeMap<_, _>>()));
        let fields = fields.collect::<BTreeMap<_, _>>();
        format!("{name}: {fields:?}")
    };
    let mut raw: Vec<_> = http.header_map.iter().flat_map(|it| &it.headers).collect();
    raw.retain(|it| !VARYING.contains(&&*it.key));
    let mut raw: Vec<String> = raw.into_iter().map(|it| format!("{it:?}")).collect();
    raw.sort();
    vec![
        peer("source", attributes.source),
        peer("destination", attributes.destination),
        format!(
            "time {}, id {}",
            request.time.is_some(),
            !http.id.is_empty()
        ),
        format!(
            "{} {} {} {} {} size {}",
            http.method, http.scheme, http.host, http.path, http.protocol, http.size
        ),
        format!("query {:?} fragment {:?}", http.query, http.fragment),
        format!("body {:?} raw {:?}", http.body, http.raw_body),
        format!("headers {headers:?}"),
        format!("raw headers {raw:?}"),
        format!("extensions {:?}", sorted(&attributes.context_extensions)),
        metadata("metadata", attributes.metadata_context),
        metadata("route metadata", attributes.route_metadata_context),
        format!("tls {:?}", attributes.tls_session),
    ]
}

fn header(key: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: key.to_owned(),
            value: value.to_owned(),
            ..HeaderValue::default()
        }),
        ..HeaderValueOption::default()
    }
}

#[allow(deprecated, reason = "it is what servers say")]
fn appended(key: &str, value: &str, append: bool) -> HeaderValueOption {
    HeaderValueOption {
        append: Some(BoolValue { value: append }),
        ..header(key, value)
    }
}

fn acted(key: &str, value: &str, action: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        append_action: action.into(),
        ..header(key, value)
    }
}

fn metadata() -> Struct {
    let value = Value {
        kind: Some(Kind::StringValue("said".to_owned())),
    };
    Struct {
        fields: [("who".to_owned(), value)].into(),
    }
}

fn answer(path: &str) -> Result<CheckResponse, Status> {
    let response = |code, http| CheckResponse {
        status: Some(rpc::Status {
            code,
            ..rpc::Status::default()
        }),
        http_response: http,
        dynamic_metadata: None,
    };
    let ok = |ok| response(0, Some(HttpResponse::OkResponse(ok)));
    use HeaderAppendAction::{
        AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd,
    };
    let actions = || {
        ["own", "new"].into_iter().flat_map(|name| {
            [
                acted(&format!("x-{name}-append"), "1", AppendIfExistsOrAdd),
                acted(&format!("x-{name}-absent"), "1", AddIfAbsent),
                acted(&format!("x-{name}-over"), "1", OverwriteIfExistsOrAdd),
                acted(&format!("x-{name}-only"), "1", OverwriteIfExists),
            ]
        })
    };
    let name = path.split('?').next().unwrap_or_default();
    Ok(match name {
        "/plain" => response(0, None),
        "/headers" => ok(OkHttpResponse {
            headers: vec![
                header("x-own", "theirs"),
                header("X-New", "theirs"),
                appended("x-more", "theirs", true),
                appended("x-none", "theirs", true),
                appended("x-set", "theirs", false),
                header("x-envoy-mine", "1"),
                header(":path", "/elsewhere?a=b"),
            ],
            headers_to_remove: vec!["x-gone".to_owned(), "host".to_owned(), ":path".to_owned()],
            response_headers_to_add: vec![header("x-back", "1"), appended("x-got", "2", false)],
            ..OkHttpResponse::default()
        }),
        "/actions" => ok(OkHttpResponse {
            headers: actions().collect(),
            ..OkHttpResponse::default()
        }),
        "/back" => ok(OkHttpResponse {
            response_headers_to_add: actions().collect(),
            ..OkHttpResponse::default()
        }),
        "/query" => ok(OkHttpResponse {
            query_parameters_to_set: [("a", "9"), ("new", "x%20y")]
                .map(|(key, value)| QueryParameter {
                    key: key.to_owned(),
                    value: value.to_owned(),
                })
                .into(),
            query_parameters_to_remove: vec!["gone".to_owned()],
            ..OkHttpResponse::default()
        }),
        "/odd" => ok(OkHttpResponse {
            headers: vec![header("x-odd", "a\r\nb: c")],
            ..OkHttpResponse::default()
        }),
        "/said" => CheckResponse {
            dynamic_metadata: Some(metadata()),
            ..response(0, None)
        },
        "/denied" => response(
            16,
            Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
                status: Some(HttpStatus { code: 401 }),
                headers: vec![
                    header("www-authenticate", "Basic"),
                    header("content-type", "application/json"),
                    appended("set-cookie", "a", true),
                    appended("set-cookie", "b", true),
                ],
                body: "{\"no\": true}".to_owned(),
            })),
        ),
        "/error" => response(
            13,
            Some(HttpResponse::ErrorResponse(DeniedHttpResponse {
                status: Some(HttpStatus { code: 502 }),
                headers: vec![header("x-why", "broken")],
                body: "broken".to_owned(),
            })),
        ),
        "/failed" => return Err(Status::unavailable("later")),
        _ => response(7, None),
    })
}

/// A server of HTTP/1, which says in the body what it got.
async fn serve(listener: TcpListener, asked: Option<Asked>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, asked.clone()));
    }
}

async fn converse(mut stream: TcpStream, asked: Option<Asked>) {
    let mut read = Vec::new();
    loop {
        let Some(head_end) = read.windows(4).position(|it| it == b"\r\n\r\n") else {
            let mut more = [0; 4096];
            match stream.read(&mut more).await {
                Ok(0) | Err(_) => return,
                Ok(length) => read.extend_from_slice(&more[..length]),
            }
            continue;
        };
        let head = String::from_utf8_lossy(&read[..head_end]).into_owned();
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let mut headers: Vec<String> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| format!("{}: {}", name.to_lowercase(), value.trim()))
            .collect();
        let length = headers
            .iter()
            .find_map(|it| it.strip_prefix("content-length: "));
        let length: usize = length.and_then(|it| it.parse().ok()).unwrap_or(0);
        while read.len() < head_end + 4 + length {
            let mut more = [0; 4096];
            match stream.read(&mut more).await {
                Ok(0) | Err(_) => return,
                Ok(length) => read.extend_from_slice(&more[..length]),
            }
        }
        let body = String::from_utf8_lossy(&read[head_end + 4..head_end + 4 + length]).into_owned();
        read.drain(..head_end + 4 + length);
        headers.retain(|line| {
            !VARYING
                .iter()
                .any(|name| line.starts_with(&format!("{name}:")))
        });
        headers.sort();
        let seen = format!("{first} {headers:?} {body:?}");
        let answer = match &asked {
            None => format!(
                "HTTP/1.1 200 OK\r\nx-got: 1\r\nx-own-append: own\r\nx-own-absent: own\r\nx-own-over: own\r\n\
                 x-own-only: own\r\ncontent-length: {}\r\n\r\n{seen}",
                seen.len()
            ),
            Some(asked) => {
                asked.lock().expect("no panic").push(seen);
                let path = first.split(' ').nth(1).unwrap_or_default();
                if path.contains("/sleep") {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                }
                http_answer(path).to_owned()
            }
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn http_answer(path: &str) -> &'static str {
    match path.split('?').next().unwrap_or_default() {
        it if it.ends_with("/ok") => {
            "HTTP/1.1 200 OK\r\nx-own: theirs\r\nx-more: theirs\r\nx-back: 1\r\nx-said: 1\r\n\
             x-envoy-auth-headers-to-remove: x-gone, x-also-gone\r\ncontent-length: 2\r\n\r\nok"
        }
        it if it.ends_with("/denied") => {
            "HTTP/1.1 401 No\r\nwww-authenticate: Basic\r\nset-cookie: a\r\nset-cookie: b\r\nx-back: 1\r\n\
             content-type: text/html\r\ncontent-length: 4\r\n\r\nnone"
        }
        it if it.ends_with("/failed") => "HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\nnone",
        it if it.ends_with("/created") => "HTTP/1.1 201 No\r\ncontent-length: 4\r\n\r\nnone",
        _ => "HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n",
    }
}
