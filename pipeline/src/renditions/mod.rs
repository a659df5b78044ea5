//! Files made of a track on demand: one render for all who ask, followed while it is made, kept while it is used.
//!
//! Order: 1 row and job, in one transaction; then for each piece 2 its object, 3 its row, fenced by the job's token; at the
//! end 4 the row is whole and the job done, in one transaction.
//! Dead after 1: the job is due, and anybody takes it. Dead after 2: the same bytes are put again (equal: fine). Dead after
//! 3: the lease ends, and the next holder makes it anew, compares each piece with its row, and goes on where it ends; other
//! bytes start a new attempt, and whoever followed the old one is cut off.
//! Never: a row that names a missing object; a clean end over a part of a file.

mod follow;
mod rows;
mod run;

use std::{sync::Arc, time::Duration};

use schema::{
    Id,
    job::{self, Job},
    track::Track,
};
use sha2::{Digest, Sha256};
use tokio::{
    select,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    download::{File, Format},
    encode::Slot,
    engine::Engine,
    media::Coding,
    publish::hex,
};
pub use follow::CutOff;
pub(crate) use rows::forget_unused;
use run::Ended;

/// The job's kind.
pub(crate) const KIND: &str = "render";

/// Raised when the same source and words give other bytes: settings of a coder, a container's layout.
const SETTINGS: u32 = 1;

/// Hex digits of a recipe.
const RECIPE_DIGITS: usize = 32;

/// How often due jobs are looked for when nothing announces one.
const POLL: Duration = Duration::from_secs(1);

/// Tries of one file before it fails.
const ATTEMPTS: i32 = 2;

/// Why a file isn't made whose track was taken down, failed, or forgotten meanwhile.
const TRACK_GONE: &str = "track_gone";

/// The first wait after a failed try; it doubles, up to 32 s.
const RETRY_BASE: Duration = Duration::from_secs(1);
/// See [`RETRY_BASE`].
const RETRY_DOUBLINGS: u32 = 5;

/// A render for every so many slots: encodes and uploads go first, and one is always left to them where there are two.
const SLOTS_PER_RENDER: usize = 4;

/// What renders share in one process.
#[derive(Debug)]
pub(crate) struct Renders {
    /// There is a new job.
    wanted: Notify,
    /// A piece has its row, or a file its end.
    grown: Notify,
    at_once: Arc<Semaphore>,
}

impl Renders {
    /// Beside so many workers.
    pub(crate) fn new(workers: usize) -> Self {
        let at_once = Arc::new(Semaphore::new((workers / SLOTS_PER_RENDER).max(1)));
        Self { wanted: Notify::new(), grown: Notify::new(), at_once }
    }
}

/// A file, as far as it is.
#[derive(Clone, Debug)]
pub struct Rendition {
    /// Its row.
    pub id: Uuid,
    /// How far.
    pub standing: Standing,
}

/// How far a file is.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It is being made, or will be.
    Making,
    /// All of it.
    Whole(File),
    /// It can't be made.
    Failed {
        /// A stable code.
        reason: String,
    },
}

impl Format {
    /// How it is made; `None` for what isn't.
    fn coding(self) -> Option<Coding> {
        Some(match self {
            Self::Original => return None,
            Self::Flac => Coding::Flac,
            Self::Wav => Coding::Wav,
            Self::Mp3 => Coding::Mp3,
            Self::Aac => Coding::Aac,
            Self::Opus => Coding::Opus,
        })
    }
}

/// What the bytes follow from besides the source.
fn recipe(format: Format, title: &str) -> String {
    let all = Sha256::digest(format!("{SETTINGS}\n{format}\n{title}"));
    hex(&all)[..RECIPE_DIGITS].to_owned()
}

