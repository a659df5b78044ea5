//! `POST /files`: an upload and its track exist from here on, before the first byte.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use front::Problem;
use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{CONTENT_TYPE, LOCATION},
};
use pipeline::{AppendError, Engine, Kind, NewUpload};
use schema::caller::Caller;

use super::{append, metadata::Metadata, wire};

/// Headers of extensions that this server doesn't announce. To ignore one would promise what nobody keeps.
const NOT_OFFERED: [HeaderName; 3] = [
    HeaderName::from_static("upload-defer-length"),
    HeaderName::from_static("upload-concat"),
    HeaderName::from_static("upload-checksum"),
];

/// 201 with `Location`; with bytes in the body (creation-with-upload) also `Upload-Offset`.
pub(super) async fn create(
    State(engine): State<Arc<Engine>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    wire::version(&headers)?;
    refuse_unoffered(&headers)?;
    let length = wire::count(&headers, &wire::LENGTH)?
        .ok_or_else(|| Problem::bad_request("length_required", "Send Upload-Length: the file's size in bytes."))?;
    let received = match headers.get(wire::METADATA) {
        Some(value) => {
            value.to_str().map_err(|_| Problem::bad_request("bad_metadata", "Upload-Metadata must be ASCII."))?
        }
        None => "",
    };
    let metadata = Metadata::parse(received).map_err(|e| Problem::bad_request("bad_metadata", format!("{e}.")))?;
    let new = NewUpload {
        owner: caller.account,
        door: "tus",
        length: Some(length),
        metadata: received.to_owned(),
        filename: metadata.filename,
        title: metadata.title,
        sha256: metadata.sha256,
        release: metadata.release,
        kind: Kind::Whole,
        concat: None,
        ends_at_length: true,
    };
    let created = engine.create(new).await.map_err(|e| wire::not_created(&e))?;
    let look = if length > 0 && is_octets(&headers) {
        // The client must learn the address even when its first bytes didn't all get through.
        match append::appended(&engine, &caller, created.id, 0, request).await {
            Ok(appended) => appended.upload,
            Err(error @ (AppendError::PastLength { .. } | AppendError::Seal(_))) => {
                return Err(wire::not_appended(&error));
            }
            Err(error) => {
                tracing::info!(upload.id = %created.id, %error, "created, but not all bytes taken");
                engine.look(caller.account, created.id).await.map_err(|e| wire::gone(&e))?
            }
        }
    } else {
        created
    };
    wire::sent(
        wire::about(StatusCode::CREATED, &look).header(LOCATION, format!("/files/{}", look.id)).body(Body::empty()),
    )
}

fn refuse_unoffered(headers: &HeaderMap) -> Result<(), Problem> {
    match NOT_OFFERED.iter().find(|name| headers.contains_key(*name)) {
        Some(name) => Err(Problem::bad_request(
            "not_offered",
            format!("{name} belongs to an extension that Tus-Extension doesn't name."),
        )),
        None => Ok(()),
    }
}

pub(super) fn is_octets(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|t| t.as_bytes() == wire::OCTETS.as_bytes())
}
