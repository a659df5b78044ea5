//! `release/{owner}/{release}/{format}`: all tracks of a release as one archive, streamed.
//!
//! Promise: who hears the end has every byte of every track; its length is told where all of it is known before.
//! Memory:  what one file reads ahead, and a name for each entry.
//! Absent:  ranges: checksums come as the bytes go by.

use std::collections::VecDeque;

use axum::{
    body::Body,
    extract::{OriginalUri, Path, State},
    http::{Method, header},
    response::Response,
};
use bytes::Bytes;
use front::Problem;
use futures_util::{StreamExt, stream, stream::BoxStream};
use pipeline::{
    download::{File, Format, Kept, disposition, entry_name, release_name},
    grant::{Ask, Bound, GrantError, Scope},
    renditions::{CutOff, Standing},
    store::StoreError,
    zip,
};
use schema::{Id, track::Track};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::{
    Media,
    download::{not_made, place},
    item::built,
    now, refused, spelled,
};

pub(super) async fn archive(
    State(media): State<Media>,
    Path((grant, owner, release, format)): Path<(String, String, String, String)>,
    OriginalUri(uri): OriginalUri,
    method: Method,
) -> Result<Response, Problem> {
    let is_ours = spelled(&uri, &[&grant, "release", &owner, &release, &format]);
    let (owner, release) = (plain_id(&owner)?, plain_id(&release)?);
    if !is_ours {
        return Err(refused(&GrantError::Forged));
    }
    let bound = Bound::Release { owner, release };
    let granted = media.keys.verify(&grant, bound, now(), Ask::Open, Scope::DOWNLOAD).map_err(|e| refused(&e))?;
    let (generation, kept) = media.engine.release(owner, release).await?;
    let format: Format = format.parse().map_err(|_| Problem::not_found())?;
    if generation != granted.generation || kept.is_empty() || !kept.iter().all(|(_, kept)| kept.has(format)) {
        return Err(refused(&GrantError::Beyond));
    }
    let entries = entries(&media, format, kept).await?;
    let mut answer = Response::builder()
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::CONTENT_TYPE, "application/zip")
        .header(header::CONTENT_DISPOSITION, disposition(&release_name(release, format)));
    let known: Option<Vec<_>> =
        entries.iter().map(|entry| Some((entry.name.as_str(), entry.file.as_ref()?.len))).collect();
    if let Some(known) = known {
        answer = answer.header(header::CONTENT_LENGTH, zip::length(known));
    }
    if method == Method::HEAD {
        return built(answer.body(Body::empty()));
    }
    let place = place(&media)?;
    let archive = Archive { media, entries, writer: Some(zip::Writer::default()), now: None, _place: place };
    let parts = stream::unfold(Some(archive), |archive| async move {
        let mut archive = archive?;
        match archive.next().await {
            Ok(None) => None,
            Ok(Some(bytes)) => Some((Ok(bytes), Some(archive))),
            Err(error) => {
                tracing::warn!(%error, "an archive is cut off");
                Some((Err(error), None))
            }
        }
    });
    built(answer.body(Body::from_stream(parts)))
}

/// One file of the archive; without its bytes yet where it is still being made.
struct Entry {
    name: String,
    track: Id<Track>,
    format: Format,
    title: String,
    rendition: Option<Uuid>,
    file: Option<File>,
}

/// All of them, in order. What isn't made yet is wanted from now on, all at once.
async fn entries(media: &Media, format: Format, kept: Vec<(Id<Track>, Kept)>) -> Result<VecDeque<Entry>, Problem> {
    let count = kept.len();
    let mut entries = VecDeque::with_capacity(count);
    for (n, (track, kept)) in kept.into_iter().enumerate() {
        let name = entry_name(n + 1, count, format, &kept);
        let (rendition, file) = match format {
            Format::Original => (None, kept.original),
            made => {
                let rendition = media.engine.rendition(track, made, &kept.title).await?;
                match rendition.standing {
                    Standing::Whole(file) => (None, Some(file)),
                    Standing::Making => (Some(rendition.id), None),
                    Standing::Failed { reason } => return Err(not_made(&reason)),
                }
            }
        };
        entries.push_back(Entry { name, track, format, title: kept.title, rendition, file });
    }
    Ok(entries)
}

/// The archive on its way out.
struct Archive {
    media: Media,
    entries: VecDeque<Entry>,
    /// None when the directory is out.
    writer: Option<zip::Writer>,
    /// Of the entry whose bytes go by.
    now: Option<BoxStream<'static, Result<Bytes, StoreError>>>,
    _place: OwnedSemaphorePermit,
}

impl Archive {
    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, CutOff> {
        let Some(writer) = &mut self.writer else { return Ok(None) };
        if let Some(bytes) = &mut self.now {
            if let Some(some) = bytes.next().await.transpose()? {
                writer.pass(&some);
                metrics::counter!("millrace_media_bytes_served_total").increment(some.len() as u64);
                return Ok(Some(some));
            }
            let told = writer.end();
            self.now = None;
            return Ok(Some(told.into()));
        }
        let Some(entry) = self.entries.pop_front() else {
            return Ok(self.writer.take().map(|writer| writer.finish().into()));
        };
        let file = self.media.whole(&entry).await?;
        let head = writer.begin(&entry.name, file.len);
        self.now = Some(file.read(self.media.engine.store(), 0, file.len).boxed());
        Ok(Some(head.into()))
    }
}

impl Media {
    /// An entry's bytes, as soon as all of them are there.
    async fn whole(&self, entry: &Entry) -> Result<File, CutOff> {
        if let Some(file) = &entry.file {
            return Ok(file.clone());
        }
        if let Some(id) = entry.rendition {
            self.engine.rendition_whole(id).await?;
        }
        match self.engine.rendition(entry.track, entry.format, &entry.title).await?.standing {
            Standing::Whole(file) => Ok(file),
            Standing::Making => Err(CutOff::Anew),
            Standing::Failed { reason } => Err(CutOff::Failed { reason }),
        }
    }
}

/// An id in the one way in which we spell it.
fn plain_id(text: &str) -> Result<Uuid, Problem> {
    let id: Option<Uuid> = text.parse().ok().filter(|id: &Uuid| id.simple().to_string() == text);
    id.ok_or_else(|| refused(&GrantError::Forged))
}
