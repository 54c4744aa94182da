//! gRPC on calls.

use ::h2::{RecvStream, server::SendResponse};
use ::http::{HeaderMap, Request, Response};

use super::*;
use crate::{
    call::grpc::{ClientStream, GrpcError, Unary},
    config::{format::Format, service::GrpcService},
    format::NoValues,
    http::grpc::framed,
};

const HTTP2: &str = "typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
    \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
    explicit_http_config: { http2_protocol_options: {} } } },";
const METHOD: &str = "/weir.test.Service/Method";

type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

fn service() -> GrpcService {
    GrpcService {
        cluster: "c".to_owned(),
        authority: String::new(),
        timeout: Some(PATIENCE),
        initial_metadata: vec![("x-by".to_owned(), Format::literal("weir"))],
        max_receive_message_length: None,
    }
}

/// Accepts one connection and hands its streams over.
async fn serve(listener: TcpListener, streams: tokio::sync::mpsc::Sender<Accepted>) {
    let (stream, _) = listener.accept().await.expect("a connection");
    let mut connection = ::h2::server::handshake(stream).await.expect("HTTP/2");
    while let Some(Ok(accepted)) = connection.accept().await {
        streams.send(accepted).await.expect("asked for");
    }
}

fn server(listener: TcpListener) -> tokio::sync::mpsc::Receiver<Accepted> {
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    tokio::task::spawn_local(serve(listener, sender));
    receiver
}

async fn body_of(stream: &mut RecvStream) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data.expect("data");
        let _ = stream.flow_control().release_capacity(data.len());
        body.extend_from_slice(&data);
    }
    body
}

fn head(status: Option<&str>) -> Response<()> {
    let mut response = Response::builder().header("content-type", "application/grpc");
    if let Some(status) = status {
        response = response.header("grpc-status", status);
        response = response.header("grpc-message", "because");
    }
    response.body(()).expect("a response")
}

fn trailers(status: &str) -> HeaderMap {
    let status = ("grpc-status", status.parse().expect("a value"));
    HeaderMap::from_iter([(status.0.parse().expect("a name"), status.1)])
}

async fn call(clusters: &Rc<Clusters>) -> Result<Bytes, GrpcError> {
    let unary = Unary::new(&service(), METHOD, b"ask", PATIENCE, &NoValues);
    unary?.send(Rc::clone(clusters)).await
}

#[test]
fn a_message_goes_there_and_one_comes_back() {
    on_a_worker(async {
        let (listener, address) = listen().await;
        let clusters = clusters(address, HTTP2);
        let mut streams = server(listener);
        let serving = async {
            let (mut request, mut respond) = streams.recv().await.expect("a request");
            assert_eq!(request.uri().path(), METHOD);
            assert_eq!(
                request.uri().authority().map(http::uri::Authority::as_str),
                Some("c")
            );
            for (name, value) in [
                ("content-type", "application/grpc"),
                ("te", "trailers"),
                ("grpc-timeout", "60000m"),
                ("x-by", "weir"),
            ] {
                assert_eq!(request.headers()[name], value);
            }
            assert_eq!(body_of(request.body_mut()).await, framed(b"ask"));
            let mut body = respond.send_response(head(None), false).expect("sent");
            body.send_data(framed(b"answer"), false).expect("sent");
            body.send_trailers(trailers("0")).expect("sent");
        };
        let ((), answered) = tokio::join!(serving, call(&clusters));
        assert_eq!(answered.expect("a message"), "answer");
    });
}

#[test]
fn a_status_that_is_not_ok_is_an_error() {
    on_a_worker(async {
        let (listener, address) = listen().await;
        let clusters = clusters(address, HTTP2);
        let mut streams = server(listener);
        let serving = async {
            for answer in 0..4 {
                let (_request, mut respond) = streams.recv().await.expect("a request");
                match answer {
                    0 => drop(respond.send_response(head(Some("14")), true).expect("sent")),
                    1 => {
                        let mut body = respond.send_response(head(None), false).expect("sent");
                        body.send_trailers(trailers("7")).expect("sent");
                    }
                    2 => {
                        let mut response = head(None);
                        *response.status_mut() = ::http::StatusCode::SERVICE_UNAVAILABLE;
                        respond.send_response(response, true).expect("sent");
                    }
                    _ => {
                        let mut body = respond.send_response(head(None), false).expect("sent");
                        body.send_data("nonsense".into(), false).expect("sent");
                        body.send_trailers(trailers("0")).expect("sent");
                    }
                }
            }
        };
        let calls = async {
            let because = |code, text: &str| Some(GrpcError::Status(code, text.to_owned()));
            assert_eq!(call(&clusters).await.err(), because(14, "because"));
            assert_eq!(call(&clusters).await.err(), because(7, ""));
            assert_eq!(call(&clusters).await.err(), because(14, "HTTP status 503"));
            assert_eq!(call(&clusters).await.err(), Some(GrpcError::Malformed));
        };
        tokio::join!(serving, calls);
    });
}

#[test]
fn a_call_that_nobody_waits_for_resets_its_stream() {
    on_a_worker(async {
        let (listener, address) = listen().await;
        let clusters = clusters(address, HTTP2);
        let mut streams = server(listener);
        let (_request, mut respond) = tokio::select! {
            _ = call(&clusters) => panic!("nobody has answered"),
            accepted = streams.recv() => accepted.expect("a request"),
        };
        let reset = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
        assert_eq!(reset.expect("a reset"), ::h2::Reason::CANCEL);
    });
}

#[test]
fn messages_follow_each_other_on_a_stream() {
    on_a_worker(async {
        let (listener, address) = listen().await;
        let clusters = clusters(address, HTTP2);
        let mut streams = server(listener);
        // More than a window, so that it waits.
        let large = vec![b'x'; 200_000];
        let serving = async {
            let (mut request, mut respond) = streams.recv().await.expect("a request");
            let body = body_of(request.body_mut()).await;
            assert_eq!(body.len(), 5 + 1 + 5 + large.len());
            let mut body = respond.send_response(head(None), false).expect("sent");
            body.send_data(framed(b""), false).expect("sent");
            body.send_trailers(trailers("0")).expect("sent");
            // The next one is ended before its time.
            let (_request, mut respond) = streams.recv().await.expect("a request");
            respond.send_response(head(Some("13")), true).expect("sent");
        };
        let sending = async {
            let service = service();
            let open = || ClientStream::open(&clusters, &service, METHOD, &NoValues);
            let mut stream = open().await.expect("a stream");
            stream.send(b"a").await.expect("sent");
            stream.send(&large).await.expect("sent");
            stream.finish().await.expect("an end");
            let mut stream = open().await.expect("a stream");
            let ended = stream.ended().await.err();
            assert_eq!(ended, Some(GrpcError::Status(13, "because".to_owned())));
            assert!(stream.send(b"a").await.is_err());
        };
        tokio::join!(serving, sending);
    });
}
