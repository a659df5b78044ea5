//! Inits and segments: immutable bytes under an ETag that is their digest.

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use front::Problem;
use pipeline::{publish::hex, shelf::Item, store::StoreError};
use schema::{Id, track::Track};

use super::{
    Media,
    range::{Wanted, wanted},
};

/// Their URL changes with their content; the grant in it makes them private.
const FOR_EVER: &str = "private, max-age=31536000, immutable";

/// The largest segment: ten seconds of the widest FLAC, generously.
const ITEM_BYTES_MAX: u64 = 64 << 20;

/// Hex digits of a digest in an ETag: 128 bits.
const ETAG_DIGITS: usize = 32;

pub(super) async fn init(
    media: &Media,
    track: Id<Track>,
    run: i32,
    rung: i32,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let item = media.engine.shelf_init(track, run, rung).await?.ok_or_else(Problem::not_found)?;
    served(media, &item, headers).await
}

pub(super) async fn segment(
    media: &Media,
    track: Id<Track>,
    run: i32,
    rung: i32,
    n: i32,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let item = media.engine.shelf_segment(track, run, rung, n).await?.ok_or_else(Problem::not_found)?;
    served(media, &item, headers).await
}

async fn served(media: &Media, item: &Item, headers: &HeaderMap) -> Result<Response, Problem> {
    let etag = format!("\"{}\"", &hex(&item.sha)[..ETAG_DIGITS]);
    let base = || {
        Response::builder()
            .header(header::CACHE_CONTROL, FOR_EVER)
            .header(header::ETAG, &etag)
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::CONTENT_TYPE, "audio/mp4")
    };
    let said = |name| headers.get(name).and_then(|v: &http::HeaderValue| v.to_str().ok());
    if said(header::IF_NONE_MATCH).is_some_and(|tags| matches(tags, &etag)) {
        return built(base().status(StatusCode::NOT_MODIFIED).body(Body::empty()));
    }
    let range = said(header::RANGE).filter(|_| said(header::IF_RANGE).is_none_or(|tag| tag == etag));
    let (from, len, status) = match wanted(range, item.len) {
        Wanted::Whole => (0, item.len, StatusCode::OK),
        Wanted::Part(from, len) => (from, len, StatusCode::PARTIAL_CONTENT),
        Wanted::Nothing => {
            return built(
                base()
                    .status(StatusCode::RANGE_NOT_SATISFIABLE)
                    .header(header::CONTENT_RANGE, format!("bytes */{}", item.len))
                    .body(Body::empty()),
            );
        }
    };
    let bytes = read(media, item, from, len).await?;
    let mut answer = base().status(status);
    if status == StatusCode::PARTIAL_CONTENT {
        answer = answer.header(header::CONTENT_RANGE, format!("bytes {from}-{}/{}", from + len - 1, item.len));
    }
    metrics::counter!("millrace_media_bytes_served_total").increment(len);
    built(answer.body(Body::from(bytes)))
}

/// The bytes, all of them: a store that has fewer than the row says has lost some.
async fn read(media: &Media, item: &Item, from: u64, len: u64) -> Result<Bytes, Problem> {
    let want = usize::try_from(len.min(ITEM_BYTES_MAX)).map_err(|_| Problem::internal())?;
    match media.engine.store().read(&item.key, from, want).await {
        Ok(bytes) if bytes.len() as u64 == len => Ok(bytes),
        Err(error @ (StoreError::Away(_) | StoreError::Full(_))) => {
            tracing::error!(key = item.key, %error, "the store failed");
            Err(Problem::unavailable("The store doesn't answer right now.", std::time::Duration::from_secs(1)))
        }
        other => {
            tracing::error!(key = item.key, answer = ?other.map(|b| b.len()), "the store lost a segment");
            Err(Problem::internal())
        }
    }
}

/// `If-None-Match`: any of the tags, weak or strong, or `*`.
pub(super) fn matches(tags: &str, etag: &str) -> bool {
    tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

pub(super) fn built(answer: Result<Response, http::Error>) -> Result<Response, Problem> {
    answer.map_err(|error| {
        tracing::error!(%error, "an answer couldn't be built");
        Problem::internal()
    })
}
