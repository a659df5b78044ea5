//! One worker on one track: its needs are answered from the source, what it makes goes to the store and then to the rows.
//!
//! Promise: rows are written in the order in which the worker made things, each after its object is durable.
//! Memory:  at most `SEGMENTS_IN_FLIGHT` segments on their way to the store.
//! Parking: a worker that waits for a slow client, or of the backlog while live tracks want its slot, gives that back; one that
//!          waits for bytes too long is ended, and the track is encoded anew when they come again.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use schema::{Id, job::Job, track::Track};
use sha2::{Digest, Sha256};
use tokio::{select, task::JoinHandle};

use super::{
    alike,
    byproducts::{self, Byproducts},
    rows::{self, Learnt, SegmentRow, Stored},
    slots::Slot,
};
use crate::{
    engine::{Encoding, Engine},
    fenced::RowError,
    limits::SEGMENTS_IN_FLIGHT,
    media::{
        Code, Event, Failure, Order, PlannedRung, Source as Opened, Worker,
        sniff::{Sniffed, sniff},
    },
    source::{Source, SourceError},
    store::StoreError,
    tee::Phase,
};

/// A worker that has waited this long for bytes lets others have its slot.
const PARK_AFTER: Duration = Duration::from_secs(2);

/// A worker that has waited this long for bytes is ended: its memory is worth more than its state.
const END_AFTER: Duration = Duration::from_secs(120);

/// The first look at a file: enough for every container to show itself, or the whole of a small file.
const HEAD_BYTES: usize = 64 << 10;

/// How a run ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The track is ready, or needs nothing more. Recorded already.
    Finished,
    /// It can't be encoded.
    Failed(Failure),
    /// Not now: bytes are missing, or must all be there first. The job goes back as it is.
    Waiting,
    /// An earlier try published other bytes: do it again as a new run.
    Differs,
    /// The upload is gone.
    Gone,
    /// The job is another holder's.
    Lost,
    /// The store or the database failed.
    Trouble(String),
}

impl From<RowError> for Ended {
    fn from(error: RowError) -> Self {
        match error {
            RowError::Lost => Self::Lost,
            RowError::Differs => Self::Differs,
            RowError::Db(e) => Self::Trouble(e.to_string()),
        }
    }
}

impl From<SourceError> for Ended {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Gone => Self::Gone,
            other => Self::Trouble(format!(
                "{other}: {}",
                std::error::Error::source(&other).map_or_else(String::new, ToString::to_string)
            )),
        }
    }
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Exists(_) => Self::Differs,
            other => Self::Trouble(other.to_string()),
        }
    }
}

/// Something on its way to the store, and the row that follows it.
struct OnItsWay {
    what: Made,
    put: JoinHandle<Result<Stored, StoreError>>,
}

enum Made {
    Rung(PlannedRung),
    Segment(SegmentRow),
}

/// One worker's run.
pub(super) struct Run<'a> {
    engine: &'a Arc<Engine>,
    job: &'a Job,
    source: &'a Source,
    track: Id<Track>,
    fresh: bool,
    slot: Option<Slot>,
    opened: Option<(Opened, i32)>,
    on_its_way: VecDeque<OnItsWay>,
    /// Rungs whose first segment has a row.
    begun: u64,
    segments: u64,
    learnt: Learnt,
    /// Until the track is about to be ready.
    beside: Byproducts,
}

impl<'a> Run<'a> {
    /// A run in `slot`, or in the next one free.
    pub(super) async fn new(
        engine: &'a Arc<Engine>,
        job: &'a Job,
        source: &'a Source,
        fresh: bool,
        slot: Option<Slot>,
    ) -> Self {
        let slot = match slot {
            Some(slot) => slot,
            None => engine.slots.again(source.rank()).await,
        };
        Self {
            engine,
            job,
            source,
            track: job.subject.into(),
            fresh,
            slot: Some(slot),
            opened: None,
            on_its_way: VecDeque::new(),
            begun: 0,
            segments: 0,
            learnt: Learnt::default(),
            beside: Byproducts::default(),
        }
    }

    /// From the first look at the bytes to the track's last state.
    pub(super) async fn drive(&mut self) -> Ended {
        match self.work().await {
            Ok(()) => Ended::Finished,
            Err(ended) => {
                self.leave().await;
                ended
            }
        }
    }

    /// What is on its way lands, and gets its row where it still may: if the track has failed, nobody writes it again, and
    /// an object that no row names would stay.
    async fn leave(&mut self) {
        while !self.on_its_way.is_empty() {
            let done = oldest(&mut self.on_its_way).await;
            if self.record(done).await.is_err() {
                return;
            }
        }
    }

