//! Request → verb → response.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response, Sse},
};
use front::{Cache, Credential, Policy, Problem, Route, Who, accept::Draining};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, LINK, VARY},
};
use schema::{Id, caller::Caller, machine::State as _, track::Track};
use serde::Deserialize;

use super::{
    Tracks, artwork, events,
    flow::{self, TrackError},
    model::{Change, Download, Page, Stream, View, Wanted, Waveform, Which},
};
use crate::policy::{read, write};

pub(crate) fn routes(tracks: Tracks) -> Vec<Route> {
    const READ: Policy = read(Who::User);
    const WRITE: Policy = write(Who::User);
    const PICTURE: Policy = Policy { cache: Cache::ByHandler, ..READ };
    vec![
        Route::on(Method::GET, "/api/v1/tracks", READ, tracks.clone(), list),
        Route::on(Method::GET, "/api/v1/tracks/{id}", READ, tracks.clone(), one),
        Route::on(Method::PATCH, "/api/v1/tracks/{id}", WRITE, tracks.clone(), change),
        Route::on(Method::GET, "/api/v1/tracks/{id}/stream", READ, tracks.clone(), stream),
        Route::on(Method::GET, "/api/v1/tracks/{id}/download", READ, tracks.clone(), download),
        Route::on(Method::GET, "/api/v1/releases/{release}/download", READ, tracks.clone(), release),
        Route::on(Method::GET, "/api/v1/tracks/{id}/waveform", READ, tracks.clone(), waveform),
        Route::on(Method::GET, "/api/v1/tracks/{id}/artwork", PICTURE, tracks.clone(), artwork::artwork),
        Route::on(Method::GET, "/api/v1/tracks/{id}/events", READ, tracks.clone(), listen),
        Route::on(Method::POST, "/api/v1/tracks/{id}/retry", WRITE, tracks, retry),
    ]
}

/// The caller's tracks, newest first.
#[utoipa::path(get, path = "/api/v1/tracks", tag = "tracks", params(Which), responses(
    (status = 200, body = Page), (status = 400, description = "The cursor isn't one of ours")))]
pub(crate) async fn list(
    State(tracks): State<Tracks>,
    Extension(caller): Extension<Caller>,
    Query(which): Query<Which>,
) -> Result<impl IntoResponse, Problem> {
    let page = flow::page(&tracks, caller.account, &which).await?;
    let mut headers = HeaderMap::new();
    if let Some(cursor) = &page.next_cursor {
        let next = format!("</api/v1/tracks?limit={}&cursor={cursor}>; rel=\"next\"", which.limit());
        headers.extend(HeaderValue::try_from(next).ok().map(|next| (LINK, next)));
    }
    Ok((headers, Json(page)))
}

/// One track.
#[utoipa::path(get, path = "/api/v1/tracks/{id}", tag = "tracks", params(("id" = String, Path)), responses(
    (status = 200, body = View), (status = 404, description = "No such track of the caller's")))]
pub(crate) async fn one(
    State(tracks): State<Tracks>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
) -> Result<Json<View>, Problem> {
    Ok(Json(flow::one(&tracks, caller.account, id).await?))
}

/// Another title.
#[utoipa::path(patch, path = "/api/v1/tracks/{id}", tag = "tracks", params(("id" = String, Path)),
    request_body = Change, responses(
    (status = 200, body = View), (status = 404, description = "No such track of the caller's")))]
pub(crate) async fn change(
    State(tracks): State<Tracks>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
    Json(change): Json<Change>,
) -> Result<Json<View>, Problem> {
    Ok(Json(flow::change(&tracks, caller.account, id, &change).await?))
}

/// Where to play it: a signed playlist, which grows while the upload still runs.
#[utoipa::path(get, path = "/api/v1/tracks/{id}/stream", tag = "tracks", params(("id" = String, Path)), responses(
    (status = 200, body = Stream), (status = 404, description = "No such track of the caller's"),
    (status = 409, description = "Nothing plays yet (`not_playable_yet`), or nothing will (`not_playable`)")))]
pub(crate) async fn stream(
    State(tracks): State<Tracks>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
) -> Result<Json<Stream>, Problem> {
    Ok(Json(flow::stream(&tracks, &caller, id).await?))
}

/// A link to a file of it, for a while.
#[utoipa::path(get, path = "/api/v1/tracks/{id}/download", tag = "tracks", params(("id" = String, Path), Wanted), responses(
    (status = 200, body = Download), (status = 400, description = "No such format (`bad_format`)"),
    (status = 404, description = "No such track of the caller's"),
    (status = 409, description = "Its bytes aren't verified yet (`not_stored_yet`), it isn't encoded yet (`not_ready_yet`), \
        its source is lossy (`no_lossless_source`), or there is nothing to keep (`not_playable`)")))]
pub(crate) async fn download(
    State(tracks): State<Tracks>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Download>, Problem> {
    Ok(Json(flow::download(&tracks, &caller, id, wanted.format.as_deref()).await?))
}

/// A link to all tracks of a release, as one ZIP archive, for a while.
#[utoipa::path(get, path = "/api/v1/releases/{release}/download", tag = "tracks", params(("release" = String, Path), Wanted), responses(
    (status = 200, body = Download), (status = 400, description = "No such format (`bad_format`)"),
    (status = 404, description = "The caller has no tracks of such a release"),
    (status = 409, description = "One of them isn't there in this format: as for one track")))]
