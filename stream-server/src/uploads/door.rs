//! Which protocol a request on `/files` speaks. `Tus-Resumable` says tus; a field or a media type of the IETF's draft says
//! that one. Without any mark the verbs on an upload are the draft's, which needs none there, and a POST is refused by tus.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, Request, State},
    response::Response,
};
use front::Problem;
use http::HeaderMap;
use pipeline::Engine;
use schema::caller::Caller;

use super::{ietf, wire};

fn is_tus(headers: &HeaderMap) -> bool {
    headers.contains_key(wire::RESUMABLE)
}

/// `POST /files`.
pub(super) async fn create(
    engine: State<Arc<Engine>>,
    caller: Extension<Caller>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    match !is_tus(&headers) && ietf::is_meant(&headers) {
        true => ietf::create(engine, caller, headers, request).await,
        false => super::create::create(engine, caller, headers, request).await,
    }
}

/// `HEAD /files/{id}`.
pub(super) async fn offset(
    engine: State<Arc<Engine>>,
    id: Path<String>,
    caller: Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    match is_tus(&headers) {
        true => super::offset::offset(engine, id, caller, headers).await,
        false => ietf::offset(engine, id, caller, headers).await,
    }
}

/// `PATCH /files/{id}`.
pub(super) async fn append(
    engine: State<Arc<Engine>>,
    id: Path<String>,
    caller: Extension<Caller>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    match is_tus(&headers) {
        true => super::append::append(engine, id, caller, headers, request).await,
        false => ietf::append(engine, id, caller, headers, request).await,
    }
}

/// `DELETE /files/{id}`.
pub(super) async fn terminate(
    engine: State<Arc<Engine>>,
    id: Path<String>,
    caller: Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    match is_tus(&headers) {
        true => super::terminate::terminate(engine, id, caller, headers).await,
        false => ietf::terminate(engine, id, caller, headers).await,
    }
}
