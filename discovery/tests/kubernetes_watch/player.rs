//! An API server that plays a recording: HTTP/1.1 over pipes in memory, so that tests may wind the
//! clock.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use hyper::{Request, Response, body::Incoming, header};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::Notify,
};

use super::recording::{Exchange, Recording, Step};

const PATHS: [(&str, &str); 15] = [
    ("Service", "/api/v1/services"),
    ("EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices"),
    ("Pod", "/api/v1/pods"),
    ("Node", "/api/v1/nodes"),
    (
        "PeerAuthentication",
        "/apis/security.istio.io/v1/peerauthentications",
    ),
    (
        "AuthorizationPolicy",
        "/apis/security.istio.io/v1/authorizationpolicies",
    ),
    (
        "RequestAuthentication",
        "/apis/security.istio.io/v1/requestauthentications",
    ),
    ("HTTPRoute", "/apis/gateway.networking.k8s.io/v1/httproutes"),
    ("GRPCRoute", "/apis/gateway.networking.k8s.io/v1/grpcroutes"),
    (
        "ReferenceGrant",
        "/apis/gateway.networking.k8s.io/v1beta1/referencegrants",
    ),
    (
        "DestinationRule",
        "/apis/networking.istio.io/v1/destinationrules",
    ),
    (
        "VirtualService",
        "/apis/networking.istio.io/v1/virtualservices",
    ),
    (
        "ServiceEntry",
        "/apis/networking.istio.io/v1/serviceentries",
    ),
    (
        "WorkloadEntry",
        "/apis/networking.istio.io/v1/workloadentries",
    ),
    ("Sidecar", "/apis/networking.istio.io/v1/sidecars"),
];
const END_OF_LIST: &str = r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"1","annotations":{"k8s.io/initial-events-end":"true"}}}}"#;

/// Plays a recording to whoever asks.
#[derive(Clone)]
pub(crate) struct Player(Arc<State>);

struct State {
    path: &'static str,
    /// What lists of the other kinds say; nothing if left out.
    lists: BTreeMap<&'static str, Vec<Step>>,
    exchanges: Mutex<VecDeque<Exchange>>,
    unexpected: Mutex<Vec<String>>,
    played: Notify,
}

impl Player {
    pub(crate) fn new(recording: Recording) -> Self {
        Self(Arc::new(State {
            path: path(&recording.kind).expect("a kind that is watched"),
            lists: BTreeMap::new(),
            exchanges: Mutex::new(recording.exchanges),
            unexpected: Mutex::default(),
            played: Notify::new(),
        }))
    }

    /// A server that has these objects, by kind, and where nothing happens.
    pub(crate) fn with_objects(objects: &[(String, String)]) -> Self {
        let mut lists: BTreeMap<_, Vec<Step>> = BTreeMap::new();
        for (kind, object) in objects {
            if let Some(path) = path(kind) {
                let line = format!(r#"{{"type":"ADDED","object":{object}}}"#);
                lists.entry(path).or_default().push(Step::Line(line));
            }
        }
        Self(Arc::new(State {
            path: "/none",
            lists,
            exchanges: Mutex::default(),
            unexpected: Mutex::default(),
            played: Notify::new(),
        }))
    }

    /// A client of this server.
    pub(crate) fn client(&self) -> Client {
        let player = self.clone();
        let service = tower::service_fn(move |request| player.clone().serve(request));
        Client::new(service, "default")
    }

    /// Until the last answer was given.
    pub(crate) async fn played(&mut self) {
        self.0.played.notified().await;
    }

    pub(crate) fn unexpected(&self) -> Vec<String> {
        self.0.unexpected.lock().expect("lock").clone()
    }

    pub(crate) fn to_come(&self) -> Vec<String> {
        let exchanges = self.0.exchanges.lock().expect("lock");
        exchanges.iter().map(|it| it.request.clone()).collect()
    }

    async fn serve(self, mut request: Request<Body>) -> Result<Response<Incoming>, hyper::Error> {
        let host = header::HeaderValue::from_static("api");
        request.headers_mut().insert(header::HOST, host);
        let (near, far) = duplex(64 << 10);
        tokio::spawn(self.connection(far));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(near)).await?;
        tokio::spawn(connection);
        sender.send_request(request).await
    }

