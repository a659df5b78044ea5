//! `download/{format}`: a file of a track, streamed from the store.
//!
//! Promise: who hears the end has every byte that was announced; where one is missing the connection is cut.
//! Memory:  what `File::read` reads ahead, for each of `DOWNLOADS_MAX`.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{OriginalUri, Path, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::Response,
};
use front::Problem;
use futures_util::StreamExt;
use pipeline::{
    download::{File, Format, Kept, disposition, file_name},
    grant::{Ask, GrantError, Scope},
    publish::hex,
    renditions::{CutOff, Rendition, Standing},
    store::StoreError,
};
use schema::{Id, track, track::Track};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::{
    Media, canonical,
    item::{built, matches},
    now,
    range::{Wanted, wanted},
    refused,
};

/// Downloads at once in one process: each may hold two reads in memory.
pub(super) const DOWNLOADS_MAX: usize = 128;

/// How long an answer waits for the first bytes of a file that is made for it: below the limit of the policy.
const BEGUN_WITHIN: Duration = Duration::from_secs(20);

/// The link dies with its grant; what it gave never changes, and is the asker's alone.
const KEPT: &str = "private, no-cache";

pub(super) async fn one(
    State(media): State<Media>,
    Path((grant, track, format)): Path<(String, String, String)>,
    OriginalUri(uri): OriginalUri,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let track = canonical(&uri, &[&grant, &track, "download", &format], &track)?;
    let kept = media.held_to_keep(&grant, track).await?;
    let format: Format = format.parse().map_err(|_| Problem::not_found())?;
    let name = file_name(format, &kept.title, kept.filename.as_deref(), kept.codec.as_deref());
    let is_there = kept.has(format);
    match (format, kept.original) {
        (Format::Original, Some(file)) => {
            let media_type = media.engine.media_type_of(&file).await.map_err(|e| store_failed(&e))?;
            whole(&media, &file, media_type, &name, &headers)
        }
        (format, _) => {
            let media_type = format.media_type().ok_or_else(Problem::not_found)?;
            if !is_there {
                return Err(Problem::not_found());
            }
            let Rendition { id, standing } = media.engine.rendition(track, format, &kept.title).await?;
            match standing {
                Standing::Whole(file) => whole(&media, &file, media_type, &name, &headers),
                Standing::Failed { reason } => Err(not_made(&reason)),
                Standing::Making => growing(&media, id, media_type, &name, &method).await,
            }
        }
    }
}

/// A file that is being made: as it comes, without a length, whatever range was asked for.
async fn growing(
    media: &Media,
    id: Uuid,
    media_type: &'static str,
    name: &str,
    method: &Method,
) -> Result<Response, Problem> {
    let base = Response::builder()
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::CONTENT_TYPE, media_type)
        .header(header::CONTENT_DISPOSITION, disposition(name));
    if *method == Method::HEAD {
        return built(base.body(Body::empty()));
    }
    let place = place(media)?;
    match media.engine.rendition_begun(id, BEGUN_WITHIN).await {
        Ok(true) => {}
        Ok(false) => return Err(Problem::unavailable("It isn't made yet; others come first.", Duration::from_secs(5))),
        Err(CutOff::Failed { reason }) => return Err(not_made(&reason)),
        Err(CutOff::Db(error)) => return Err(error.into()),
        Err(error) => {
            tracing::warn!(rendition.id = %id, %error, "a download didn't begin");
            return Err(Problem::unavailable("It is made anew; try again.", Duration::from_secs(1)));
        }
    }
    let bytes = media.engine.follow_rendition(id).inspect(move |read| {
        let _ = &place; // given back with the body
        match read {
            Ok(bytes) => metrics::counter!("millrace_media_bytes_served_total").increment(bytes.len() as u64),
            Err(error) => tracing::warn!(rendition.id = %id, %error, "a download is cut off"),
        }
    });
    built(base.body(Body::from_stream(bytes)))
}

pub(super) fn not_made(reason: &str) -> Problem {
    Problem::conflict("not_made", "This file can't be made of the track's source.").with("reason", reason)
}

impl Media {
    /// The track, if the grant lets it be kept now.
    async fn held_to_keep(&self, grant: &str, track: Id<Track>) -> Result<Kept, Problem> {
        let granted = self.keys.verify(grant, track, now(), Ask::Open, Scope::DOWNLOAD).map_err(|e| refused(&e))?;
        let kept = self.engine.kept(track).await?.ok_or_else(|| refused(&GrantError::Beyond))?;
        let is_current = granted.generation == kept.generation && kept.stored && kept.state != track::State::TakenDown;
        if is_current { Ok(kept) } else { Err(refused(&GrantError::Beyond)) }
    }
}

/// A file of which everything is known.
fn whole(
    media: &Media,
    file: &File,
    media_type: &'static str,
    name: &str,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let etag = format!("\"{}\"", hex(&file.sha256));
    let base = || {
        Response::builder()
            .header(header::CACHE_CONTROL, KEPT)
            .header(header::ETAG, &etag)
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::CONTENT_TYPE, media_type)
            .header(header::CONTENT_DISPOSITION, disposition(name))
    };
    let said = |name| headers.get(name).and_then(|v: &http::HeaderValue| v.to_str().ok());
    if said(header::IF_NONE_MATCH).is_some_and(|tags| matches(tags, &etag)) {
        return built(base().status(StatusCode::NOT_MODIFIED).body(Body::empty()));
    }
    let range = said(header::RANGE).filter(|_| said(header::IF_RANGE).is_none_or(|tag| tag == etag));
    let mut answer = base();
    let (from, len) = match wanted(range, file.len) {
        Wanted::Whole => (0, file.len),
        Wanted::Part(from, len) => {
            let told = format!("bytes {from}-{}/{}", from + len - 1, file.len);
            answer = answer.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, told);
            (from, len)
        }
        Wanted::Nothing => {
            let told = format!("bytes */{}", file.len);
            let answer = base().status(StatusCode::RANGE_NOT_SATISFIABLE).header(header::CONTENT_RANGE, told);
            return built(answer.body(Body::empty()));
        }
    };
    let place = place(media)?;
    let bytes = file.read(media.engine.store(), from, len).inspect(move |read| {
        let _ = &place; // given back with the body
        if let Ok(bytes) = read {
            metrics::counter!("millrace_media_bytes_served_total").increment(bytes.len() as u64);
        }
    });
    built(answer.header(header::CONTENT_LENGTH, len).body(Body::from_stream(bytes)))
}

/// A place among those who download.
pub(super) fn place(media: &Media) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(&media.downloads)
        .try_acquire_owned()
        .map_err(|_| Problem::unavailable("Too many downloads at once.", Duration::from_secs(5)))
}

fn store_failed(error: &StoreError) -> Problem {
    tracing::error!(%error, "a download's bytes can't be read");
    Problem::unavailable("The store doesn't answer right now.", Duration::from_secs(1))
}
