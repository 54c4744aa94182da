//! The call to the service, and what its answer says.

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value};
use weir_api::xds::{
    codec,
    envoy::{
        config::core::v3::{HeaderValueOption, header_value_option::HeaderAppendAction},
        service::auth::v3::{
            CheckResponse, DeniedHttpResponse, OkHttpResponse, check_response::HttpResponse,
        },
    },
};

use super::{
    super::{Awaited, Decoding, Waiting},
    Settings, check,
    decision::{Allowed, Change, Decision, Denied, How},
    question,
};
use crate::{
    call::{
        Answer, CallError,
        grpc::{GrpcError, Unary},
    },
    cluster::Clusters,
    config::{
        http_filter::{ExtAuthz, ext_authz::HttpService},
        matcher::StringMatcher,
        service::GrpcService,
    },
    convert::json_object,
    http::edits::{Edited, HeadValues},
    metadata::Metadata,
};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// Envoy's default, for either kind of service.
const TIMEOUT: Duration = Duration::from_millis(200);
/// Names the headers of the request that go, in an answer over HTTP.
const TO_REMOVE: &str = "x-envoy-auth-headers-to-remove";
/// Headers that a refusal over HTTP passes on whenever it lists any.
const ALWAYS_TO_CLIENTS: [&str; 5] = [
    ":status",
    "content-length",
    "www-authenticate",
    "location",
    ":path",
];

/// What came of a call.
pub(super) enum Answered {
    Grpc(Result<Bytes, GrpcError>),
    Http(Result<Box<Answer>, CallError>, Arc<HttpService>),
}

/// A question on its way, and where its answer will be.
type Asked = (Waiting, Awaited<Answered>);

pub(super) fn over_grpc(
    config: &ExtAuthz,
    settings: &Settings<'_>,
    service: &GrpcService,
    d: &Decoding<'_, '_>,
    route_metadata: Option<&Metadata>,
    clusters: Rc<Clusters>,
) -> Option<Asked> {
    let message = check::request(config, settings, d, route_metadata);
    let message = codec::encode_check_request(&message);
    let request = Edited::new(d.head, &*d.edits);
    let values = HeadValues {
        info: d.stream.info,
        request: Some(&request),
        response: None,
    };
    let call = Unary::new(service, CHECK, &message, TIMEOUT, &values).ok()?;
    Some(Waiting::new(async move {
        Answered::Grpc(call.send(clusters).await)
    }))
}

pub(super) fn over_http(
    config: &ExtAuthz,
    settings: &Settings<'_>,
    service: &Arc<HttpService>,
    d: &Decoding<'_, '_>,
    clusters: Rc<Clusters>,
) -> Option<Asked> {
    let call = question::call(config, settings, service, d)?;
    let service = Arc::clone(service);
    Some(Waiting::new(async move {
        let answer = call.send(clusters, &service.server.cluster).await;
        Answered::Http(answer.map(Box::new), service)
    }))
}

// === impl Answered ===

impl Answered {
    /// What the service says, and its dynamic metadata.
    pub(super) fn decision(self) -> (Decision, Map<String, Value>) {
        match self {
            Self::Grpc(Ok(message)) => match codec::decode_check_response(&message) {
                Ok(response) => of_response(response),
                Err(_) => (Decision::Error(None), Map::new()),
            },
            Self::Http(Ok(answer), service) => of_answer(&answer, &service),
            Self::Grpc(Err(error)) => {
                tracing::debug!(%error, "no decision of the authorization service");
                (Decision::Error(None), Map::new())
            }
            Self::Http(Err(error), _) => {
                tracing::debug!(%error, "no decision of the authorization service");
                (Decision::Error(None), Map::new())
            }
        }
    }
}

fn of_response(response: CheckResponse) -> (Decision, Map<String, Value>) {
    let is_ok = response.status.is_none_or(|status| status.code == 0);
    let mut metadata = response.dynamic_metadata.map(json_object);
    let decision = match (is_ok, response.http_response) {
        (_, Some(HttpResponse::ErrorResponse(error))) => Decision::Error(Some(denied(error))),
        (true, Some(HttpResponse::OkResponse(mut ok))) => {
            #[allow(deprecated, reason = "servers may say it so")]
            let own = ok.dynamic_metadata.take();
            metadata = own.map(json_object).or(metadata);
            Decision::Allowed(allowed(ok))
        }
        (true, _) => Decision::Allowed(Allowed::default()),
        (false, Some(HttpResponse::DeniedResponse(refusal))) => Decision::Denied(denied(refusal)),
        (false, _) => Decision::Denied(Denied::default()),
    };
    (decision, metadata.unwrap_or_default())
}