impl Engine {
    /// The file of a track in a format, which is made from now on if it wasn't. Everybody who asks for it hears of the same.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn rendition(&self, track: Id<Track>, format: Format, title: &str) -> sqlx::Result<Rendition> {
        let (rendition, is_new) = rows::want(&self.db, track, format, title).await?;
        if is_new {
            self.renders.wanted.notify_one();
        }
        Ok(rendition)
    }

    /// The length of that file, if somebody has had it made.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn rendition_len(&self, track: Id<Track>, format: Format, title: &str) -> sqlx::Result<Option<u64>> {
        rows::len(&self.db, track, &recipe(format, title)).await
    }

    /// Claims due renders while slots are free, until the process stops.
    pub(crate) async fn render_due(self: Arc<Self>) {
        loop {
            select! {
                () = self.stop.cancelled() => return,                                  // cancel-safe: a flag
                () = self.renders.wanted.notified() => {}                              // cancel-safe: a missed one waits for the poll
                () = tokio::time::sleep(POLL) => {}                                    // cancel-safe: no state
            }
            loop {
                let begun = select! {
                    () = self.stop.cancelled() => return,                              // cancel-safe: a flag
                    begun = self.begin_one() => begun,                                 // a claim that nobody took up ends with its lease
                };
                match begun {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        tracing::warn!(%error, "no renders could be claimed");
                        break;
                    }
                }
            }
        }
    }

    /// Takes the next render when there is one and a slot for it.
    async fn begin_one(self: &Arc<Self>) -> sqlx::Result<bool> {
        if !rows::is_due(&self.db).await? {
            return Ok(false);
        }
        let Ok(place) = Arc::clone(&self.renders.at_once).acquire_owned().await else { return Ok(false) };
        let slot = self.slots.backlog().await;
        let Some(job) = job::claim(&self.db, KIND, self.node, self.limits.lease).await? else { return Ok(false) };
        let engine = Arc::clone(self);
        self.tasks.spawn(async move { engine.render(job, (place, slot)).await });
        Ok(true)
    }

    /// Does the job while its lease is kept, and says in rows how it ended.
    async fn render(self: Arc<Self>, job: Job, held: (OwnedSemaphorePermit, Slot)) {
        let lost = CancellationToken::new();
        let ended = select! {
            ended = run::attempts(&self, &job) => ended,
            () = self.beat(&job, &lost) => Ended::Lost,                                // cancel-safe: the worker dies with the run
            () = self.stop.cancelled() => Ended::Stopped,                              // the same; the job goes back below
        };
        drop(held);
        if let Err(error) = self.conclude_render(&job, &ended).await {
            tracing::warn!(rendition.id = %job.subject, %error, "the end of a render isn't recorded; its lease ends");
        }
        self.renders.grown.notify_waiters();
        self.renders.wanted.notify_one();
    }

    async fn conclude_render(&self, job: &Job, ended: &Ended) -> sqlx::Result<()> {
        let mut tx = schema::begin(&self.db).await?;
        if !job::still_mine(&mut tx, job).await? {
            return Ok(());
        }
        let wait = |tries: i32| RETRY_BASE * 2u32.pow(tries.unsigned_abs().min(RETRY_DOUBLINGS));
        let mine = match ended {
            Ended::Finished | Ended::Lost => return Ok(()),
            Ended::Stopped => job::give_back(&mut tx, job).await?,
            Ended::Gone => {
                rows::fail(&mut tx, job, TRACK_GONE, "the track isn't there to be kept any more").await?;
                job::finish(&mut tx, job).await?
            }
            Ended::Trouble(why) => {
                tracing::warn!(rendition.id = %job.subject, error = %why, "render interrupted; it goes on by itself");
                job::put_off(&mut tx, job, wait(job.troubles), why).await?
            }
            Ended::Failed(f) if f.retryable && job.failures + 1 < ATTEMPTS => {
                tracing::warn!(rendition.id = %job.subject, code = f.code.as_str(), text = %f.text, "render failed; trying again");
                job::retry(&mut tx, job, wait(job.failures), &f.to_string()).await?
            }
            Ended::Failed(f) => {
                tracing::warn!(rendition.id = %job.subject, code = f.code.as_str(), text = %f.text, "render failed");
                rows::fail(&mut tx, job, f.code.as_str(), &f.text).await?;
                job::bury(&mut tx, job, &f.to_string()).await?
            }
        };
        if mine { tx.commit().await } else { tx.rollback().await }
    }
}
