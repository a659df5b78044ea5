//! The bytes of a final upload, read from its partials' objects in their order.
//!
//! Memory: a frame is charged by whoever takes it, before it is read. More is read at once while the share for branches that
//! may go without has room; nobody is waited for with that in hand.
//! Absent: partials that aren't stored. Who reads here has made sure.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use schema::{Id, upload::Upload};

use crate::{
    budget::{Budget, Reserved},
    engine::{Engine, from_db},
    limits::{FRAME_BYTES, JOIN_READ_BYTES},
    session::BodyBroken,
    store::{Store, StoreError},
};

/// A partial's object, and where its bytes are in the final upload.
#[derive(Debug)]
struct Piece {
    key: String,
    off: u64,
    len: u64,
}

/// Where a final upload's bytes come from.
#[derive(Debug)]
pub(crate) struct Origin {
    store: Arc<dyn Store>,
    ahead: Budget,
    pieces: Vec<Piece>,
    trouble: OnceLock<StoreError>,
}

/// A reader on its way.
struct Reading {
    origin: Arc<Origin>,
    at: u64,
    held: Bytes,
    share: Option<Reserved>,
}

impl Origin {
    /// Of a final upload whose partials are all stored.
    pub(crate) async fn of(engine: &Engine, id: Id<Upload>) -> sqlx::Result<Arc<Self>> {
        let rows = sqlx::query!(
            "SELECT p.key, p.length AS \"length!\" FROM upload_joins j JOIN uploads p ON p.id = j.partial_id
              WHERE j.final_id = $1 AND p.length > 0 ORDER BY j.n",
            id.uuid()
        )
        .fetch_all(&engine.db)
        .await?;
        let mut at = 0;
        let pieces = rows.into_iter().map(|row| {
            let (off, len) = (at, from_db(row.length));
            at += len;
            Piece { key: row.key, off, len }
        });
        let pieces = pieces.collect();
        let (store, ahead) = (Arc::clone(&engine.store), engine.media_budget.clone());
        Ok(Arc::new(Self { store, ahead, pieces, trouble: OnceLock::new() }))
    }

    /// Of all of it.
    pub(crate) fn length(&self) -> u64 {
        self.pieces.last().map_or(0, |piece| piece.off + piece.len)
    }

    /// The object that has all the bytes of a range, and where they start in it.
    pub(crate) fn within(&self, off: u64, len: u64) -> Option<(String, u64)> {
        let piece = self.piece(off).filter(|piece| off + len <= piece.off + piece.len)?;
        Some((piece.key.clone(), off - piece.off))
    }

    /// Why the frames ended early.
    pub(crate) fn trouble(&self) -> Option<&StoreError> {
        self.trouble.get()
    }

    /// The bytes from `from` to the end.
    pub(crate) fn frames(self: &Arc<Self>, from: u64) -> BoxStream<'static, Result<Bytes, BodyBroken>> {
        let reading = Reading { origin: Arc::clone(self), at: from, held: Bytes::new(), share: None };
        let next = |reading: Option<Reading>| async move {
            let mut reading = reading?;
            match reading.next().await {
                Ok(None) => None,
                Ok(Some(frame)) => Some((Ok(frame), Some(reading))),
                Err(error) => {
                    let broken = BodyBroken::Early(error.to_string());
                    let _ = reading.origin.trouble.set(error);
                    Some((Err(broken), None))
                }
            }
        };
        stream::unfold(Some(reading), next).boxed()
    }

    fn piece(&self, off: u64) -> Option<&Piece> {
        self.pieces.iter().find(|piece| piece.off <= off && off < piece.off + piece.len)
    }
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        if self.held.is_empty() {
            // The last of them is charged by its taker now.
            self.share = None;
            let Some(piece) = self.origin.piece(self.at) else { return Ok(None) };
            self.share = self.origin.ahead.try_reserve(JOIN_READ_BYTES);
            let most = if self.share.is_some() { JOIN_READ_BYTES } else { frame_bytes() };
            let left = usize::try_from(piece.off + piece.len - self.at).unwrap_or(usize::MAX);
            self.held = self.origin.store.read(&piece.key, self.at - piece.off, most.min(left)).await?;
            if self.held.is_empty() {
                return Err(StoreError::Missing(piece.key.clone()));
            }
        }
        let frame = self.held.split_to(frame_bytes().min(self.held.len()));
        self.at += frame.len() as u64;
        Ok(Some(frame))
    }
}

fn frame_bytes() -> usize {
    usize::try_from(FRAME_BYTES).unwrap_or(usize::MAX)
}
