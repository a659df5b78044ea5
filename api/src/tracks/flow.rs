//! The verbs. Each looks for the track among its owner's first: what isn't theirs isn't there.

use std::time::Duration;

use bytes::Bytes;
use pipeline::{
    download::{self, Format},
    grant::{Bound, Grant, Scope},
};
use schema::{
    Id,
    caller::{Account, Caller},
    machine::State as _,
    track::{self, Track},
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    EngineError, Tracks,
    byproducts::{self, Picture},
    model::{Change, Download, Page, Stream, TITLE_MAX, View, Waveform, Which},
    sql, waveform,
};
use crate::cursor::Place;

/// What was opened plays at least so long, and twice its own length (media grants).
const USE_AT_LEAST: Duration = Duration::from_secs(3600);
/// What grows has no length yet. Nobody's upload and first listening take longer than a working day.
const USE_WHILE_GROWING: Duration = Duration::from_secs(12 * 3600);
/// No rung is withheld: there is nothing to buy yet.
const TOP_RUNG: u8 = u8::MAX;

/// Why a verb didn't.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrackError {
    #[error("there is no such track of the caller's")]
    Missing,
    #[error("the cursor isn't one of ours")]
    Cursor,
    #[error("nothing plays yet")]
    NotPlayableYet,
    #[error("the track is {}", .0.name())]
    NotPlayable(track::State),
    #[error("there is no such format")]
    Format,
    #[error("its bytes aren't verified yet")]
    NotStoredYet,
    #[error("it isn't encoded yet")]
    NotReadyYet,
    #[error("its source is lossy")]
    NoLosslessSource,
    #[error("there are no peaks yet")]
    NoPeaksYet,
    #[error("the track hasn't failed, or has no bytes to try again with")]
    NotRetryable,
    #[error("a title has 1 to {TITLE_MAX} characters")]
    Title,
    #[error("a zoom is a multiple of the waveform's own")]
    Zoom,
    #[error("a size is a number of pixels")]
    Size,
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
    #[error("the engine failed")]
    Engine(#[source] EngineError),
}

pub(crate) async fn page(tracks: &Tracks, owner: Id<Account>, which: &Which) -> Result<Page, TrackError> {
    let after = match &which.cursor {
        None => None,
        Some(word) => Some(tracks.cursors.read(owner, word).ok_or(TrackError::Cursor)?),
    };
    let limit = which.limit();
    let mut items = sql::tracks_of(&tracks.db, owner, after, limit + 1).await?;
    let is_more = items.len() as i64 > limit;
    items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let last = items.last().filter(|_| is_more);
    let next_cursor = last.map(|last| tracks.cursors.sign(owner, Place { at: last.created_at, id: last.id.uuid() }));
    Ok(Page { items, next_cursor })
}

pub(crate) async fn one(tracks: &Tracks, owner: Id<Account>, id: Id<Track>) -> Result<View, TrackError> {
    sql::track_of(&tracks.db, owner, id).await?.ok_or(TrackError::Missing)
}

/// Mints the grant that a player starts from.
pub(crate) async fn stream(tracks: &Tracks, caller: &Caller, id: Id<Track>) -> Result<Stream, TrackError> {
    let row = sql::playing(&tracks.db, caller.account, id).await?.ok_or(TrackError::Missing)?;
    let (playlist, lasts) = match track::State::named(&row.state) {
        Some(track::State::Ready) => {
            let length_ms = sql::duration_ms(row.samples, row.rate).and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0);
            ("index.m3u8", USE_AT_LEAST.max(2 * Duration::from_millis(length_ms)))
        }
        Some(track::State::Playable) => ("live.m3u8", USE_WHILE_GROWING),
        Some(track::State::Ingesting) | None => return Err(TrackError::NotPlayableYet),
        Some(state @ (track::State::Failed | track::State::TakenDown)) => return Err(TrackError::NotPlayable(state)),
    };
    let after = |lasts: Duration| moment(row.now, lasts);
    let scope = if row.stored_at.is_some() { Scope::PLAY } else { Scope::PLAY.and(Scope::UNVERIFIED) };
    let grant = Grant {
        open_until: after(tracks.stream_url_ttl),
        use_until: after(lasts.max(tracks.stream_url_ttl)),
        scope,
        top_rung: TOP_RUNG,
        generation: u32::try_from(row.generation).unwrap_or(u32::MAX),
        subject: subject(caller.account),
    };
    let url = format!("/media/{}/{id}/{playlist}", tracks.grants.mint(id, &grant));
    Ok(Stream { url, expires_at: told(grant.open_until) })
}

