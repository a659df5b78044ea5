//! `GET /api/v1/tracks/{id}/artwork`: the file's picture, by request and response.
//!
//! Kept for ever under the address that the track's JSON tells, whose `v` changes with the bytes; asked anew under any other.

use axum::{
    Extension,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use front::Problem;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use schema::caller::Caller;
use serde::Deserialize;

use super::{
    Tracks,
    flow::{self, TrackError},
    http::Named,
};

#[derive(Deserialize)]
pub(crate) struct Asked {
    size: Option<String>,
    v: Option<String>,
}

/// The picture in the file, as JPEG without metadata.
#[utoipa::path(get, path = "/api/v1/tracks/{id}/artwork", tag = "tracks",
    params(("id" = String, Path),
    ("size" = Option<i32>, Query, description = "The longer side in pixels: the smallest picture of at least so many is sent, or the largest there is; the largest if absent"),
    ("v" = Option<String>, Query, description = "As the track tells it: then the answer may be kept for ever")),
    responses((status = 200, content_type = "image/jpeg", body = Vec<u8>), (status = 304, description = "As the client has it"),
    (status = 400, description = "No such size (`bad_size`)"),
    (status = 404, description = "No such track of the caller's, or no picture in it")))]
pub(crate) async fn artwork(
    State(tracks): State<Tracks>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let size = |text: String| text.parse().ok().filter(|size| *size > 0).ok_or(TrackError::Size);
    let picture = flow::picture(&tracks, caller.account, id, asked.size.map(size).transpose()?).await?;
    let is_named = asked.v.as_deref() == Some(picture.version());
    let kept = if is_named { "private, max-age=31536000, immutable" } else { "private, no-cache" };
    let tag = format!("\"{}\"", picture.sha);
    let has = headers.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).is_some_and(|tags| {
        tags.split(',').map(|one| one.trim().trim_start_matches("W/")).any(|one| one == tag || one == "*")
    });
    let mut answer = if has {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let bytes = flow::artwork(&tracks, id, &picture).await?;
        ([(CONTENT_TYPE, HeaderValue::from_static("image/jpeg"))], bytes).into_response()
    };
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(kept));
    answer.headers_mut().extend(HeaderValue::try_from(tag).ok().map(|tag| (ETAG, tag)));
    Ok(answer)
}
