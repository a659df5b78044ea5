//! `PATCH /files/{id}`: bytes at the committed offset. Where an upload's 409s come from.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{Path, Request, State},
    response::Response,
};
use front::Problem;
use http::{HeaderMap, StatusCode, header::CONTENT_LENGTH};
use pipeline::{Append, AppendError, Appended, Engine};
use schema::{Id, caller::Caller, upload::Upload};

use super::{checksum, create::is_octets, wire};

/// 204 with the new `Upload-Offset`. After the last byte the answer comes when the object is verified and durable.
pub(super) async fn append(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    wire::version(&headers)?;
    let id = wire::id(&id)?;
    if !is_octets(&headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            format!("Send Content-Type: {}.", wire::OCTETS),
        ));
    }
    let offset = wire::count(&headers, &wire::OFFSET)?
        .ok_or_else(|| Problem::bad_request("offset_required", "Send Upload-Offset: where these bytes start."))?;
    let mut said = said(&headers, offset)?;
    said.length = wire::count(&headers, &wire::LENGTH)?;
    let appended = appended(&engine, &caller, id, said, request).await.map_err(|e| wire::not_appended(&e))?;
    let mut built = wire::about(StatusCode::NO_CONTENT, &appended.upload);
    if let Some(digest) = wire::repr_digest(&appended.upload) {
        built = built.header("repr-digest", digest);
    }
    wire::sent(built.body(Body::empty()))
}

/// What the head of a request says about the bytes in its body.
pub(super) fn said(headers: &HeaderMap, offset: u64) -> Result<Append, Problem> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    Ok(Append { check: checksum::wanted(headers)?, ..Append::at(offset, announced) })
}

/// The request's body into the upload.
pub(super) async fn appended(
    engine: &Arc<Engine>,
    caller: &Caller,
    id: Id<Upload>,
    said: Append,
    request: Request,
) -> Result<Appended, AppendError> {
    let frames = checksum::frames(request.into_body(), said.check.clone());
    Box::pin(engine.append(caller.account, id, said, frames)).await
}
