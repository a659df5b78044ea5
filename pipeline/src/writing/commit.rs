//! From the store to the rows: what has arrived is committed together, while the next bytes are read.
//!
//! Promise: pieces are committed in the order of their bytes, in one statement at a time; `committed` is what that answered.
//! Crash: before the statement, durable bytes without rows, sent again; after it, the client asks HEAD and hears the offset.

use std::{mem, sync::Arc};

use tokio::{
    select,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::Writing;
use crate::{
    limits::COMMIT_EVERY,
    parts::{self, Committed, Piece, Terms},
    session::AppendError,
    store::StoreError,
};

/// Pieces that wait for their rows. More would only be sent again after a crash: a database that takes so long is waited for.
const ARRIVED_MAX: usize = 16;

/// A statement under way.
pub(super) struct Committing {
    under_way: JoinHandle<sqlx::Result<Option<Committed>>>,
    lets_go: bool,
}

impl Writing<'_> {
    /// Begins to commit what the store has by now, unless it just did: a slow client fills the next part only in many
    /// seconds, a fast one in milliseconds.
    pub(super) async fn commit_arrived(&mut self) -> Result<(), AppendError> {
        if self.committing.as_ref().is_some_and(|commit| commit.under_way.is_finished())
            || self.arrived.len() >= ARRIVED_MAX
        {
            self.hear_commit().await?;
        }
        while self.in_flight.front().is_some_and(JoinHandle::is_finished) {
            self.take_oldest().await?;
        }
        if self.commit_begun.is_none_or(|begun| begun.elapsed() >= COMMIT_EVERY) {
            self.begin_commit(false);
        }
        Ok(())
    }

    /// Waits until the store has the oldest part that is under way. What came before it is committed meanwhile.
    pub(super) async fn take_oldest(&mut self) -> Result<(), AppendError> {
        let Some(mut oldest) = self.in_flight.pop_front() else { return Ok(()) };
        match self.committing_until(&mut oldest).await {
            Ok(done) => self.take(done.map_err(|e| StoreError::Away(std::io::Error::other(e)))??),
            Err(error) => {
                // Still under way: the lease isn't given back before it has ended.
                self.in_flight.push_front(oldest);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn committing_until<T>(&mut self, done: &mut (impl Future<Output = T> + Unpin)) -> Result<T, AppendError> {
        loop {
            let due = self.commit_begun.map_or_else(Instant::now, |begun| begun + COMMIT_EVERY);
            let (is_committing, is_owing) = (self.committing.is_some(), !self.arrived.is_empty());
            select! {
                biased;
                done = &mut *done => return Ok(done),                        // cancel-safe: the caller's
                heard = self.hear_commit(), if is_committing => heard?,      // cancel-safe: a handle that is kept
                () = sleep_until(due), if is_owing && !is_committing => self.begin_commit(false),    // cancel-safe: no state
            }
        }
    }

    /// The store has it. A request with a checksum waits for that.
    pub(super) fn take(&mut self, piece: Piece) {
        match &mut self.checked {
            Some(checked) => checked.pieces.push(piece),
            None => self.arrived.push(piece),
        }
    }

    /// Whatever has arrived is committed after this.
    pub(super) async fn commit_now(&mut self) -> Result<(), AppendError> {
        self.commit(false).await
    }

    /// The same; with `lets_go` the lease goes back if anything was left to commit.
    pub(super) async fn commit(&mut self, lets_go: bool) -> Result<(), AppendError> {
        self.hear_commit().await?;
        self.begin_commit(lets_go);
        self.hear_commit().await
    }

    fn begin_commit(&mut self, lets_go: bool) {
        if self.committing.is_some() || self.arrived.is_empty() {
            return;
        }
        self.commit_begun = Some(Instant::now());
        let (pieces, db) = (mem::take(&mut self.arrived), self.engine.db.clone());
        let (upload, epoch) = (self.lease.upload, self.lease.epoch);
        let terms = Terms { expiry: self.engine.limits.expiry, lets_go };
        let (window, tell) = (Arc::clone(&self.window), self.tell.clone());
        let under_way = tokio::spawn(async move {
            let committed = parts::commit(&db, upload, epoch, &pieces, terms).await?;
            if let Some(Committed { to, .. }) = committed {
                window.commit(to);
                tell.map(|tell| tell.send_replace(to));
            }
            Ok(committed)
        });
        self.committing = Some(Committing { under_way, lets_go });
    }

    async fn hear_commit(&mut self) -> Result<(), AppendError> {
        let Some(committing) = &mut self.committing else { return Ok(()) };
        let (heard, lets_go) = ((&mut committing.under_way).await, committing.lets_go);
        self.committing = None;
        let committed = heard.map_err(|e| StoreError::Away(std::io::Error::other(e)))??;
        let Committed { to, expires_at } = committed.ok_or(AppendError::Fenced)?;
        self.committed = to;
        self.freed_until = lets_go.then_some(expires_at);
        // Others of the account grow too.
        if self.room.is_some() && self.length.is_none() && !lets_go {
            self.room = self.engine.room(self.lease).await?;
        }
        Ok(())
    }

    /// Of a request that ended otherwise: a commit that was under way may have held.
    pub(super) async fn hear_last_commit(&mut self) {
        if let Some(committing) = self.committing.take()
            && let Ok(Ok(Some(committed))) = committing.under_way.await
        {
            self.committed = committed.to;
        }
    }
}
