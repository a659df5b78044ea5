//! Around every request: its id, its client, a panic contained, errors as problems, security headers, one line in the
//! log and the counters.
//!
//! Promise: one access line per request, written when its answer has ended or was given up.
//! Absent from it: queries, cookies, tokens; a long path element, such as a grant, is cut before its signature.

use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use tracing::Instrument;
use uuid::Uuid;

use crate::{
    Problem, TrustedProxies,
    accept::{BodyFate, Peer},
    client_address::ClientAddress,
    cors,
    log::{Counted, Line},
    problem,
};

/// Where a request's id comes and goes.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken over from a proxy.
const REQUEST_ID_MAX: usize = 64;
/// An extractor's explanation is shorter; anything longer isn't one.
const EXPLANATION_MAX_BYTES: usize = 2048;

/// What a page may load: our own files, and the media that hls.js assembles in the page.
const CONTENT_SECURITY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    font-src 'self'; connect-src 'self'; media-src 'self' blob:; worker-src 'self' blob:; manifest-src 'self'; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// In every request's extensions: the id under which it is logged.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

/// What holds around all routes.
pub(crate) struct Outside {
    pub(crate) cors: HashSet<&'static str>,
    pub(crate) proxies: TrustedProxies,
    pub(crate) secure: bool,
}

pub(crate) async fn around(State(outside): State<Arc<Outside>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let id = identify(&outside, &mut request);
    let fate = request.extensions().get::<BodyFate>().cloned().unwrap_or_default();
    let is_preflight = cors::is_preflight(&request);
    let is_open = route.as_deref().is_some_and(|route| outside.cors.contains(route));
    let span = tracing::info_span!("request", request.id = &*id.0);
    let line = Line::new(&request, &id, route, fate.clone(), began);

    let mut response = match AssertUnwindSafe(next.run(request).instrument(span)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            tracing::error!(request.id = &*id.0, panic = said(&*panic), "a handler panicked");
            Problem::internal().into_response()
        }
    };
    if is_open {
        cors::open(&mut response, is_preflight);
    }
    response = explain(response, &fate, &id).await;
    secure(response.headers_mut(), &outside, is_open);
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    if method == Method::HEAD {
        // The length is the one that GET would tell; of an empty body it would be told as 0.
        if let Some(len) = response.body().size_hint().exact() {
            response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(len.into());
        }
        *response.body_mut() = Body::empty();
    }
    let status = response.status();
    response.map(|body| Body::new(Counted::new(body, line.answered(status))))
}

/// Finds out id and client, and tells the handler.
fn identify(outside: &Outside, request: &mut Request) -> RequestId {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let is_trusted = peer.is_some_and(|peer| outside.proxies.contains(peer));
    let told = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| is_trusted && is_sane(id));
    let id = RequestId(told.map_or_else(|| Uuid::now_v7().simple().to_string().into(), Into::into));
    if let Some(peer) = peer {
        let client: ClientAddress = outside.proxies.client(peer, request.headers());
        request.extensions_mut().insert(client);
    }
    request.extensions_mut().insert(id.clone());
    id
}

fn is_sane(id: &str) -> bool {
    (8..=REQUEST_ID_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Makes every error a problem with the request's id: ours, an extractor's text, or a bare status.
async fn explain(mut response: Response, fate: &BodyFate, id: &RequestId) -> Response {
    if problem::sign(&mut response, &id.0)
        || !(response.status().is_client_error() || response.status().is_server_error())
    {
        return response;
    }
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !kind.is_empty() && !kind.starts_with(b"text/plain") {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let text = axum::body::to_bytes(body, EXPLANATION_MAX_BYTES).await.unwrap_or_default();
    let status = if fate.cut().is_some() { StatusCode::REQUEST_TIMEOUT } else { head.status };
    let text = if status == head.status { String::from_utf8(text.into()).ok() } else { None };
    let mut told = Problem::from_status(status, text).into_response();
    problem::sign(&mut told, &id.0);
    head.headers.remove(header::CONTENT_LENGTH);
    for (name, value) in told.headers() {
        head.headers.insert(name.clone(), value.clone());
    }
    *told.headers_mut() = head.headers;
    told
}

fn secure(headers: &mut HeaderMap, outside: &Outside, is_open: bool) {
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY);
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), if is_open { "cross-origin" } else { "same-origin" });
    if outside.secure {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}