    async fn work(&mut self) -> Result<(), Ended> {
        if self.source.window.phase() == Phase::Stored
            && let Err(elsewhere) = self.source.resolved().await?
        {
            return Err(Ended::Failed(Failure::new(Code::SourceElsewhere, elsewhere.to_string())));
        }
        let seeks = self.sniffed().await?;
        let Encoding { ladder, segment_seconds, exe } = self.engine.encoding.clone();
        let window = &self.source.window;
        let order = match (window.phase(), window.length()) {
            (Phase::Stored, _) => Order::ranges(ladder, segment_seconds, exe, window.committed()),
            (_, Some(length)) if seeks => Order::ranges(ladder, segment_seconds, exe, length),
            _ => Order::stream(ladder, segment_seconds, exe),
        };
        let mut worker = Worker::spawn(order).await.map_err(|e| Ended::Trouble(e.to_string()))?;
        let mut need: Option<(u64, u32)> = None;
        loop {
            let event = match need {
                None => select! {
                    event = worker.next() => event,                                    // cancel-safe by contract
                    done = oldest(&mut self.on_its_way) => { self.record(done).await?; continue }  // cancel-safe: a join handle
                },
                Some((off, len)) => select! {
                    biased;
                    event = worker.next() => event,
                    done = oldest(&mut self.on_its_way) => { self.record(done).await?; continue }
                    // cancel-safe: reading changes nothing, and what passes stays until the next offset is asked for
                    bytes = fetch(self.source, self.engine, &mut self.slot, off, len) => {
                        need = None;
                        // A worker that is gone says why in its next event.
                        let _ = worker.give(off, bytes?).await;
                        continue;
                    }
                },
            };
            match event {
                Event::Need { offset, len } => need = Some((offset, len)),
                Event::Done { samples, priming, .. } => {
                    self.learnt.samples = samples;
                    self.learnt.priming = priming.into_iter().max().unwrap_or(0);
                    break;
                }
                Event::Failed(failure) => return Err(self.judged(failure)),
                other => self.take(other).await?,
            }
        }
        while !self.on_its_way.is_empty() {
            let done = oldest(&mut self.on_its_way).await;
            self.record(done).await?;
        }
        self.finish().await
    }

    /// What the file is, by its first bytes: whether its index is behind its sound. `Waiting` when that index isn't there yet.
    async fn sniffed(&mut self) -> Result<bool, Ended> {
        // An earlier run's may be of bytes that never became durable.
        self.source.keep_head(Bytes::new());
        let mut head = Vec::new();
        loop {
            let more = fetch(self.source, self.engine, &mut self.slot, head.len() as u64, HEAD_BYTES as u32).await?;
            head.extend_from_slice(&more);
            let is_short = !more.is_empty() && head.len() < HEAD_BYTES;
            match sniff(&head) {
                Sniffed::NeedMore if !more.is_empty() && head.len() < 4 * HEAD_BYTES => {}
                // The worker reads on behind the sound's beginning before it goes to the index, and comes back.
                Sniffed::IndexLast(_) if is_short => {}
                found @ (Sniffed::Progressive(_) | Sniffed::IndexLast(_)) => {
                    self.source.keep_head(head.into());
                    let seeks = matches!(found, Sniffed::IndexLast(_));
                    if seeks && self.source.window.phase() != Phase::Stored && !self.source.has_end().await? {
                        return Err(Ended::Waiting);
                    }
                    return Ok(seeks);
                }
                Sniffed::NeedMore if head.is_empty() => {
                    return Err(Ended::Failed(Failure::new(Code::EmptyMedia, "the file is empty")));
                }
                Sniffed::NeedMore => return Err(Ended::Failed(unsupported("no known audio format"))),
                Sniffed::Unsupported { found } => return Err(Ended::Failed(unsupported(&found))),
            }
        }
    }

    /// One thing that the worker made or learnt.
    async fn take(&mut self, event: Event) -> Result<(), Ended> {
        match event {
            Event::Opened(opened) => {
                let run = rows::open_run(&self.engine.db, self.job, self.track, &opened, self.fresh).await?;
                self.opened = Some((opened, run));
            }
            Event::Init { rung, bytes } => {
                let (opened, run) = self.opened.as_ref().ok_or_else(out_of_order)?;
                let planned = opened.plan.iter().find(|p| p.rung == rung).ok_or_else(out_of_order)?.clone();
                let key = format!("{}/{rung}/init.mp4", rows::run_key(self.track, *run));
                self.put(Made::Rung(planned), key, bytes).await?;
            }
            Event::Segment { rung, n, first_sample, samples, bytes } => {
                let (_, run) = self.opened.as_ref().ok_or_else(out_of_order)?;
                let key = format!("{}/{rung}/{n}.m4s", rows::run_key(self.track, *run));
                self.put(Made::Segment(SegmentRow { rung, n, first_sample, samples }), key, bytes).await?;
            }
            Event::Tags(tags) => byproducts::tell_tags(&self.engine.db, self.job, self.track, &tags).await?,
            Event::PeaksPart { first, pairs } => self.source.window.add_peaks(first, &pairs),
            other => self.beside.hear(other)?,
        }
        Ok(())
    }