pub(crate) async fn release(
    State(tracks): State<Tracks>,
    Extension(caller): Extension<Caller>,
    Path(release): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Download>, Problem> {
    Ok(Json(flow::release(&tracks, &caller, &release, wanted.format.as_deref()).await?))
}

#[derive(Deserialize)]
pub(crate) struct Format {
    format: Option<String>,
    samples_per_pixel: Option<String>,
}

/// Waveform peaks: audiowaveform's binary .dat, or its JSON.
#[utoipa::path(get, path = "/api/v1/tracks/{id}/waveform", tag = "tracks",
    params(("id" = String, Path), ("format" = Option<String>, Query, description = "`json`, or nothing for .dat"),
    ("samples_per_pixel" = Option<i32>, Query, description = "How coarse: a multiple of 512, at most 1048576; 512 if absent")),
    responses((status = 200, content((Vec<u8> = "application/octet-stream"), (Waveform = "application/json"))),
    (status = 400, description = "No such zoom (`bad_zoom`)"),
    (status = 404, description = "No such track of the caller's"),
    (status = 409, description = "There are no peaks yet (`no_peaks_yet`)")))]
pub(crate) async fn waveform(
    State(tracks): State<Tracks>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
    Query(asked): Query<Format>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let zoom = asked.samples_per_pixel.map(|zoom| zoom.parse().map_err(|_| TrackError::Zoom)).transpose()?;
    let mut answer = if wants_json(asked.format.as_deref(), &headers) {
        Json(flow::waveform(&tracks, caller.account, id, zoom).await?).into_response()
    } else {
        let peaks = flow::peaks(&tracks, caller.account, id, zoom).await?;
        ([(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))], peaks).into_response()
    };
    answer.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    Ok(answer)
}

fn wants_json(format: Option<&str>, headers: &HeaderMap) -> bool {
    let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    format.map_or_else(|| accepts.contains("application/json"), |format| format == "json")
}

/// Server-sent events `track`, each with the whole track, until nothing changes any more.
#[utoipa::path(get, path = "/api/v1/tracks/{id}/events", tag = "tracks", params(("id" = String, Path)), responses(
    (status = 200, content_type = "text/event-stream", body = View),
    (status = 404, description = "No such track of the caller's"),
    (status = 503, description = "Too many listen already")))]
pub(crate) async fn listen(
    State(tracks): State<Tracks>,
    Extension(caller): Extension<Caller>,
    Extension(credential): Extension<Credential>,
    Extension(draining): Extension<Draining>,
    Named(id): Named,
) -> Result<impl IntoResponse, Problem> {
    flow::one(&tracks, caller.account, id).await?;
    let permit = Arc::clone(&tracks.streams).try_acquire_owned();
    let permit = permit.map_err(|_| Problem::unavailable("Too many listen already.", Duration::from_secs(5)))?;
    let listener = events::Listener { tracks, owner: caller.account, id, credential, draining, permit };
    Ok(Sse::new(events::follow(listener)))
}

/// Encodes a failed track again.
#[utoipa::path(post, path = "/api/v1/tracks/{id}/retry", tag = "tracks", params(("id" = String, Path)), responses(
    (status = 202, body = View), (status = 404, description = "No such track of the caller's"),
    (status = 409, description = "It hasn't failed, or its bytes aren't here (`not_retryable`)")))]
pub(crate) async fn retry(
    State(tracks): State<Tracks>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
) -> Result<impl IntoResponse, Problem> {
    Ok((StatusCode::ACCEPTED, Json(flow::retry(&tracks, caller.account, id).await?)))
}

/// The track in the path. What is no id names nothing.
pub(crate) struct Named(pub(super) Id<Track>);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, Problem> {
        let Path(id) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| Problem::not_found())?;
        id.parse().map(Self).map_err(|_| Problem::not_found())
    }
}

impl From<TrackError> for Problem {
    fn from(error: TrackError) -> Self {
        match error {
            TrackError::Missing => Self::not_found(),
            TrackError::Cursor => Self::bad_request("bad_cursor", "The cursor isn't one of ours."),
            TrackError::NotPlayableYet => {
                Self::conflict("not_playable_yet", "Nothing of it plays yet; try again soon.")
            }
            TrackError::NotPlayable(state) => {
                Self::conflict("not_playable", "This track doesn't play.").with("state", state.name())
            }
            TrackError::Format => Self::bad_request("bad_format", "A format is original, flac, wav, mp3, aac or opus."),
            TrackError::NotStoredYet => {
                Self::conflict("not_stored_yet", "Its bytes aren't all here and verified yet; try again when they are.")
            }
            TrackError::NotReadyYet => Self::conflict("not_ready_yet", "It isn't encoded yet; try again soon."),
            TrackError::NoLosslessSource => Self::conflict(
                "no_lossless_source",
                "Its source is lossy: encoded once more it would only lose. The original can be had.",
            ),
            TrackError::NoPeaksYet => Self::conflict("no_peaks_yet", "The waveform isn't known yet."),
            TrackError::NotRetryable => {
                Self::conflict("not_retryable", "It hasn't failed, or its bytes aren't here to try again with.")
            }
            TrackError::Title => Self::bad_request("bad_title", "A title has 1 to 1000 characters."),
            TrackError::Zoom => Self::bad_request(
                "bad_zoom",
                "samples_per_pixel is a multiple of the waveform's own, 512, up to 1048576.",
            ),
            TrackError::Size => Self::bad_request("bad_size", "size is a number of pixels."),
            TrackError::Db(error) => error.into(),
            TrackError::Engine(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a track's verb failed");
                Self::unavailable("The media engine can't do this right now.", Duration::from_secs(1))
            }
        }
    }
}