    /// One request, one answer.
    async fn connection(self, mut pipe: DuplexStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(pipe.read_u8().await.expect("a request"));
        }
        let head = String::from_utf8(head).expect("text");
        let target = head.split(' ').nth(1).expect("a target");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path != self.0.path {
            let mut list = self.0.lists.get(path).cloned().unwrap_or_default();
            list.extend([Step::Line(END_OF_LIST.to_owned()), Step::Stay]);
            let _ = say(&mut pipe, &list, || ()).await;
            return;
        }
        let request = describe(query);
        let exchange = {
            let mut exchanges = self.0.exchanges.lock().expect("lock");
            match exchanges.front() {
                Some(next) if next.request == request => exchanges.pop_front(),
                _ => None,
            }
        };
        let Some(exchange) = exchange else {
            let unexpected = format!("{request} ({query})");
            self.0.unexpected.lock().expect("lock").push(unexpected);
            self.0.played.notify_one();
            return;
        };
        let last = self.0.exchanges.lock().expect("lock").is_empty();
        let silent = || {
            if last {
                self.0.played.notify_one();
            }
        };
        let _ = say(&mut pipe, &exchange.answer, silent).await;
        silent();
    }
}

fn path(kind: &str) -> Option<&'static str> {
    let mut paths = PATHS.iter().filter(|(it, _)| *it == kind);
    paths.next().map(|(_, path)| *path)
}

/// A request in the words of recordings.
fn describe(query: &str) -> String {
    let value = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut values = pairs.filter(|(key, _)| *key == name);
        values.next().map(|(_, value)| value.to_owned())
    };
    match (
        value("watch"),
        value("sendInitialEvents"),
        value("continue"),
    ) {
        (Some(_), Some(_), _) => "stream".to_owned(),
        (Some(_), None, _) => format!("watch {}", value("resourceVersion").unwrap_or_default()),
        (None, _, Some(token)) => format!("list {token}"),
        (None, _, None) => "list".to_owned(),
    }
}

/// Says all of it, and that it is silent from then on. `None` once the connection is of no use any
/// more.
async fn say(pipe: &mut DuplexStream, steps: &[Step], silent: impl Fn()) -> Option<()> {
    if let Some(Step::Refuse {
        code,
        retry_after,
        body,
    }) = steps.first()
    {
        let retry_after = retry_after.as_ref();
        let retry_after = retry_after.map(|it| format!("retry-after: {it}\r\n"));
        let retry_after = retry_after.unwrap_or_default();
        let length = body.len();
        let text =
            format!("HTTP/1.1 {code} No\r\n{retry_after}content-length: {length}\r\n\r\n{body}");
        return pipe.write_all(text.as_bytes()).await.ok();
    }
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    pipe.write_all(head).await.ok()?;
    for step in steps {
        match step {
            Step::Line(line) => chunk(pipe, &format!("{line}\n")).await?,
            Step::Pause(time) => tokio::time::sleep(*time).await,
            Step::Cut(piece) => {
                chunk(pipe, piece).await?;
                return None;
            }
            Step::Stay => {
                silent();
                std::future::pending::<()>().await;
            }
            Step::Refuse { .. } => panic!("an error comes alone"),
        }
    }
    pipe.write_all(b"0\r\n\r\n").await.ok()
}

async fn chunk(pipe: &mut DuplexStream, text: &str) -> Option<()> {
    let text = format!("{:x}\r\n{text}\r\n", text.len());
    pipe.write_all(text.as_bytes()).await.ok()
}
