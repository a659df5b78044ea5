//! The engine: what the doors and the jobs share, and the short verbs of an upload. The long ones have their own files:
//! `session` (append), `publish` (seal), `encode` (the ladder), `recover` and `sweep` (what a crash or a client left).

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use schema::{
    Id,
    caller::Account,
    machine::{Refused, take},
    track::{self, Track},
    upload::{self, Upload},
};
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    budget::Budget,
    chunks::line::Lines,
    encode::Slots,
    join::Joins,
    lease::{Ask, Holders, interval},
    limits::{Limits, MEDIA_SHARE},
    media::Ladder,
    put_off::PutOff,
    renditions::Renders,
    resource::{Kind, Look, LookError},
    scan::{ScanError, Scanner},
    store::Store,
    tee::{Phase, Window},
};

/// What the operator says about encoding.
#[derive(Clone, Debug)]
pub struct Encoding {
    /// The rungs that are wanted.
    pub ladder: Ladder,
    /// Length of a segment, about.
    pub segment_seconds: u32,
    /// The binary that is re-executed as the worker.
    pub exe: PathBuf,
}

/// The engine of one process.
#[derive(Debug)]
pub struct Engine {
    pub(crate) db: PgPool,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) limits: Limits,
    pub(crate) encoding: Encoding,
    pub(crate) scanner: Option<Scanner>,
    pub(crate) node: Uuid,
    processors: usize,
    pub(crate) budget: Budget,
    pub(crate) media_budget: Budget,
    pub(crate) holders: Arc<Holders>,
    /// Of the uploads whose chunks this process takes.
    pub(crate) lines: Lines,
    /// Of the uploads that somebody writes or encodes now; each lives as long as one of them holds it.
    pub(crate) windows: Mutex<HashMap<Uuid, Weak<Window>>>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) work: Notify,
    pub(crate) renders: Renders,
    pub(crate) joins: Joins,
    /// Whole uploads that couldn't be sealed here lately.
    pub(crate) unsealed: PutOff,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) probed: tokio::sync::Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Engine {
    /// An engine over `store`. Nothing runs until [`Engine::run`].
    pub fn new(
        db: PgPool,
        store: Arc<dyn Store>,
        limits: Limits,
        encoding: Encoding,
        scanner: Option<Scanner>,
        node: Uuid,
    ) -> Arc<Self> {
        let media = limits.memory_bytes / MEDIA_SHARE;
        Arc::new(Self {
            budget: Budget::new(limits.memory_bytes - media),
            lines: Lines::new(limits.memory_bytes - media),
            media_budget: Budget::new(media),
            slots: Slots::new(limits.workers),
            renders: Renders::new(limits.workers),
            db,
            store,
            limits,
            encoding,
            scanner,
            node,
            holders: Arc::default(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            windows: Mutex::default(),
            unsealed: PutOff::default(),
            work: Notify::new(),
            joins: Joins::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            probed: tokio::sync::Mutex::default(),
        })
    }

    /// The bounds that clients are told.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The store, for readers.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The database, for readers.
    pub fn db(&self) -> &PgPool {
        &self.db
    }

    /// Whether the virus scanner answers; `None`: there is none.
    pub async fn probe_scanner(&self) -> Option<Result<(), ScanError>> {
        match &self.scanner {
            Some(scanner) => Some(scanner.probe().await),
            None => None,
        }
    }

    /// Bytes of the upload budget in use now.
    pub fn memory_used(&self) -> usize {
        self.budget.used() + self.media_budget.used()
    }

    /// Uploads being written now.
    pub fn writers(&self) -> usize {
        self.holders.count()
    }

    /// Fewer uploads come in than there are processors: what an upload does in parallel makes it faster, and takes from none.
    pub(crate) fn has_idle_processors(&self) -> bool {
        self.holders.count() < self.processors
    }

    /// Shows an upload to its owner. Takes no lease, stops nobody.
    ///
    /// # Errors
    /// `Missing`, `Gone`, `Db`.
    pub async fn look(&self, owner: Id<Account>, id: Id<Upload>) -> Result<Look, LookError> {
        let look = self.look_at(owner, id).await?;
        if matches!(look.state, upload::State::Aborted | upload::State::Expired | upload::State::Failed) {
            return Err(LookError::Gone { state: look.state, reason: look.reason });
        }
        Ok(look)
    }

    /// The same, whatever has become of it.
    pub(crate) async fn look_at(&self, owner: Id<Account>, id: Id<Upload>) -> Result<Look, LookError> {
        let row = sqlx::query!(
            "SELECT track_id, door, kind, concat, ended, state, reason, committed, length, metadata, expires_at, sha256, part_bytes,
                    expires_at <= now() AND NOT coalesce(ended AND committed = length AND state <> 'stored', false)
                        AS \"overdue!\"
               FROM uploads WHERE id = $1 AND owner = $2",
            id.uuid(),
            owner.uuid()
        )
        .fetch_optional(&self.db)
        .await?
        .ok_or(LookError::Missing)?;
        let state = schema::machine::State::named(&row.state)
            .ok_or_else(|| sqlx::Error::Decode("a state that this release doesn't know".into()))?;
        let state = match state {
            upload::State::Opened | upload::State::Receiving if row.overdue => upload::State::Expired,
            upload::State::Stored if row.overdue => upload::State::Aborted,
            state => state,
        };
        Ok(Look {
            id,
            track: row.track_id.map(Into::into),
            door: row.door,
            kind: Kind::named(&row.kind),
            concat: row.concat,
            ended: row.ended,
            state,
            reason: row.reason,
            offset: from_db(row.committed),
            length: row.length.map(from_db),
            metadata: row.metadata,
            expires_at: row.expires_at,
            sha256: row.sha256,
            part_bytes: from_db(row.part_bytes),
        })
    }

    /// Ends an upload. A running writer is stopped first. A stored upload ends as a resource; its track lives on.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn terminate(&self, owner: Id<Account>, id: Id<Upload>) -> Result<(), LookError> {
        let look = self.look(owner, id).await?;
        if look.state == upload::State::Stored {
            sqlx::query!("UPDATE uploads SET expires_at = now() WHERE id = $1", id.uuid()).execute(&self.db).await?;
            return Ok(());
        }
        let holding = self.holders.enter(id).await.ok_or(LookError::Sealing)?;
        let mut tx = schema::begin(&self.db).await?;
        let proof = match take(&mut tx, id, upload::Abort {}).await {
            Ok(proof) => proof,
            Err(Refused::AlreadyThere) => return Ok(()),
            Err(Refused::Missing) => return Err(LookError::Missing),
            Err(Refused::Illegal { .. }) => return Err(LookError::Sealing),
            Err(Refused::Db(e)) => return Err(e.into()),
        };
        self.trash_bytes(&mut tx, proof.id(), Duration::ZERO).await?;
        let held_at = sqlx::query_scalar!("SELECT epoch FROM uploads WHERE id = $1 AND node IS NOT NULL", id.uuid())
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(track) = look.track {
            self.fail_track(&mut tx, track, "upload_aborted", "the upload was ended before its last byte").await?;
        }
        tx.commit().await?;
        drop(holding);
        // Another node's writer can't commit any more. Asked, its client hears of it now; a lost word costs only time.
        let told = match held_at {
            Some(epoch) => self.ask_others(id, epoch, Ask::Yield).await,
            None => Ok(()),
        };
        if let Err(error) = told {
            tracing::warn!(upload.id = %id, %error, "the writer on another node wasn't told that its upload is gone");
        }
        self.lines.end(id);
        match look.track {
            Some(track) => self.settle_window(track, Phase::Gone, look.offset),
            None => self.joins.wake(),
        }
        tracing::info!(upload.id = %id, track.id = look.track.map(tracing::field::display), "upload aborted");
        Ok(())
    }

    /// Gives a track another title; `false` when there is none.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn retitle(&self, track: Id<Track>, title: &str) -> sqlx::Result<bool> {
        let done = sqlx::query!(
            "UPDATE tracks SET title = $2, title_given = true, updated_at = now() WHERE id = $1",
            track.uuid(),
            title
        )
        .execute(&self.db)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Deletes, after `wait`, what an upload has in the store: the transaction that makes it right says so in rows. The
    /// object too, which a judgement after the completion leaves whole under its private key. Who is sending a chunk
    /// loses the right to commit it.
    pub(crate) async fn trash_bytes(
        &self,
        tx: &mut schema::Tx<'_>,
        id: Id<Upload>,
        wait: Duration,
    ) -> sqlx::Result<()> {
        sqlx::query!(
            "INSERT INTO store_trash (key, multipart_id, not_before)
             SELECT key, multipart_id, now() + $2 FROM uploads WHERE id = $1 AND multipart_id IS NOT NULL
             UNION ALL SELECT key, NULL, now() + $2 FROM uploads WHERE id = $1 AND multipart_id IS NOT NULL
             UNION ALL SELECT object_key, NULL, now() + $2 FROM upload_tails WHERE upload_id = $1",
            id.uuid(),
            interval(wait)
        )
        .execute(&mut **tx)
        .await?;
        // What comes to the store late, from a request that is still under way, is nobody's then, and the orphan sweep's.
        sqlx::query!("DELETE FROM upload_tails WHERE upload_id = $1", id.uuid()).execute(&mut **tx).await?;
        sqlx::query!("DELETE FROM upload_parts WHERE upload_id = $1", id.uuid()).execute(&mut **tx).await?;
        sqlx::query!("DELETE FROM upload_claims WHERE upload_id = $1", id.uuid()).execute(&mut **tx).await?;
        Ok(())
    }

    /// Fails a track that isn't final yet, with its grants revoked. A track that is final stays as it is.
    pub(crate) async fn fail_track(
        &self,
        tx: &mut schema::Tx<'_>,
        id: Id<Track>,
        reason: &str,
        detail: &str,
    ) -> sqlx::Result<bool> {
        sqlx::query!("UPDATE tracks SET generation = generation + 1, updated_at = now() WHERE id = $1", id.uuid())
            .execute(&mut **tx)
            .await?;
        match take(tx, id, track::Fail { reason: reason.into(), detail: detail.into() }).await {
            Ok(_proof) => Ok(true),
            Err(Refused::Db(e)) => Err(e),
            Err(_) => Ok(false),
        }
    }

    /// The window of a track that somebody follows.
    pub(crate) fn window(&self, track: Id<Track>) -> Option<Arc<Window>> {
        self.windows.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&track.uuid())?.upgrade()
    }

    /// The same, made by `new` when there is none.
    pub(crate) fn window_or(&self, track: Id<Track>, new: impl FnOnce(Budget) -> Window) -> Arc<Window> {
        let mut windows = self.windows.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(window) = windows.get(&track.uuid()).and_then(Weak::upgrade) {
            return window;
        }
        windows.retain(|_, window| window.strong_count() > 0);
        let window = Arc::new(new(self.media_budget.clone()));
        windows.insert(track.uuid(), Arc::downgrade(&window));
        window
    }

    pub(crate) fn settle_window(&self, track: Id<Track>, phase: Phase, committed: u64) {
        if let Some(window) = self.window(track) {
            window.settle(phase, committed);
        }
    }
}

/// Byte counts are below 2^63 by `UPLOAD_MAX_BYTES`; the column is signed.
pub(crate) fn db_int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The inverse of [`db_int`]; CHECKs keep the columns at 0 or more.
pub(crate) fn from_db(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
