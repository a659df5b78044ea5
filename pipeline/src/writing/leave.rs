//! What leaves for the store: whole parts, with a copy where a dead holder may still overwrite them, and tails.
//!
//! Memory: the share of the budget goes along with the bytes, and comes back when the store has them.

use std::{mem, sync::Arc};

use bytes::Bytes;

use super::Writing;
use crate::{
    digest,
    hashing::Marked,
    limits::{JOIN_PARTS_IN_FLIGHT, TAILS_MAX},
    parts::{Piece, What},
    session::AppendError,
    store::{Multipart, Part, Store, StoreError, Tail, tail_read},
};

impl Writing<'_> {
    /// The filling part is full: off to the store with it, behind those that are under way.
    pub(super) async fn send_part(&mut self) -> Result<(), AppendError> {
        let most = if self.origin.is_some() { JOIN_PARTS_IN_FLIGHT } else { self.engine.limits.parts_in_flight };
        if self.in_flight.len() >= most {
            self.take_oldest().await?;
            self.commit_arrived().await?;
        }
        self.room_for_tails().await?;
        let (tails_crc, fresh_len) = (mem::replace(&mut self.tails_crc, digest::crc64(&[])), self.at - self.fresh_from);
        let from = self.map.start(self.at - 1);
        let mut off = mem::replace(&mut self.fresh_from, self.at);
        let mut frames = self.frames.take();
        let mut tails = mem::take(&mut self.tails);
        if let Some((mut kept, share)) = self.kept.take()
            && !kept.is_empty()
        {
            kept.append(&mut frames);
            (frames, off) = (kept, from);
            tails.clear();
            self.hold(share);
        }
        let share = self.share.take();
        self.kept = (!self.engine.store.tails_in_place()).then(|| (Vec::new(), None));
        let len = self.at - from;
        let mut part = Part { part_no: self.map.part_no(from), off: from, len, etag: String::new(), crc64: 0 };
        let mut copy = self.shadow.contains(&part.part_no).then(|| self.tail(from, len));
        let from = self.origin.as_ref().filter(|_| copy.is_none()).and_then(|o| o.within(part.off, part.len));
        let (store, to, mark) = (Arc::clone(&self.engine.store), self.to.clone(), self.hashing.mark());
        let put = tokio::spawn(async move {
            let _share = share;
            let Marked { sha_state, crc64 } = mark.reached().await.map_err(StoreError::Away)?;
            part.crc64 = digest::crc64_join(tails_crc, crc64, fresh_len);
            copy.iter_mut().for_each(|copy| copy.crc64 = part.crc64);
            part.etag = match copied_in_store(&*store, &to, &part, from).await? {
                Some(etag) => etag,
                None => put_twice(&*store, &to, &part, copy.clone(), &tails, off, frames).await?,
            };
            Ok(Piece { what: What::Part(part, copy), sha_state })
        });
        self.in_flight.push_back(put);
        Ok(())
    }

    /// Tails that fill a part whose row never came: it is made before anything follows.
    pub(super) async fn close_full_part(&mut self) -> Result<(), AppendError> {
        let is_full = self.at > 0 && self.map.end(self.at - 1, self.length) == self.at && Some(self.at) != self.length;
        if is_full && !self.tails.is_empty() { self.send_part().await } else { Ok(()) }
    }

    /// A store that can't build on tails where they are is sent them again: their bytes need room while they pass.
    async fn room_for_tails(&mut self) -> Result<(), AppendError> {
        if self.tails.is_empty() || self.kept.is_some() || self.engine.store.tails_in_place() {
            return Ok(());
        }
        let more = self.tails.iter().map(|tail| tail.len).sum::<u64>();
        let more = usize::try_from(more).unwrap_or(usize::MAX);
        if let Some(now) = self.engine.budget.try_reserve(more) {
            self.hold(Some(now));
            return Ok(());
        }
        // Nobody waits for memory while holding some. What came becomes one more tail.
        self.ahead = None;
        self.put_tail().await?;
        self.commit_now().await?;
        let all = self.at - self.map.start(self.at - 1);
        let share = self.engine.budget.clone().reserve(all).await;
        self.hold(Some(share));
        Ok(())
    }

    /// Its CRC is to follow. A key that no other attempt has: a late write of a dead holder must not replace what was acknowledged.
    fn tail(&mut self, off: u64, len: u64) -> Tail {
        self.object_count += 1;
        let key = format!("tails/{}/{off}-{}-{}", self.lease.upload, self.lease.epoch, self.object_count);
        Tail { key, off, len, crc64: 0 }
    }

    /// What doesn't fill a part leaves as a tail; it is to be committed.
    pub(super) async fn put_tail(&mut self) -> Result<(), AppendError> {
        if self.frames.is_empty() {
            return Ok(());
        }
        let frames = self.frames.take();
        let off = mem::replace(&mut self.fresh_from, self.at);
        let mut tail = self.tail(off, self.at - off);
        let again = self.keep(&frames);
        let Marked { sha_state, crc64 } = self.hashing.mark().reached().await.map_err(StoreError::Away)?;
        tail.crc64 = crc64;
        self.engine.store.put_tail(&self.to, &tail, frames).await?;
        if !again {
            (self.kept, self.share) = (None, None);
        }
        self.tails_crc = digest::crc64_join(self.tails_crc, crc64, tail.len);
        self.tails.push(tail.clone());
        self.take(Piece { what: What::Tail(tail), sha_state });
        if self.tails.len() < TAILS_MAX || self.is_checked() {
            return Ok(());
        }
        self.commit_now().await?;
        self.merge_tails().await
    }

    /// Keeps what leaves as a tail, if the tails before it are kept and nobody waits for the room.
    fn keep(&mut self, frames: &[Bytes]) -> bool {
        let Some((kept, share)) = self.kept.as_mut().filter(|_| !self.engine.budget.is_short()) else { return false };
        kept.extend_from_slice(frames);
        match (share, self.share.take()) {
            (Some(share), Some(more)) => share.merge(more),
            (none, more) => *none = more,
        }
        true
    }

    /// Many tails become one, durable before they go. Without room to read them back they stay as they are.
    async fn merge_tails(&mut self) -> Result<(), AppendError> {
        let from = self.map.start(self.at - 1);
        let len = self.at - from;
        let merged = Tail { crc64: self.tails_crc, ..self.tail(from, len) };
        let mut frames = Vec::new();
        let mut _share = None;
        match &self.kept {
            _ if self.engine.store.tails_in_place() => {}
            Some((kept, _)) => frames.clone_from(kept),
            None => {
                let Some(room) = self.engine.budget.try_reserve(usize::try_from(len).unwrap_or(usize::MAX)) else {
                    return Ok(());
                };
                _share = Some(room);
                for tail in &self.tails {
                    frames.extend(tail_read(&*self.engine.store, tail).await?);
                }
            }
        }
        if digest::crc64(&frames) != merged.crc64 && !self.engine.store.tails_in_place() {
            return Ok(());
        }
        self.engine.store.put_tail(&self.to, &merged, frames).await?;
        self.tails = vec![merged.clone()];
        let Marked { sha_state, .. } = self.hashing.mark().reached().await.map_err(StoreError::Away)?;
        self.take(Piece { what: What::Tail(merged), sha_state });
        Ok(())
    }
}

/// A part whose bytes another object has; `None` where they must be sent.
async fn copied_in_store(
    store: &dyn Store,
    to: &Multipart,
    part: &Part,
    from: Option<(String, u64)>,
) -> Result<Option<String>, StoreError> {
    match from {
        Some((key, off)) => store.copy_part(to, part, &key, off).await,
        None => Ok(None),
    }
}

/// A part, and where a dead holder may still overwrite it, its copy, which nobody else can.
pub(crate) async fn put_twice(
    store: &dyn Store,
    to: &Multipart,
    part: &Part,
    copy: Option<Tail>,
    tails: &[Tail],
    off: u64,
    frames: Vec<Bytes>,
) -> Result<String, StoreError> {
    let Some(copy) = copy else { return store.put_part(to, part, tails, off, frames).await };
    let mut whole = Vec::new();
    for tail in tails {
        whole.extend(tail_read(store, tail).await?);
    }
    whole.extend(frames);
    store.put_tail(to, &copy, whole.clone()).await?;
    store.put_part(to, part, &[], part.off, whole).await
}