#[allow(deprecated, reason = "servers may say it so")]
fn allowed(ok: OkHttpResponse) -> Allowed {
    let mut is_odd = false;
    let request = ok.headers.into_iter().filter_map(|option| {
        let how = match is_appended(&option) {
            true => How::AppendIfThere,
            false => How::Set,
        };
        change(option, how)
    });
    let request = request.collect();
    let response = ok.response_headers_to_add.into_iter();
    let response = response.filter_map(|option| {
        let action = HeaderAppendAction::try_from(option.append_action);
        let how = match (&option.append, action) {
            (Some(append), _) if append.value => How::Add,
            (Some(_), _) => How::Set,
            (None, Ok(HeaderAppendAction::AppendIfExistsOrAdd)) => How::Add,
            (None, Ok(HeaderAppendAction::AddIfAbsent)) => How::AddIfAbsent,
            (None, Ok(HeaderAppendAction::OverwriteIfExistsOrAdd)) => How::Set,
            (None, Ok(HeaderAppendAction::OverwriteIfExists)) => How::OverwriteIfThere,
            (None, Err(_)) => {
                is_odd = true;
                return None;
            }
        };
        change(option, how)
    });
    let response = response.collect();
    let query = ok.query_parameters_to_set.into_iter();
    Allowed {
        request,
        response,
        remove: ok.headers_to_remove,
        set_query: query.map(|it| (it.key, it.value)).collect(),
        remove_query: ok.query_parameters_to_remove,
        is_odd,
    }
}

#[allow(deprecated, reason = "it is what servers say")]
fn is_appended(option: &HeaderValueOption) -> bool {
    option.append.is_some_and(|append| append.value)
}

fn denied(refusal: DeniedHttpResponse) -> Denied {
    let status = refusal.status.and_then(|it| u16::try_from(it.code).ok());
    let headers = refusal.headers.into_iter();
    let headers = headers.filter_map(|option| {
        let how = match is_appended(&option) {
            true => How::AppendIfThere,
            false => How::Set,
        };
        change(option, how)
    });
    Denied {
        status: status.filter(|status| (200..600).contains(status)),
        headers: headers.collect(),
        body: refusal.body.into(),
    }
}

fn change(option: HeaderValueOption, how: How) -> Option<Change> {
    let header = option.header?;
    let value = match header.value {
        value if value.is_empty() => String::from_utf8(header.raw_value).ok()?,
        value => value,
    };
    Some(Change::new(&header.key, value, how))
}

fn of_answer(answer: &Answer, service: &HttpService) -> (Decision, Map<String, Value>) {
    let (status, headers) = (answer.head.status.as_u16(), &answer.head.headers);
    if status >= 500 {
        return (Decision::Error(None), Map::new());
    }
    let metadata = lines(headers)
        .filter(|(name, _)| any(&service.dynamic_metadata_from_headers, name))
        .map(|(name, value)| (name.to_owned(), value.into()));
    let metadata = metadata.collect();
    if status != 200 {
        let to_client = |name: &str| match &service.allowed_client_headers {
            Some(list) => any(list, name) || ALWAYS_TO_CLIENTS.contains(&name),
            None => name != "host",
        };
        let headers = lines(headers).filter(|(name, _)| to_client(name));
        let denied = Denied {
            status: Some(status),
            headers: headers
                .map(|(name, value)| Change::new(name, value, How::Set))
                .collect(),
            body: answer.body.clone(),
        };
        return (Decision::Denied(denied), metadata);
    }
    let matching = |list: &[StringMatcher], how| -> Vec<Change> {
        let lines = lines(headers).filter(|(name, _)| any(list, name));
        lines
            .map(|(name, value)| Change::new(name, value, how))
            .collect()
    };
    let mut request = matching(&service.allowed_upstream_headers, How::Set);
    request.extend(matching(
        &service.allowed_upstream_headers_to_append,
        How::Add,
    ));
    let remove = headers.get_all(TO_REMOVE).iter();
    let remove = remove.filter_map(|line| line.to_str().ok());
    let remove = remove.flat_map(|line| line.split(',')).map(str::trim);
    let allowed = Allowed {
        request,
        remove: remove
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        response: matching(&service.allowed_client_headers_on_success, How::Add),
        ..Allowed::default()
    };
    (Decision::Allowed(allowed), metadata)
}

fn any(list: &[StringMatcher], name: &str) -> bool {
    list.iter().any(|matcher| matcher.matches(name))
}

/// The headers of an answer as text, but for the one that is for the filter itself.
fn lines(headers: &HeaderMap) -> impl Iterator<Item = (&str, String)> {
    let all = headers.iter().filter(|(name, _)| *name != TO_REMOVE);
    all.filter_map(|(name, value): (_, &HeaderValue)| {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        Some((name.as_str(), value.to_owned()))
    })
}
