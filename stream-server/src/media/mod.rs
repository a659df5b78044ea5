//! `/media/{grant}/{track}/…`: playlists, inits and segments.
//!
//! ```text
//! live.m3u8  index.m3u8                      multivariant: while it grows, and when it is whole
//! {run}/{rung}/live.m3u8  vod.m3u8           EVENT, and VOD at a URL of its own
//! {run}/{rung}/init.mp4   {n}.m4s            immutable
//! download/{format}                          a file to keep, under a grant of its own scope
//! ```
//! And `/media/{grant}/release/…`, which is bound to a release instead:
//! ```text
//! {owner}/{release}/{format}                 all its tracks as one archive
//! ```
//! Promise: nothing is told about a track before its grant holds; every refusal of a grant is the same 403.
//! Absent:  the decision who may have a grant, and queries, percent-encodings or dots in paths: a canonical path only.

mod download;
mod item;
mod playlists;
mod range;
mod release;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    extract::{OriginalUri, Path, State},
    http::{HeaderMap, Method, StatusCode},
    response::Response,
};
use front::{BodyLimit, Cache, Csrf, Policy, Problem, Route, Time, Who};
use pipeline::{
    Engine,
    grant::{Ask, GrantError, Keys, Scope},
    shelf::Playable,
};
use schema::{Id, track, track::Track};
use tokio::sync::Semaphore;

/// Bytes for whoever holds a grant, from any page.
const POLICY: Policy = Policy {
    who: Who::Grant,
    csrf: Csrf::Exempt,
    body: BodyLimit::Bytes(0),
    time: Time::Limit(Duration::from_secs(30)),
    cache: Cache::ByHandler,
    cors: true,
};

/// What the routes share.
#[derive(Clone, Debug)]
pub struct Media {
    /// Rows and bytes.
    pub engine: Arc<Engine>,
    /// Verifies grants.
    pub keys: Keys,
    /// One permit for each download.
    downloads: Arc<Semaphore>,
}

impl Media {
    /// Over an engine, with the keys that its links are signed with.
    pub fn new(engine: Arc<Engine>, keys: Keys) -> Self {
        Self { engine, keys, downloads: Arc::new(Semaphore::new(download::DOWNLOADS_MAX)) }
    }
}

/// The routes.
pub fn routes(media: &Media) -> Vec<Route> {
    vec![
        Route::on(Method::GET, "/media/{grant}/{track}/{file}", POLICY, media.clone(), entry),
        Route::on(Method::GET, "/media/{grant}/{track}/{run}/{rung}/{file}", POLICY, media.clone(), below),
        Route::on(Method::GET, "/media/{grant}/{track}/download/{format}", POLICY, media.clone(), download::one),
        Route::on(
            Method::GET,
            "/media/{grant}/release/{owner}/{release}/{format}",
            POLICY,
            media.clone(),
            release::archive,
        ),
    ]
}

/// The way in: a multivariant playlist.
async fn entry(
    State(media): State<Media>,
    Path((grant, track, file)): Path<(String, String, String)>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let track = canonical(&uri, &[&grant, &track, &file], &track)?;
    let playable = media.held(&grant, track, Ask::Open).await?;
    let run = playable.run.ok_or_else(Problem::not_found)?;
    match file.as_str() {
        "live.m3u8" => playlists::multivariant(&media, track, &playable, run, true, &headers).await,
        "index.m3u8" if playable.state == track::State::Ready => {
            playlists::multivariant(&media, track, &playable, run, false, &headers).await
        }
        _ => Err(Problem::not_found()),
    }
}

/// What lies below a rung.
async fn below(
    State(media): State<Media>,
    Path((grant, track, run, rung, file)): Path<(String, String, String, String, String)>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let track = canonical(&uri, &[&grant, &track, &run, &rung, &file], &track)?;
    let (run, rung) = (number(&run)?, number(&rung)?);
    let ask = Ask::Use { rung: u8::try_from(rung).map_err(|_| Problem::not_found())? };
    let playable = media.held(&grant, track, ask).await?;
    match file.as_str() {
        "live.m3u8" => playlists::event(&media, track, run, rung, &headers).await,
        "vod.m3u8" if playable.state == track::State::Ready => playlists::vod(&media, track, run, rung, &headers).await,
        "init.mp4" => item::init(&media, track, run, rung, &headers).await,
        name => match name.strip_suffix(".m4s") {
            Some(n) => item::segment(&media, track, run, rung, number(n)?, &headers).await,
            None => Err(Problem::not_found()),
        },
    }
}

impl Media {
    /// The track, if the grant holds for it now.
    async fn held(&self, grant: &str, track: Id<Track>, ask: Ask) -> Result<Playable, Problem> {
        let granted = self.keys.verify(grant, track, now(), ask, Scope::PLAY).map_err(|e| refused(&e))?;
        let playable = self.engine.playable(track).await?.ok_or_else(|| refused(&GrantError::Beyond))?;
        let current = granted.generation == playable.generation
            && (playable.verified || granted.scope.has(Scope::UNVERIFIED))
            && !matches!(playable.state, track::State::Failed | track::State::TakenDown);
        if current { Ok(playable) } else { Err(refused(&GrantError::Beyond)) }
    }
}

/// Seconds of the epoch. A clock before it fails closed: nothing has begun, so everything has expired.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |d| d.as_secs())
}

fn refused(error: &GrantError) -> Problem {
    let code = match error {
        GrantError::Forged | GrantError::Beyond => "link_not_valid",
        GrantError::Expired => "link_expired",
    };
    Problem::new(StatusCode::FORBIDDEN, code, "This link isn't valid, or not any more; ask for a new one.")
}

/// The track of a path that is spelled in the one way in which we spell it.
fn canonical(uri: &http::Uri, elements: &[&str], track: &str) -> Result<Id<Track>, Problem> {
    let refused = || refused(&GrantError::Forged);
    let id: Id<Track> = track.parse().map_err(|_| refused())?;
    if spelled(uri, elements) && id.to_string() == track { Ok(id) } else { Err(refused()) }
}

/// Whether a path is its elements, and nothing else.
fn spelled(uri: &http::Uri, elements: &[&str]) -> bool {
    uri.path() == format!("/media/{}", elements.join("/")) && uri.query().is_none()
}

/// A number without sign or leading zero.
fn number(text: &str) -> Result<i32, Problem> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or_else(Problem::not_found)
}
