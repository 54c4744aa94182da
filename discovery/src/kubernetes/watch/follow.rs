//! The task that follows one kind.

use std::{sync::Arc, time::Duration};

use http_body_util::{BodyExt, Collected, Limited};
use hyper::{
    Response,
    header::{ACCEPT_ENCODING, HeaderValue, RETRY_AFTER},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::{
    Client,
    client::Body,
    core::{
        Request,
        params::{ListParams, WatchParams},
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{
    backoff::Backoff,
    collection::Collection,
    frame::{Frame, Page},
    kind::Kind,
    lines::Lines,
    status::Reporter,
    stop::{NOT_SERVED, Position, Stop, chain, failed, refused, without_streams},
};
use crate::{
    model::{Event, Interner},
    rules,
};

/// How long the server keeps a watch open. A connection that died silently is found dead after that.
const WATCH: Duration = Duration::from_secs(180);
/// How much later than [`WATCH`] a server may end it before it is taken for dead.
const WATCH_MARGIN: Duration = Duration::from_secs(5);
/// How long a server has to answer, and to go on with an answer that it began.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a list that comes as a stream may pause. A server of before 1.27 does not know such
/// lists: it sends what there is, and never says that it was all.
const LIST_PAUSE: Duration = Duration::from_secs(10);
/// Objects in a page.
const PAGE: u32 = 500;
/// Largest page. Objects are a few KiB, and the API server stores none of more than a few MiB.
const PAGE_BYTES: usize = 256 << 20;
/// Most of an error that is read.
const ERROR_BYTES: usize = 64 << 10;
/// Events sent at once. It bounds what waits in the channel.
const BATCH: usize = 512;
/// After that long a failure is the first of its kind, and not one of a row.
const HEALTHY: Duration = Duration::from_secs(30);
/// A watch that ends sooner without a word counts as a failure.
const SHORTEST: Duration = Duration::from_secs(1);

/// Time between two questions whether a kind that was not served is.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Follows one kind for ever.
pub(super) struct Follow<K> {
    client: Client,
    events: mpsc::Sender<Vec<Event>>,
    status: Reporter,
    objects: Collection<K>,
    /// Whether the server can list as a stream; it can until it says otherwise.
    streaming: bool,
}

type Watching = Lines<Body>;

// === impl Follow ===

impl<K: Kind> Follow<K> {
    pub(super) fn new(
        client: Client,
        events: mpsc::Sender<Vec<Event>>,
        status: Reporter,
        names: Arc<Interner>,
        rules: rules::Settings,
    ) -> Self {
        Self {
            client,
            events,
            status,
            objects: Collection::new(names, rules),
            streaming: true,
        }
    }

    /// Until nobody receives any more.
    pub(super) async fn run(mut self) {
        let mut position = Position::Nowhere;
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let wait = match self.turn(position.clone()).await {
                Ok(next) => {
                    let progress = next != position || began.elapsed() >= SHORTEST;
                    position = next;
                    self.status.ended();
                    if progress {
                        backoff.reset();
                        continue;
                    }
                    backoff.next(None)
                }
                Err(Stop::Unwanted) => return,
                Err(Stop::NoStreams(reason)) => {
                    tracing::info!(kind = K::KIND, reason, "lists come in pages");
                    self.streaming = false;
                    self.status.paged();
                    continue;
                }
                Err(Stop::Failed {
                    code: Some(NOT_SERVED),
                    ..
                }) if K::OPTIONAL => {
                    if self.absent().await.is_err() {
                        return;
                    }
                    position = Position::Nowhere;
                    ASK_AGAIN
                }
                Err(Stop::Failed {
                    position: next,
                    reason,
                    wait,
                    ..
                }) => {
                    let news = next != position && next != Position::Nowhere;
                    if news || began.elapsed() >= HEALTHY {
                        backoff.reset();
                    }
                    position = next;
                    let wait = backoff.next(wait);
                    self.status.failed(K::KIND, &reason, wait);
                    wait
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = self.events.closed() => return,
            }
        }
    }

    /// One list, one watch, or both where the server can do both in one.
    async fn turn(&mut self, position: Position) -> Result<Position, Stop> {
        match position {
            Position::Nowhere if self.streaming => self.list_as_stream().await,
            Position::Nowhere => {
                let version = self.list_in_pages().await?;
                self.watch_from(version).await
            }
            Position::At(version) => self.watch_from(version).await,
        }
    }

    async fn list_as_stream(&mut self) -> Result<Position, Stop> {
        let mut lines = self.open(None).await.map_err(without_streams)?;
        self.objects.begin();
        loop {
            let Ok(more) = timeout(LIST_PAUSE, lines.wait()).await else {
                return Err(Stop::NoStreams("a list as a stream had no end".to_owned()));
            };
            let more = more.map_err(|error| failed(Position::Nowhere, error))?;
            if !more {
                return Err(failed(Position::Nowhere, "a list ended early"));
            }
            let mut events = Vec::new();
            let mut end = None;
            while let Some(line) = lines.here() {
                match read_frame(line)? {
                    Frame::Changed(item) => events.extend(self.objects.changed(&item)),
                    Frame::Deleted(meta) => events.extend(self.objects.deleted(&meta)),
                    Frame::Bookmark { version, ends_list } if ends_list => {
                        end = Some(version.unwrap_or_default());
                        break;
                    }
                    Frame::Bookmark { .. } => {}
                    Frame::Error(status) => {
                        let stop = refused(&status, Position::Nowhere);
                        return Err(without_streams(stop));
                    }
                }
                if events.len() >= BATCH {
                    self.send(std::mem::take(&mut events)).await?;
                }
            }
            self.send(events).await?;
            if let Some(version) = end {
                self.finish_list().await?;
                return self.watch(lines, version).await;
            }
        }
    }

    async fn list_in_pages(&mut self) -> Result<String, Stop> {
        let lost = |error: &dyn std::fmt::Display| failed(Position::Nowhere, error);
        self.objects.begin();
        let mut token = None;
        loop {
            let mut params = ListParams::default().limit(PAGE);
            params.continue_token = token.take();
            let request = Request::new(K::PATH).list(&params);
            let request = request.map_err(|error| lost(&error))?;
            let response = self.ask(request, Position::Nowhere).await?;
            let body = Limited::new(response.into_body(), PAGE_BYTES).collect();
            let body = timeout(ANSWER, body).await;
            let body = body.map_err(|_| lost(&"a page of a list did not come to its end"))?;
            let body = body.map_err(|error| lost(&error))?.to_bytes();
            let page: Page<K> = Page::read(&body).map_err(|error| lost(&error))?;
            let events = page.items.iter();
            let events = events.filter_map(|item| self.objects.changed(item));
            let events = events.collect();
            self.send(events).await?;
            match (page.next, page.version) {
                (Some(next), _) => token = Some(next),
                (None, Some(version)) => {
                    self.finish_list().await?;
                    return Ok(version);
                }
                (None, None) => return Err(lost(&"a list has no resourceVersion")),
            }
        }
    }

    /// Drops what the list did not mention. After this the kind counts as listed.
    async fn finish_list(&mut self) -> Result<(), Stop> {
        let gone = self.objects.end();
        self.send(gone).await?;
        self.status.listed();
        tracing::info!(kind = K::KIND, objects = self.objects.len(), "listed");
        Ok(())
    }

    /// The kind is not served, so that there is nothing of it. It counts as listed.
    async fn absent(&mut self) -> Result<(), Stop> {
        self.objects.begin();
        let gone = self.objects.end();
        self.send(gone).await?;
        self.status.absent();
        Ok(())
    }

    async fn watch_from(&mut self, version: String) -> Result<Position, Stop> {
        let lines = self.open(Some(&version)).await?;
        self.watch(lines, version).await
    }

    /// Until the watch ends.
    async fn watch(&mut self, mut lines: Watching, mut version: String) -> Result<Position, Stop> {
        loop {
            let at = |version: &String| Position::At(version.clone());
            let mut events = Vec::new();
            let mut end = None;
            while let Some(line) = lines.here() {
                let newer = match read_frame(line) {
                    Ok(Frame::Changed(item)) => {
                        events.extend(self.objects.changed(&item));
                        item.meta().resource_version.clone()
                    }
                    Ok(Frame::Deleted(meta)) => {
                        events.extend(self.objects.deleted(&meta));
                        meta.resource_version
                    }
                    Ok(Frame::Bookmark { version, .. }) => version,
                    Ok(Frame::Error(status)) => {
                        end = Some(refused(&status, at(&version)));
                        break;
                    }
                    Err(stop) => {
                        end = Some(stop);
                        break;
                    }
                };
                if let Some(newer) = newer.filter(|newer| !newer.is_empty()) {
                    version = newer;
                }
                if events.len() >= BATCH {
                    break;
                }
            }
            self.send(events).await?;
            if let Some(end) = end {
                return Err(end);
            }
            let silent = WATCH + WATCH_MARGIN;
            let more = tokio::select! {
                more = timeout(silent, lines.wait()) => more,
                () = self.events.closed() => return Err(Stop::Unwanted),
            };
            match more {
                Err(_) => return Err(failed(at(&version), "the server fell silent")),
                Ok(Err(error)) => return Err(failed(at(&version), error)),
                Ok(Ok(false)) => return Ok(at(&version)),
                Ok(Ok(true)) => {}
            }
        }
    }

    /// Opens a watch of what is newer than a version, or of everything with what there is first.
    async fn open(&mut self, version: Option<&str>) -> Result<Watching, Stop> {
        let position = version.map_or(Position::Nowhere, |it| Position::At(it.to_owned()));
        let params = WatchParams {
            // A few minutes, at the edge of what fits any integer.
            timeout: u32::try_from(WATCH.as_secs()).ok(),
            bookmarks: true,
            send_initial_events: version.is_none(),
            ..WatchParams::default()
        };
        let request = Request::new(K::PATH).watch(&params, version.unwrap_or_default());
        let request = request.map_err(|error| failed(position.clone(), error))?;
        let response = self.ask(request, position).await?;
        self.status.connected();
        Ok(Lines::new(response.into_body()))
    }

    /// Sends a request and waits for the head of a good answer.
    async fn ask(
        &self,
        request: hyper::Request<Vec<u8>>,
        position: Position,
    ) -> Result<Response<Body>, Stop> {
        let mut request = request.map(Body::from);
        let identity = HeaderValue::from_static("identity");
        request.headers_mut().insert(ACCEPT_ENCODING, identity);
        let response = match timeout(ANSWER, self.client.send(request)).await {
            Err(_) => return Err(failed(position, "the server does not answer")),
            Ok(Err(error)) => return Err(failed(position, chain(&error))),
            Ok(Ok(response)) => response,
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        let asked = response.headers().get(RETRY_AFTER);
        let asked = asked.and_then(|it| it.to_str().ok()?.parse().ok());
        let body = Limited::new(response.into_body(), ERROR_BYTES).collect();
        let body = timeout(ANSWER, body).await;
        let body = body.ok().and_then(Result::ok).map(Collected::to_bytes);
        let body = body.unwrap_or_default();
        let mut status: Status = serde_json::from_slice(&body).unwrap_or_else(|_| Status {
            message: Some(String::from_utf8_lossy(&body).trim().to_owned()),
            ..Status::default()
        });
        status.code = Some(code.into());
        let mut stop = refused(&status, position);
        if let (Stop::Failed { wait, .. }, Some(asked)) = (&mut stop, asked) {
            *wait = Some(Duration::from_secs(asked));
        }
        Err(stop)
    }

    async fn send(&mut self, events: Vec<Event>) -> Result<(), Stop> {
        self.status.heard(events.len(), self.objects.len());
        if let Some(problems) = self.objects.problems_if_changed() {
            self.status.problems(problems);
        }
        if events.is_empty() {
            return Ok(());
        }
        let sent = self.events.send(events).await;
        sent.map_err(|_| Stop::Unwanted)
    }
}

/// Reads a line. One that makes no sense may have been about anything, so all is listed again.
fn read_frame<K: Kind>(line: &[u8]) -> Result<Frame<K>, Stop> {
    Frame::read(line).map_err(|error| {
        let reason = format!("the server sent a line that makes no sense: {error}");
        failed(Position::Nowhere, reason)
    })
}