/// Seconds of the epoch, so long after `now`. They fit into 32 bits until 2106; a grant of then would be one that has expired.
fn moment(now: i64, lasts: Duration) -> u32 {
    u32::try_from(now).unwrap_or(0).saturating_add(u32::try_from(lasts.as_secs()).unwrap_or(u32::MAX))
}

fn told(until: u32) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(i64::from(until)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Mints the grant that fetches one file of a track.
pub(crate) async fn download(
    tracks: &Tracks,
    caller: &Caller,
    id: Id<Track>,
    format: Option<&str>,
) -> Result<Download, TrackError> {
    let format: Format = format.unwrap_or("original").parse().map_err(|_| TrackError::Format)?;
    let row = keepable(tracks, caller, id).await?;
    there_is(&row, format)?;
    let size = match format {
        Format::Original => row.size,
        made => {
            let len = tracks.engine.rendition_len(id, made, &row.title).await.map_err(TrackError::Engine)?;
            len.and_then(|len| i64::try_from(len).ok())
        }
    };
    let until = moment(row.now, tracks.download_url_ttl);
    let grant = keeping(until, row.generation, caller);
    Ok(Download {
        url: format!("/media/{}/{id}/download/{format}", tracks.grants.mint(id, &grant)),
        expires_at: told(until),
        format: format.name(),
        filename: download::file_name(format, &row.title, row.filename.as_deref(), row.codec.as_deref()),
        size,
    })
}

/// Mints the grant that fetches all tracks of a release as one archive. They are its owner's alone, as `keepable` says.
pub(crate) async fn release(
    tracks: &Tracks,
    caller: &Caller,
    release: &str,
    format: Option<&str>,
) -> Result<Download, TrackError> {
    let format: Format = format.unwrap_or("original").parse().map_err(|_| TrackError::Format)?;
    let release: Uuid = release.parse().map_err(|_| TrackError::Missing)?;
    let all = sql::release(&tracks.db, caller.account, release).await?;
    let there = all.iter().filter(|row| row.state != track::State::TakenDown.name());
    let now = all.first().ok_or(TrackError::Missing)?.now;
    if there.clone().next().is_none() {
        return Err(TrackError::Missing);
    }
    there.into_iter().try_for_each(|row| there_is(row, format))?;
    let until = moment(now, tracks.download_url_ttl);
    let generation: i64 = all.iter().map(|row| row.generation).sum();
    let grant = keeping(until, generation, caller);
    let owner = caller.account.uuid();
    let element = tracks.grants.mint(Bound::Release { owner, release }, &grant);
    Ok(Download {
        url: format!("/media/{element}/release/{}/{}/{format}", owner.simple(), release.simple()),
        expires_at: told(until),
        format: format.name(),
        filename: download::release_name(release, format),
        size: None,
    })
}

fn keeping(until: u32, generation: i64, caller: &Caller) -> Grant {
    Grant {
        open_until: until,
        use_until: until,
        scope: Scope::DOWNLOAD,
        top_rung: TOP_RUNG,
        generation: u32::try_from(generation).unwrap_or(u32::MAX),
        subject: subject(caller.account),
    }
}

/// Who may keep a track: its owner. The one place that decides it.
async fn keepable(tracks: &Tracks, caller: &Caller, id: Id<Track>) -> Result<sql::Keeping, TrackError> {
    sql::keeping(&tracks.db, caller.account, id).await?.ok_or(TrackError::Missing)
}

/// The stored bytes are there whatever became of the encode; what is made of them needs a source that was decoded whole, and
/// that loses nothing by being encoded once.
fn there_is(row: &sql::Keeping, format: Format) -> Result<(), TrackError> {
    match track::State::named(&row.state) {
        Some(state @ track::State::TakenDown) => Err(TrackError::NotPlayable(state)),
        Some(state @ track::State::Failed) if format != Format::Original || row.stored_at.is_none() => {
            Err(TrackError::NotPlayable(state))
        }
        _ if row.stored_at.is_none() => Err(TrackError::NotStoredYet),
        _ if format == Format::Original => Ok(()),
        Some(track::State::Ready) if row.lossless == Some(true) => Ok(()),
        Some(track::State::Ready) => Err(TrackError::NoLosslessSource),
        _ => Err(TrackError::NotReadyYet),
    }
}

/// The peaks as the store has them, or coarser.
pub(crate) async fn peaks(
    tracks: &Tracks,
    owner: Id<Account>,
    id: Id<Track>,
    zoom: Option<i32>,
) -> Result<Bytes, TrackError> {
    match zoom {
        Some(_) => Ok(waveform::write(&waveform(tracks, owner, id, zoom).await?).into()),
        None => stored_peaks(tracks, owner, id).await,
    }
}

/// The same for who doesn't read .dat.
pub(crate) async fn waveform(
    tracks: &Tracks,
    owner: Id<Account>,
    id: Id<Track>,
    zoom: Option<i32>,
) -> Result<Waveform, TrackError> {
    let wave = waveform::read(&stored_peaks(tracks, owner, id).await?);
    let wave = wave.ok_or_else(|| TrackError::Engine(EngineError::Away("these peaks aren't a .dat".into())))?;
    match zoom {
        Some(zoom) => waveform::zoomed(wave, zoom).ok_or(TrackError::Zoom),
        None => Ok(wave),
    }
}

async fn stored_peaks(tracks: &Tracks, owner: Id<Account>, id: Id<Track>) -> Result<Bytes, TrackError> {
    one(tracks, owner, id).await?;
    tracks.engine.peaks(id).await.map_err(TrackError::Engine)?.ok_or(TrackError::NoPeaksYet)
}

/// Which picture is meant by a size; the largest where none is named.
pub(crate) async fn picture(
    tracks: &Tracks,
    owner: Id<Account>,
    id: Id<Track>,
    size: Option<i32>,
) -> Result<Picture, TrackError> {
    let pictures = one(tracks, owner, id).await?.artwork.unwrap_or_default();
    byproducts::chosen(&pictures, size).cloned().ok_or(TrackError::Missing)
}

/// A picture's bytes. Whose it is, [`picture`] has checked.
pub(crate) async fn artwork(tracks: &Tracks, id: Id<Track>, picture: &Picture) -> Result<Bytes, TrackError> {
    tracks.engine.picture(id, picture.side()).await.map_err(TrackError::Engine)?.ok_or(TrackError::Missing)
}

pub(crate) async fn retry(tracks: &Tracks, owner: Id<Account>, id: Id<Track>) -> Result<View, TrackError> {
    one(tracks, owner, id).await?;
    tracks.engine.retry(id).await.map_err(|error| match error {
        EngineError::Illegal => TrackError::NotRetryable,
        EngineError::Missing => TrackError::Missing,
        away @ EngineError::Away(_) => TrackError::Engine(away),
    })?;
    one(tracks, owner, id).await
}

pub(crate) async fn change(
    tracks: &Tracks,
    owner: Id<Account>,
    id: Id<Track>,
    change: &Change,
) -> Result<View, TrackError> {
    one(tracks, owner, id).await?;
    let title: String = change.title.trim().chars().filter(|c| !c.is_control()).collect();
    if title.is_empty() || title.chars().count() > TITLE_MAX {
        return Err(TrackError::Title);
    }
    tracks.engine.retitle(id, &title).await.map_err(|error| match error {
        EngineError::Illegal | EngineError::Missing => TrackError::Missing,
        away @ EngineError::Away(_) => TrackError::Engine(away),
    })?;
    one(tracks, owner, id).await
}

/// For logs: which account, as far as eight random bytes of its id tell.
fn subject(account: Id<Account>) -> [u8; 8] {
    let [.., a, b, c, d, e, f, g, h] = *account.uuid().as_bytes();
    [a, b, c, d, e, f, g, h]
}
