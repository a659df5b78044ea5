//! `PUT /api/v1/uploads/{id}/chunks/{n}`: one chunk, `n` from 0.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, Request, State},
};
use front::Problem;
use futures_util::StreamExt;
use http::{StatusCode, header::CONTENT_LENGTH};
use pipeline::{Engine, chunks::Chunk};
use schema::caller::Caller;

use super::{digests, wire};
use crate::body::broken;

/// 204 when it is durable, also when it was before, with the same bytes.
pub(super) async fn put(
    State(engine): State<Arc<Engine>>,
    Path((id, n)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let id = wire::id(&id)?;
    let is_number = !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    let n = n.parse().ok().filter(|_| is_number).ok_or_else(Problem::not_found)?;
    let headers = request.headers();
    let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let chunk = Chunk { n, announced, checks: digests::checks(headers)? };
    let frames = request.into_body().into_data_stream().map(|f| f.map_err(broken));
    Box::pin(engine.put_chunk(caller.account, id, chunk, frames)).await.map_err(|e| wire::not_put(&e))?;
    Ok(StatusCode::NO_CONTENT)
}
