//! What somebody may keep of a track: in which formats, under which names, and where the bytes are.
//!
//! Promise: a name that leaves here is one file's on every system: no folder, no control character, no reserved name.
//! Absent: whether the asker may have it; that is the grant's to say.

mod file;
mod name;

use std::{fmt, str::FromStr};

use schema::{Id, machine::State as _, track, track::Track};
use uuid::Uuid;

pub use file::{File, Piece};
pub use name::{disposition, entry_name, file_name, release_name};

use crate::{
    engine::{Engine, from_db},
    media::sniff::{Container, HEAD_BYTES, Sniffed, sniff},
    store::StoreError,
};

/// Enough of a file to tell what it is; more is read only where a picture stands in front.
const FIRST_LOOK_BYTES: usize = 4096;

/// What a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The bytes as they were uploaded.
    Original,
    /// FLAC, every sample as in the source.
    Flac,
    /// WAV, every sample as in the source.
    Wav,
    /// MP3, LAME's V0.
    Mp3,
    /// AAC-LC in MP4, 256 kbit/s.
    Aac,
    /// Opus in Ogg, 160 kbit/s.
    Opus,
}

/// It isn't one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a format is original, flac, wav, mp3, aac or opus")]
pub struct NoFormat;

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Original, Self::Flac, Self::Wav, Self::Mp3, Self::Aac, Self::Opus];

    /// As the API and the rows have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Flac => "flac",
            Self::Wav => "wav",
            Self::Mp3 => "mp3",
            Self::Aac => "aac",
            Self::Opus => "opus",
        }
    }

    /// What its file's name ends with; `None` where the source decides.
    pub fn extension(self) -> Option<&'static str> {
        match self {
            Self::Original => None,
            Self::Flac => Some("flac"),
            Self::Wav => Some("wav"),
            Self::Mp3 => Some("mp3"),
            Self::Aac => Some("m4a"),
            Self::Opus => Some("opus"),
        }
    }

    /// Its media type; `None` where the source decides.
    pub fn media_type(self) -> Option<&'static str> {
        match self {
            Self::Original => None,
            Self::Flac => Some("audio/flac"),
            Self::Wav => Some("audio/wav"),
            Self::Mp3 => Some("audio/mpeg"),
            Self::Aac => Some("audio/mp4"),
            Self::Opus => Some("audio/ogg"),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = NoFormat;
    fn from_str(text: &str) -> Result<Self, NoFormat> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or(NoFormat)
    }
}

/// A track, as far as keeping it goes.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Where it stands.
    pub state: track::State,
    /// Its bytes are verified and durable: nothing else may be kept.
    pub stored: bool,
    /// Grants of an older generation are void.
    pub generation: u32,
    /// Its title.
    pub title: String,
    /// What the file was called.
    pub filename: Option<String>,
    /// The source's codec, once it is known.
    pub codec: Option<String>,
    /// The source is lossless, once that is known.
    pub lossless: Option<bool>,
    /// The object as it was uploaded.
    pub original: Option<File>,
}

/// Tracks of one release in an archive: what nobody's album has, and few enough to name in one answer.
pub const RELEASE_TRACKS_MAX: i64 = 1000;

impl Kept {
    /// Whether there is such a file of it, or can be.
    pub fn has(&self, format: Format) -> bool {
        let is_made = self.state == track::State::Ready && self.lossless == Some(true);
        self.original.is_some() && self.state != track::State::TakenDown && (format == Format::Original || is_made)
    }
}

impl Engine {
    /// An account's tracks of a release, in the order in which they were uploaded, and the sum of their generations: a grant
    /// of another one is void.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn release(&self, owner: Uuid, release: Uuid) -> sqlx::Result<(u32, Vec<(Id<Track>, Kept)>)> {
        let ids = sqlx::query_scalar!(
            "SELECT id FROM tracks WHERE owner = $1 AND release_id = $2 AND state <> 'taken_down'
              ORDER BY created_at, id LIMIT $3",
            owner,
            release,
            RELEASE_TRACKS_MAX
        )
        .fetch_all(&self.db)
        .await?;
        let generation = sqlx::query_scalar!(
            "SELECT coalesce(sum(generation), 0)::bigint AS \"sum!\" FROM tracks WHERE owner = $1 AND release_id = $2",
            owner,
            release
        )
        .fetch_one(&self.db)
        .await?;
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            let id = Id::from(id);
            all.extend(self.kept(id).await?.map(|kept| (id, kept)));
        }
        Ok((u32::try_from(generation).unwrap_or(u32::MAX), all))
    }

    /// The track, or `None`.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn kept(&self, track: Id<Track>) -> sqlx::Result<Option<Kept>> {
        let row = sqlx::query!(
            "SELECT state, stored_at IS NOT NULL AS \"stored!\", generation, title, filename, codec, lossless, storage_key, size, sha256
               FROM tracks WHERE id = $1",
            track.uuid()
        )
        .fetch_optional(&self.db)
        .await?;
        Ok(row.and_then(|r| {
            let object = r.storage_key.zip(r.size).zip(r.sha256).filter(|_| r.stored);
            Some(Kept {
                state: track::State::named(&r.state)?,
                stored: r.stored,
                generation: u32::try_from(r.generation).ok()?,
                title: r.title,
                filename: r.filename,
                codec: r.codec,
                lossless: r.lossless,
                original: object.map(|((key, size), sha256)| File::whole(key, from_db(size), sha256)),
            })
        }))
    }

    /// The media type of an object, by its first bytes: never by its name or what its uploader said.
    ///
    /// # Errors
    /// The store's.
    pub async fn media_type_of(&self, file: &File) -> Result<&'static str, StoreError> {
        let Some(Piece { key, .. }) = file.pieces.first() else { return Ok(UNKNOWN) };
        let mut head = self.store.read(key, 0, FIRST_LOOK_BYTES).await?;
        let mut found = sniff(&head);
        if found == Sniffed::NeedMore && file.len > head.len() as u64 {
            head = self.store.read(key, 0, HEAD_BYTES).await?;
            found = sniff(&head);
        }
        Ok(match found {
            Sniffed::Progressive(container) | Sniffed::IndexLast(container) => media_type(container),
            Sniffed::NeedMore | Sniffed::Unsupported { .. } => UNKNOWN,
        })
    }
}

/// Bytes of which nothing is known: nobody opens them by themselves.
const UNKNOWN: &str = "application/octet-stream";

fn media_type(container: Container) -> &'static str {
    match container {
        Container::Wav => "audio/wav",
        Container::W64 => "audio/x-w64",
        Container::Aiff => "audio/aiff",
        Container::Caf => "audio/x-caf",
        Container::Flac => "audio/flac",
        Container::Mp3 => "audio/mpeg",
        Container::Adts => "audio/aac",
        Container::Ogg => "audio/ogg",
        Container::Mp4 => "audio/mp4",
        Container::WavPack => "audio/x-wavpack",
        Container::Matroska => "audio/x-matroska",
    }
}
