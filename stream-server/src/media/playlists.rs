//! Playlists, written anew from the rows at each request: what they name is in the store.

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use front::Problem;
use pipeline::{
    playlist::{self, Gapless, Kind, PLAYLIST_TYPE, Variant},
    shelf::{Playable, ShelfList},
};
use schema::{Id, track::Track};
use sha2::{Digest, Sha256};

use super::{
    Media,
    item::{built, matches},
};

/// A growing playlist is asked for again and again; each time it may have changed.
const GROWING: &str = "no-cache";
/// A finished one stays as it is; the run may be replaced when the track is encoded again.
const WHOLE: &str = "private, max-age=300";

pub(super) async fn multivariant(
    media: &Media,
    track: Id<Track>,
    playable: &Playable,
    run: i32,
    live: bool,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let rungs = media.engine.shelf_rungs(track, run).await?;
    if rungs.is_empty() {
        return Err(Problem::not_found());
    }
    let (kind, name) = match live {
        true => (Kind::Event { ended: false }, "live"),
        false => (Kind::Vod, "vod"),
    };
    let variants: Vec<Variant> = rungs
        .into_iter()
        .map(|r| Variant {
            uri: format!("{run}/{}/{name}.m3u8", r.rung),
            spec: r.spec,
            codecs: r.codecs,
            // While it grows only a bound is true; afterwards it is measured (Apple's authoring rules, 1.26 and 1.27).
            bandwidth: if live { r.bound_bps.max(r.peak_bps) } else { r.peak_bps },
            average: r.average_bps,
        })
        .collect();
    let exact = playable.samples.zip(playable.rate).filter(|_| !live);
    let gapless = exact.map(|(samples, rate)| Gapless { samples, rate, priming: playable.priming });
    served(playlist::multivariant(kind, &variants, gapless.as_ref()), if live { GROWING } else { WHOLE }, headers)
}

pub(super) async fn event(
    media: &Media,
    track: Id<Track>,
    run: i32,
    rung: i32,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let list = list(media, track, run, rung).await?;
    let text = playlist::media_playlist(Kind::Event { ended: list.ended }, &list.grid, list.segments);
    served(text, GROWING, headers)
}

pub(super) async fn vod(
    media: &Media,
    track: Id<Track>,
    run: i32,
    rung: i32,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let list = list(media, track, run, rung).await?;
    if !list.ended {
        return Err(Problem::not_found());
    }
    served(playlist::media_playlist(Kind::Vod, &list.grid, list.segments), WHOLE, headers)
}

async fn list(media: &Media, track: Id<Track>, run: i32, rung: i32) -> Result<ShelfList, Problem> {
    media.engine.shelf_list(track, run, rung).await?.ok_or_else(Problem::not_found)
}

fn served(text: String, cache: &'static str, headers: &HeaderMap) -> Result<Response, Problem> {
    let etag = format!("\"{}\"", &pipeline::publish::hex(&Sha256::digest(&text))[..32]);
    let base = Response::builder()
        .header(header::CACHE_CONTROL, cache)
        .header(header::ETAG, &etag)
        .header(header::CONTENT_TYPE, PLAYLIST_TYPE);
    let tags = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    if tags.is_some_and(|tags| matches(tags, &etag)) {
        return built(base.status(StatusCode::NOT_MODIFIED).body(Body::empty()));
    }
    built(base.body(Body::from(text)))
}
