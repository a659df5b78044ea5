//! One worker on one file: its needs are answered from the stored source, what it makes goes to the store and then to rows.
//!
//! Memory: a piece that fills, one on its way, and what is read ahead of the source.

use std::{future::pending, sync::Arc};

use bytes::{Bytes, BytesMut};
use schema::job::Job;
use sha2::{Digest, Sha256};
use tokio::{select, task::JoinHandle};

use super::rows::{self, Stored, Task};
use crate::{
    engine::Engine,
    fenced::RowError,
    media::{Code, Event, Failure, Order, Render, Worker},
    store::StoreError,
};

/// What is read of the source at once; the worker asks for less, and hears the rest without another read.
const READ_BYTES: usize = 1 << 20;

/// The first piece: what whoever asked waits for.
const FIRST_BYTES: usize = 256 << 10;

/// Every piece but the first ones: few rows and requests for a long file.
const PIECE_BYTES: usize = 4 << 20;

/// How a render ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Whole. Recorded already.
    Finished,
    /// It can't be made.
    Failed(Failure),
    /// Nobody wants it any more, or its track is gone.
    Gone,
    /// The job is another holder's.
    Lost,
    /// The process stops.
    Stopped,
    /// The store or the database failed.
    Trouble(String),
}

/// Why a try ended before its end.
enum Broken {
    Differs,
    Ended(Ended),
}

impl From<RowError> for Broken {
    fn from(error: RowError) -> Self {
        match error {
            RowError::Lost => Self::Ended(Ended::Lost),
            RowError::Differs => Self::Differs,
            RowError::Db(e) => Self::Ended(Ended::Trouble(e.to_string())),
        }
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Exists(_) => Self::Differs,
            other => Self::Ended(Ended::Trouble(other.to_string())),
        }
    }
}

/// A try, and another from the beginning where the first one's pieces turn out to be of other bytes.
pub(super) async fn attempts(engine: &Arc<Engine>, job: &Job) -> Ended {
    for _ in 0..2 {
        let task = match rows::task(&engine.db, job).await {
            Ok(Some(task)) => task,
            Ok(None) => return Ended::Gone,
            Err(e) => return Ended::Trouble(e.to_string()),
        };
        let mut making =
            Making { engine, job, task: &task, n: 0, filling: BytesMut::new(), whole: Sha256::new(), on_its_way: None };
        match making.drive().await {
            Ok(()) => return Ended::Finished,
            Err(Broken::Ended(ended)) => return ended,
            Err(Broken::Differs) => {}
        }
        match rows::begin_anew(&engine.db, job, &task).await.map_err(Broken::from) {
            Ok(()) | Err(Broken::Differs) => {}
            Err(Broken::Ended(ended)) => return ended,
        }
    }
    Ended::Trouble("the same source gives other bytes each time".to_owned())
}

struct Making<'a> {
    engine: &'a Arc<Engine>,
    job: &'a Job,
    task: &'a Task,
    n: i32,
    filling: BytesMut,
    whole: Sha256,
    on_its_way: Option<JoinHandle<Result<Stored, StoreError>>>,
}

impl Making<'_> {
    async fn drive(&mut self) -> Result<(), Broken> {
        let Task { format, title, seconds, rate, channels, .. } = self.task;
        let Some(coding) = format.coding() else { return Err(Broken::Ended(Ended::Gone)) };
        let render = Render { coding, title: title.clone(), seconds: *seconds, rate: *rate, channels: *channels };
        let order = Order::render(render, self.engine.encoding.exe.clone(), self.task.size);
        let spawned = Worker::spawn(order).await;
        let mut worker = spawned.map_err(|e| Broken::Ended(Ended::Trouble(e.to_string())))?;
        loop {
            let event = select! {
                event = worker.next() => event,                                        // cancel-safe by contract
                stored = landed(&mut self.on_its_way) => { self.record(stored).await?; continue } // cancel-safe: a join handle
            };
            match event {
                Event::Need { offset, .. } => {
                    let bytes = self.engine.store.read(&self.task.key, offset, READ_BYTES).await?;
                    // A worker that is gone says why in its next event.
                    let _ = worker.give(offset, bytes).await;
                }
                Event::File { bytes, .. } => self.keep(&bytes).await?,
                Event::Rendered { len } => return self.finish(len).await,
                Event::Failed(failure) => return Err(Broken::Ended(Ended::Failed(failure))),
                _ => {
                    let text = "the worker spoke of something else";
                    return Err(Broken::Ended(Ended::Failed(Failure::new(Code::WorkerProtocol, text))));
                }
            }
        }
    }

    async fn keep(&mut self, bytes: &Bytes) -> Result<(), Broken> {
        self.whole.update(bytes);
        self.filling.extend_from_slice(bytes);
        // Pieces are cut by their number alone, so that a restart cuts the same.
        let full = FIRST_BYTES.checked_shl(2 * self.n.cast_unsigned().min(8)).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        if self.filling.len() >= full { self.send(full).await } else { Ok(()) }
    }

    async fn send(&mut self, len: usize) -> Result<(), Broken> {
        if self.on_its_way.is_some() {
            let stored = landed(&mut self.on_its_way).await;
            self.record(stored).await?;
        }
        let (n, bytes) = (self.n, self.filling.split_to(len).freeze());
        let key = format!("{}/{n}", rows::attempt_key(self.task.track, self.job.subject, self.task.attempt));
        let store = Arc::clone(&self.engine.store);
        self.on_its_way = Some(tokio::spawn(async move {
            let stored = Stored { n, key: key.clone(), len: bytes.len() as u64, sha: Sha256::digest(&bytes).into() };
            store.put(&key, bytes).await.map(|_| stored)
        }));
        self.n += 1;
        Ok(())
    }

    /// The object is durable: its row.
    async fn record(&mut self, stored: Result<Stored, StoreError>) -> Result<(), Broken> {
        rows::add(&self.engine.db, self.job, &stored?).await?;
        self.engine.renders.grown.notify_waiters();
        Ok(())
    }

    async fn finish(&mut self, len: u64) -> Result<(), Broken> {
        if !self.filling.is_empty() {
            self.send(self.filling.len()).await?;
        }
        if self.on_its_way.is_some() {
            let stored = landed(&mut self.on_its_way).await;
            self.record(stored).await?;
        }
        let sha256 = self.whole.clone().finalize().into();
        rows::finish(&self.engine.db, self.job, self.n, len, sha256).await?;
        tracing::info!(rendition.id = %self.job.subject, track.id = %self.task.track, format = self.task.format.name(),
            bytes = len, "rendered");
        metrics::counter!("millrace_renders_total", "format" => self.task.format.name()).increment(1);
        Ok(())
    }
}

/// Waits for the piece on its way; for ever when there is none. Cancel-safe: it leaves its place only when done.
async fn landed(on_its_way: &mut Option<JoinHandle<Result<Stored, StoreError>>>) -> Result<Stored, StoreError> {
    let Some(put) = on_its_way else { return pending().await };
    let stored = put.await.unwrap_or_else(|e| Err(StoreError::Away(std::io::Error::other(e))));
    *on_its_way = None;
    stored
}
