//! An API server in this process, for tests: objects in a map, with resource versions, watches and
//! faults to order.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;

mod path;

use path::Path;

/// The server.
#[derive(Clone)]
pub(crate) struct FakeApi {
    state: Arc<Mutex<Objects>>,
    /// The resource version of the latest change.
    latest: watch::Sender<usize>,
}

#[derive(Default)]
struct Objects {
    by_path: BTreeMap<Path, Value>,
    /// Every change there was: its kind, where, and the object then.
    changes: Vec<(&'static str, Path, Value)>,
    /// Every write that was asked for, as `PATCH configmaps shop/weir-ca-root-cert`.
    writes: Vec<String>,
    /// Requests whose line begins so fail with this status.
    fault: Option<(String, u16)>,
}

// === impl FakeApi ===

impl FakeApi {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::default(),
            latest: watch::Sender::new(0),
        }
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        let router = Router::new().fallback(answer).with_state(self.clone());
        Client::new(router, "default")
    }

    /// Puts an object there, or in place of one, as somebody else would.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.store(Path::from(path), object);
    }

    /// Removes an object, as somebody else would.
    pub(crate) fn remove(&self, path: &str) {
        let path = Path::from(path);
        let object = self.lock().by_path.remove(&path).expect("is there");
        self.change("DELETED", path, object);
    }

    /// An object.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.lock().by_path.get(&Path::from(path)).cloned()
    }

    /// Writes that were asked for since the last call, as `PATCH configmaps shop/name`.
    pub(crate) fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().writes)
    }

    /// Lets requests whose line begins so fail, until told otherwise.
    pub(crate) fn fail(&self, fault: Option<(&str, u16)>) {
        self.lock().fault = fault.map(|(line, status)| (line.to_owned(), status));
    }

    /// Waits until an object is as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(Option<&Value>) -> bool) -> Value {
        let mut latest = self.latest.subscribe();
        loop {
            let object = self.get(path);
            if wanted(object.as_ref()) {
                return object.unwrap_or_default();
            }
            latest.changed().await.expect("the server lives");
        }
    }

    fn store(&self, path: Path, mut object: Value) -> Value {
        let is_new = !self.lock().by_path.contains_key(&path);
        object["metadata"]["name"] = path.name.clone().into();
        if let Some(namespace) = &path.namespace {
            object["metadata"]["namespace"] = namespace.clone().into();
        }
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-of-{}", path.name).into();
        }
        let kind = if is_new { "ADDED" } else { "MODIFIED" };
        self.change(kind, path, object)
    }

    fn change(&self, kind: &'static str, path: Path, mut object: Value) -> Value {
        let mut state = self.lock();
        let version = state.changes.len() + 1;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        if kind != "DELETED" {
            state.by_path.insert(path.clone(), object.clone());
        }
        state.changes.push((kind, path, object.clone()));
        drop(state);
        self.latest.send_replace(version);
        object
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.state.lock().expect("no panic")
    }

    fn write(&self, method: &Method, path: Path, body: Value) -> Result<Value, u16> {
        let old = self.lock().by_path.get(&path).cloned();
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        let stale = |old: &Value| !version(&body).is_null() && version(&body) != version(old);
        match (method.as_str(), old) {
            ("POST", Some(_)) => Err(409),
            ("POST" | "PATCH", None) if method == Method::POST || path.applied => {
                Ok(self.store(path, body))
            }
            ("PUT" | "PATCH", Some(old)) if stale(&old) => Err(409),
            ("PUT", Some(_)) => Ok(self.store(path, body)),
            ("PATCH", Some(old)) => {
                let mut new = old.clone();
                merge(&mut new, &body);
                // A write that changes nothing is no change.
                Ok(if new == old {
                    old
                } else {
                    self.store(path, new)
                })
            }
            _ => Err(404),
        }
    }

    fn list(&self, path: &Path) -> Value {
        let state = self.lock();
        let matching = state.by_path.iter().filter(|(at, _)| path.lists(at));
        let items: Vec<_> = matching.map(|(_, object)| object.clone()).collect();
        let version = state.changes.len().to_string();
        json!({"apiVersion": "v1", "kind": "List", "items": items,
               "metadata": {"resourceVersion": version}})
    }

    fn watch(&self, path: Path) -> Body {
        let from = path.version;
        let start = (self.clone(), self.latest.subscribe(), from, path);
        Body::from_stream(stream::unfold(
            start,
            |(api, mut latest, mut from, path)| async move {
                loop {
                    let next = api.lock().changes.get(from).cloned();
                    match next {
                        Some((kind, at, object)) => {
                            from += 1;
                            if path.lists(&at) {
                                let line =
                                    json!({"type": kind, "object": object}).to_string() + "\n";
                                let line = Ok::<_, std::io::Error>(line);
                                return Some((line, (api, latest, from, path)));
                            }
                        }
                        None => latest.changed().await.ok()?,
                    }
                }
            },
        ))
    }
}

async fn answer(State(api): State<FakeApi>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX)
        .await
        .expect("a body");
    let mut path = Path::from(parts.uri.path());
    path.read_query(parts.uri.query().unwrap_or_default());
    let content_type = parts.headers.get("content-type");
    path.applied = content_type.is_some_and(|it| it.to_str().is_ok_and(|it| it.contains("apply")));
    let body = parse(&body);
    if parts.method == Method::POST && path.name.is_empty() {
        path.name = body["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
    }
    let line = format!("{} {path}", parts.method);
    if let Some((start, status)) = &api.lock().fault
        && line.starts_with(start)
    {
        return failure(*status);
    }
    let done = match parts.method {
        Method::GET if path.watches => return api.watch(path).into_response(),
        Method::GET if path.name.is_empty() => Ok(api.list(&path)),
        Method::GET => api.lock().by_path.get(&path).cloned().ok_or(404),
        method => {
            api.lock().writes.push(line);
            api.write(&method, path, body)
        }
    };
    match done {
        Ok(object) => object.to_string().into_response(),
        Err(status) => failure(status),
    }
}

fn parse(body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

fn failure(status: u16) -> Response {
    let reason = match status {
        404 => "NotFound",
        409 => "Conflict",
        _ => "Refused",
    };
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                      "message": reason, "reason": reason, "code": status});
    let status = StatusCode::from_u16(status).expect("a status");
    (status, body.to_string()).into_response()
}

/// Objects are merged, elements of `webhooks` by their name; all else is replaced.
fn merge(old: &mut Value, new: &Value) {
    match new {
        Value::Object(new) => {
            for (key, value) in new {
                let old = &mut old[key.as_str()];
                match value {
                    Value::Array(elements) if key == "webhooks" => {
                        for element in elements {
                            let webhooks = old.as_array_mut().expect("webhooks");
                            let named = webhooks.iter_mut();
                            let mut named = named.filter(|it| it["name"] == element["name"]);
                            merge(named.next().expect("a webhook of that name"), element);
                        }
                    }
                    _ => merge(old, value),
                }
            }
        }
        other => *old = other.clone(),
    }
}
