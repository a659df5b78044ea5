//! The bytes of one track for its worker, wherever they are now: passing, ahead of their turn, durable but unfinished, or
//! stored.
//!
//! Promise: an answer is what the upload has at that offset, or an error; a wait ends when the upload goes on or ends.
//! Ahead:   of an upload in chunks the end may come first. It is read where it waits to be hashed (`chunks::line`), which is
//!          memory that is counted there and given back when others lack it; a local store has it too. Either way it is
//!          committed, so nothing that is read ahead can taint.
//! Memory:  the head, which is asked for twice: to see what the file is, and by the worker.
//! Absent:  trust. Bytes that pass may never become durable; `Window::is_tainted` tells afterwards.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use schema::{Id, machine::State as _, track::Track, upload};
use tokio::time::Instant;

use crate::{
    chunks::rows,
    encode::Rank,
    engine::{Engine, from_db},
    resolve::{Place, ResolveError, Resolved},
    store::{Multipart, StoreError},
    tee::{Found, Phase, Window},
};

/// How long the window's word is believed before the row is read: another node may be writing, or have written.
const ASK_THE_ROW_AFTER: Duration = Duration::from_secs(2);

/// Reads one upload's bytes.
#[derive(Debug)]
pub(crate) struct Source {
    engine: Arc<Engine>,
    track: Id<Track>,
    pub(crate) window: Arc<Window>,
    head: Mutex<Bytes>,
}

/// Why there are no bytes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The upload was aborted, expired or failed.
    #[error("the upload is gone")]
    Gone,
    /// The store didn't answer.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The database didn't.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

impl Source {
    pub(crate) fn new(engine: Arc<Engine>, track: Id<Track>, window: Arc<Window>) -> Self {
        Self { engine, track, window, head: Mutex::default() }
    }

    /// Answers from `head` what it holds: what passed there is gone from the window.
    pub(crate) fn keep_head(&self, head: Bytes) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
    }

    /// Whose turn its encode is: while bytes may still come, a listener waits for them.
    pub(crate) fn rank(&self) -> Rank {
        if self.window.phase() == Phase::Receiving { Rank::Live } else { Rank::Backlog }
    }

    /// Up to `len` bytes at `off`; none at the end of the upload. Waits while they may still come. Cancel-safe.
    pub(crate) async fn read(&self, off: u64, len: usize) -> Result<Bytes, SourceError> {
        if let Some(bytes) = self.of_head(off, len) {
            return Ok(bytes);
        }
        loop {
            let changed = self.window.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.window.find(off) {
                Found::Passing(bytes) => return Ok(bytes.slice(..len.min(bytes.len()))),
                Found::Durable(more) => {
                    let want = len.min(usize::try_from(more).unwrap_or(usize::MAX));
                    if let Some(bytes) = self.durable(off, want).await? {
                        return Ok(bytes);
                    }
                }
                Found::End => return Ok(Bytes::new()),
                Found::Gone => return Err(SourceError::Gone),
                Found::NotYet => {}
            }
            if let Some(bytes) = self.ahead(off, len).await? {
                return Ok(bytes);
            }
            if tokio::time::timeout_at(Instant::now() + ASK_THE_ROW_AFTER, changed).await.is_err() {
                self.refresh().await?;
            }
        }
    }

    /// The upload's last byte is there, though others may be missing.
    pub(crate) async fn has_end(&self) -> Result<bool, SourceError> {
        let Some(last) = self.window.length().and_then(|length| length.checked_sub(1)) else { return Ok(false) };
        Ok(self.ahead(last, 1).await?.is_some())
    }

    fn of_head(&self, off: u64, len: usize) -> Option<Bytes> {
        let head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let from = usize::try_from(off).ok().filter(|from| *from < head.len())?;
        Some(head.slice(from..head.len().min(from + len)))
    }

    /// Bytes of a chunk that came before its turn: from memory while it waits there, else where the store can read them.
    async fn ahead(&self, off: u64, len: usize) -> Result<Option<Bytes>, SourceError> {
        let Some(line) = self.engine.lines.of_track(self.track) else { return Ok(None) };
        if let Some(bytes) = line.waiting(off) {
            return Ok(Some(bytes.slice(..len.min(bytes.len()))));
        }
        if !line.is_ahead(off) || !self.engine.store.reads_unfinished() {
            return Ok(None);
        }
        let Some(end) = rows::part_end(&self.engine.db, line.upload, off).await? else { return Ok(None) };
        self.durable(off, len.min(usize::try_from(end - off).unwrap_or(usize::MAX))).await
    }

    /// Where the stored bytes are, by the row as it is now.
    pub(crate) async fn resolved(&self) -> Result<Result<Resolved, ResolveError>, SourceError> {
        let place = Place::of(&self.engine.db, self.track).await?.ok_or(SourceError::Gone)?;
        Ok(place.resolve(self.engine.store.backend()))
    }

    /// Waits until the upload is stored (`true`) or gone (`false`). Cancel-safe.
    pub(crate) async fn settled(&self) -> Result<bool, SourceError> {
        loop {
            let changed = self.window.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.window.phase() {
                Phase::Stored => return Ok(true),
                Phase::Gone => return Ok(false),
                Phase::Receiving => {}
            }
            if tokio::time::timeout(ASK_THE_ROW_AFTER, changed).await.is_err() {
                self.refresh().await?;
            }
        }
    }

    /// Durable bytes; `None` where the store can't read what isn't whole.
    async fn durable(&self, off: u64, len: usize) -> Result<Option<Bytes>, SourceError> {
        let store = &self.engine.store;
        if self.window.phase() != Phase::Stored && !store.reads_unfinished() {
            return Ok(None);
        }
        let row = sqlx::query!("SELECT key, multipart_id FROM uploads WHERE track_id = $1", self.track.uuid())
            .fetch_one(&self.engine.db)
            .await?;
        if self.window.phase() == Phase::Stored {
            return Ok(Some(store.read(&row.key, off, len).await?));
        }
        let Some(multipart_id) = row.multipart_id else { return Ok(None) };
        let of = Multipart { key: row.key, multipart_id };
        match store.read_unfinished(&of, off, len).await {
            // Completed since we looked.
            Err(StoreError::Missing(_)) => Ok(Some(store.read(&of.key, off, len).await?)),
            other => Ok(other?),
        }
    }

    /// Takes the row's word for where the upload stands.
    async fn refresh(&self) -> Result<(), SourceError> {
        let (phase, committed, _) = standing(&self.engine, self.track).await?;
        match phase {
            Phase::Receiving => self.window.commit(committed),
            ended => self.window.settle(ended, committed),
        }
        Ok(())
    }
}

/// Where a track's upload stands, by its row.
pub(crate) async fn standing(engine: &Engine, track: Id<Track>) -> sqlx::Result<(Phase, u64, Option<u64>)> {
    let row = sqlx::query!("SELECT state, committed, length FROM uploads WHERE track_id = $1", track.uuid())
        .fetch_optional(&engine.db)
        .await?;
    let Some(row) = row else { return Ok((Phase::Gone, 0, None)) };
    let phase = match upload::State::named(&row.state) {
        Some(upload::State::Stored) => Phase::Stored,
        Some(upload::State::Opened | upload::State::Receiving | upload::State::Sealing) => Phase::Receiving,
        _ => Phase::Gone,
    };
    Ok((phase, from_db(row.committed), row.length.map(from_db)))
}