    async fn put(&mut self, what: Made, key: String, bytes: Bytes) -> Result<(), Ended> {
        while self.on_its_way.len() >= SEGMENTS_IN_FLIGHT {
            let done = oldest(&mut self.on_its_way).await;
            self.record(done).await?;
        }
        let store = Arc::clone(&self.engine.store);
        let put = tokio::spawn(async move {
            let stored = Stored { key: key.clone(), len: bytes.len() as u64, sha: Sha256::digest(&bytes).into() };
            store.put(&key, bytes).await.map(|_| stored)
        });
        self.on_its_way.push_back(OnItsWay { what, put });
        Ok(())
    }

    /// The object is durable: its row.
    async fn record(&mut self, (what, stored): (Made, Result<Stored, StoreError>)) -> Result<(), Ended> {
        let stored = stored?;
        let (opened, run) = self.opened.as_ref().ok_or_else(out_of_order)?;
        let (db, job, track, run) = (&self.engine.db, self.job, self.track, *run);
        match what {
            Made::Rung(rung) => rows::add_rung(db, job, track, run, &rung, &stored).await?,
            Made::Segment(segment) => {
                self.begun += u64::from(segment.n == 0);
                self.segments += 1;
                let plays = segment.n == 0 && self.begun == opened.plan.len() as u64;
                rows::add_segment(db, job, track, run, &segment, &stored, plays).await?;
            }
        }
        Ok(())
    }

    /// The ladder is whole. Once the bytes are verified, so is the track.
    async fn finish(&mut self) -> Result<(), Ended> {
        let (opened, run) = self.opened.as_ref().ok_or_else(out_of_order)?;
        let (rate, run) = (u64::from(opened.grid.rate), *run);
        rows::finish_run(&self.engine.db, self.job, self.track, run, self.segments).await?;
        self.slot = None;
        if !self.source.settled().await? {
            return Err(Ended::Gone);
        }
        // Tainted: `attempts` encodes the stored bytes again and compares.
        if self.source.window.is_tainted() {
            return Ok(());
        }
        // Not before: of a track that fails after all, an object would be left that no row names.
        self.learnt.named = self.beside.put(&*self.engine.store, self.track, run).await?;
        let (items, ms) = (self.beside.fingerprint(), self.learnt.samples * 1000 / rate);
        alike::remember(&self.engine.db, self.job, self.track, items, ms).await?;
        rows::finish_track(&self.engine.db, self.job, self.track, run, &self.learnt).await?;
        Ok(())
    }

    /// What a worker's failure means here: over bytes of an upload that is gone it isn't the file's, and an index at the end
    /// is there as soon as the file is whole.
    fn judged(&self, failure: Failure) -> Ended {
        match (failure.code, self.source.window.phase()) {
            (_, Phase::Gone) => Ended::Gone,
            (Code::IndexAtEnd, _) => Ended::Waiting,
            _ => Ended::Failed(failure),
        }
    }
}

/// Waits for the oldest object on its way; for ever when there is none. Cancel-safe: it leaves the queue only when done.
async fn oldest(queue: &mut VecDeque<OnItsWay>) -> (Made, Result<Stored, StoreError>) {
    let Some(first) = queue.front_mut() else { return std::future::pending().await };
    let stored = (&mut first.put).await.unwrap_or_else(|e| Err(StoreError::Away(std::io::Error::other(e))));
    match queue.pop_front() {
        Some(OnItsWay { what, .. }) => (what, stored),
        None => std::future::pending().await,
    }
}

/// Bytes for the worker. While they don't come the slot is others'; when they don't come for long, neither is the worker. Between
/// two needs is also where the backlog gives way to what is live.
async fn fetch(source: &Source, engine: &Engine, slot: &mut Option<Slot>, off: u64, len: u32) -> Result<Bytes, Ended> {
    *slot = slot.take().and_then(|slot| slot.kept(source.rank()));
    let read = source.read(off, len as usize);
    tokio::pin!(read);
    let bytes = match tokio::time::timeout(PARK_AFTER, read.as_mut()).await {
        Ok(bytes) => bytes?,
        Err(_) => {
            *slot = None;
            tokio::time::timeout(END_AFTER, read).await.map_err(|_| Ended::Waiting)??
        }
    };
    if slot.is_none() {
        *slot = Some(engine.slots.again(source.rank()).await);
    }
    Ok(bytes)
}

fn out_of_order() -> Ended {
    Ended::Failed(Failure::new(Code::WorkerProtocol, "the worker spoke out of turn"))
}

fn unsupported(found: &str) -> Failure {
    let text =
        format!("this is {found}, which can't be played; send WAV, AIFF, FLAC, ALAC, MP3, AAC, Ogg Vorbis or Opus");
    Failure::new(Code::UnsupportedMedia, text)
}
