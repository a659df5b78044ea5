//! One file's way to a finished track.
//!
//! Order: 1 the upload is made; 2 its address is kept on disk; 3 bytes are sent from the server's offset on, however
//! often that takes; 4 the track is watched until it ends; 5 both SHA-256 are compared.
//! Dead after 1: an empty upload that expires. Dead later: the next command asks for the offset and goes on.
//! Only the server's offset counts; what was sent and not acknowledged is sent again.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::bail;
use futures_util::StreamExt;
use indicatif::ProgressBar;
use reqwest::Body;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::{
    files,
    hash::{Hash, READ_BYTES},
    index,
    patience::Patience,
    record::{Known, Look, Place, Record},
    scatter::SCATTER_BYTES_MIN,
    show::{Done, Show},
    tus::{Client, Problem, Track, WireError},
};

/// Up to this, hashing takes a fraction of a second: it is done before, so that the server can refuse wrong bytes.
/// Larger files are hashed while they are sent, and compared at the end.
const HASH_FIRST_BYTES_MAX: u64 = 64 << 20;
/// No byte taken and no answer for this long: hang up and ask.
const STALL_MAX: Duration = Duration::from_secs(60);
/// How often that is looked at.
const STALL_LOOK: Duration = Duration::from_secs(1);
/// The first body that is tried where a proxy refuses larger ones; then halves …
const CHUNK_BYTES_MAX: u64 = 64 << 20;
/// … down to this.
const CHUNK_BYTES_MIN: u64 = 1 << 20;
/// A server that keeps losing uploads has lost us.
pub(super) const RESTARTS_MAX: u32 = 3;
/// Between looks at a track that is being encoded: quick for a short one, rare for a long one.
const POLL_MIN: Duration = Duration::from_millis(200);
/// As above.
const POLL_MAX: Duration = Duration::from_secs(2);

/// What all files have in common.
pub struct Journey {
    pub client: Client,
    pub records: PathBuf,
    pub wait: bool,
    pub show: Show,
    /// Chunks of one file at once.
    pub ways: usize,
}

/// One file, while it is on its way.
pub(super) struct Passenger<'a> {
    pub(super) path: &'a Path,
    pub(super) look: Look,
    pub(super) record: Record,
    pub(super) bar: ProgressBar,
    /// Where its index begins, if that should go first.
    pub(super) index: Option<u64>,
}

impl Journey {
    /// Makes the whole way; errors are told in what it returns.
    pub async fn make(&self, path: &Path) -> Done {
        let mut done =
            Done { path: path.into(), track_id: None, sha256: None, size: 0, state: None, url: None, error: None };
        if let Err(e) = self.travel(path, &mut done).await {
            done.error = Some(crate::one_line(&e));
        }
        done.url = done.track_id.as_deref().map(|id| self.client.track_url(id));
        done
    }

    async fn travel(&self, path: &Path, done: &mut Done) -> anyhow::Result<()> {
        let look = Look::at(path)?;
        done.size = look.size;
        let record = Record::open(&self.records, self.client.server(), path)?;
        let index = index::to_send_first(path, look.size).await;
        let file = Passenger { path, look, record, bar: self.show.bar(path, look.size), index };
        let outcome = self.carry(&file, done).await;
        file.bar.finish_and_clear();
        outcome
    }

    async fn carry(&self, file: &Passenger<'_>, done: &mut Done) -> anyhow::Result<()> {
        let mut hash = Hash::start(file.path);
        let mut known = self.recall(file).await;
        if let Some(place) = known.take_if(|place| place.finished) {
            if self.is_there(&place, hash.get().await?, done).await? {
                return Ok(());
            }
            file.record.forget();
        }
        let early = if file.look.size <= HASH_FIRST_BYTES_MAX { Some(hash.get().await?.to_owned()) } else { None };
        let place = self.bring(file, known, early.as_deref(), done).await?;
        let sha256 = hash.get().await?;
        file.unchanged()?;
        done.sha256 = Some(sha256.to_owned());
        let Some(track) = place.track.clone().filter(|_| self.wait) else { return Ok(()) };
        file.bar.set_prefix("encoding");
        self.watch(file, &track, sha256, done).await?;
        file.record.keep(file.look, &Place { finished: true, ..place })
    }

    /// Where an earlier command left this very file; what it began of another version is ended.
    async fn recall(&self, file: &Passenger<'_>) -> Option<Place> {
        match file.record.recall(file.look) {
            Known::Nothing => None,
            Known::Same(place) => Some(place),
            Known::Changed(place) => {
                if !place.finished {
                    // Best effort: what can't be ended now expires.
                    let _ = self.client.terminate(&place.upload).await;
                }
                file.record.forget();
                None
            }
        }
    }

    /// Whether an earlier command has brought this very file there.
    async fn is_there(&self, place: &Place, sha256: &str, done: &mut Done) -> anyhow::Result<bool> {
        let Some(id) = &place.track else { return Ok(false) };
        match self.client.track(id).await {
            Ok(track) if track.state == "ready" && track.sha256.as_deref() == Some(sha256) => {
                done.track_id = Some(id.clone());
                (done.state, done.sha256) = (Some(track.state), Some(sha256.to_owned()));
                Ok(true)
            }
            Ok(_) | Err(WireError::Gone) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Until the server has every byte: a large file by several chunks at once and one whose index is at its end by that end
    /// first, where the server takes chunks.
    async fn bring(
        &self,
        file: &Passenger<'_>,
        known: Option<Place>,
        sha256: Option<&str>,
        done: &mut Done,
    ) -> anyhow::Result<Place> {
        let in_chunks = known.as_ref().map(|place| place.chunk_bytes.is_some());
        let wants_chunks = file.index.is_some() || self.ways > 1 && file.look.size >= SCATTER_BYTES_MIN;
        if in_chunks.unwrap_or(wants_chunks) {
            match self.scatter(file, known, sha256, done).await? {
                Some(place) => Ok(place),
                None => self.send(file, None, sha256, done).await,
            }
        } else {
            self.send(file, known, sha256, done).await
        }
    }

    /// Until the server has every byte, one after the other.
    async fn send(
        &self,
        file: &Passenger<'_>,
        mut place: Option<Place>,
        sha256: Option<&str>,
        done: &mut Done,
    ) -> anyhow::Result<Place> {
        let mut patience = Patience::new();
        let mut chunk = u64::MAX;
        let mut offset = None;
        let mut restarts = 0;
        loop {
            let step = match &place {
                None => self.create(file, sha256).await.map(Step::Made),
                Some(at) => self.step(file, &at.upload, offset, chunk).await.map(Step::At),
            };
            match step {
                Ok(Step::Made(new)) => {
                    file.record.keep(file.look, &new)?;
                    done.track_id.clone_from(&new.track);
                    (place, offset) = (Some(new), Some(0));
                    patience.encouraged();
                }
                Ok(Step::At(at)) => {
                    if offset.is_none_or(|before| at > before) {
                        patience.encouraged();
                    }
                    offset = Some(at);
                    file.bar.set_position(at);
                }
                Err(WireError::Gone) if place.is_some() && restarts < RESTARTS_MAX => {
                    file.record.forget();
                    (place, offset, restarts) = (None, None, restarts + 1);
                }
                Err(WireError::TooLarge(_)) if place.is_some() && chunk > CHUNK_BYTES_MIN => {
                    chunk = (chunk / 2).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
                    offset = None;
                }
                Err(WireError::Passing { why, wait, answered }) => {
                    file.unchanged()?;
                    offset = None;
                    file.bar.set_prefix("waiting");
                    patience.wait(&why, wait, answered, self.client.server()).await?;
                    file.bar.set_prefix("");
                }
                Err(e) => {
                    file.record.forget();
                    return Err(e.into());
                }
            }
            if let Some(whole) = place.as_ref().filter(|_| offset == Some(file.look.size)) {
                done.track_id.clone_from(&whole.track);
                return Ok(whole.clone());
            }
        }
    }

    async fn create(&self, file: &Passenger<'_>, sha256: Option<&str>) -> Result<Place, WireError> {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        let mut metadata = vec![("filename", name.as_ref()), ("filetype", files::media_type(file.path))];
        metadata.extend(sha256.map(|sha256| ("sha256", sha256)));
        let made = self.client.create(file.look.size, &metadata).await?;
        Ok(Place { upload: made.upload, track: made.track, finished: false, chunk_bytes: None })
    }

    /// Asks for the offset if it isn't known, or sends from there on; the offset after it.
    async fn step(
        &self,
        file: &Passenger<'_>,
        upload: &str,
        offset: Option<u64>,
        chunk: u64,
    ) -> Result<u64, WireError> {
        let Some(offset) = offset else { return self.client.offset(upload).await };
        let left = file.look.size.checked_sub(offset).ok_or_else(|| {
            WireError::Final(format!("the server has {offset} bytes of a file of {}", file.look.size))
        })?;
        let length = left.min(chunk);
        let sent = Arc::new(AtomicU64::new(0));
        let bar = file.bar.clone();
        let body = body(file.path, offset, length, Arc::clone(&sent), move |_, all| bar.set_position(offset + all));
        let body = body.await.map_err(|e| WireError::Final(e.to_string()))?;
        tokio::select! {
            at = self.client.append(upload, offset, length, body) => at,  // dropped: the connection closes, HEAD tells
            stalled = stall(&sent) => Err(stalled),
        }
    }

    /// Until the track is ready or failed.
    async fn watch(&self, file: &Passenger<'_>, id: &str, sha256: &str, done: &mut Done) -> anyhow::Result<()> {
        let mut patience = Patience::new();
        let mut pause = POLL_MIN;
        loop {
            match self.client.track(id).await {
                Ok(track) => {
                    patience.encouraged();
                    done.state = Some(track.state.clone());
                    if ended(file, &track, sha256)? {
                        return Ok(());
                    }
                }
                Err(WireError::Passing { why, wait, answered }) => {
                    patience.wait(&why, wait, answered, self.client.server()).await?;
                }
                Err(WireError::Gone) => {
                    file.record.forget();
                    bail!("its track is gone");
                }
                Err(e) => return Err(e.into()),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_MAX);
        }
    }
}

impl Passenger<'_> {
    pub(super) fn unchanged(&self) -> anyhow::Result<()> {
        if Look::at(self.path)? == self.look {
            return Ok(());
        }
        self.record.forget();
        bail!("it changed while it was sent: send it again");
    }
}

enum Step {
    Made(Place),
    At(u64),
}

/// Whether it needs no more watching; an error if it went wrong.
fn ended(file: &Passenger<'_>, track: &Track, sha256: &str) -> anyhow::Result<bool> {
    match track.state.as_str() {
        "ready" if track.sha256.as_deref().is_some_and(|theirs| theirs != sha256) => {
            file.record.forget();
            bail!("the server has other bytes than the file now has: send it again");
        }
        "ready" => Ok(true),
        "failed" | "taken_down" => {
            file.record.forget();
            let how = if track.state == "failed" { "failed" } else { "was taken down" };
            match &track.error {
                Some(Problem { code, detail }) => bail!("its track {how}: {detail} ({code})"),
                None => bail!("its track {how}"),
            }
        }
        _ => Ok(false),
    }
}

/// A part of the file as a body that is read while it is sent. `on_bytes` hears how many went now, and in all.
pub(super) async fn body(
    path: &Path,
    offset: u64,
    length: u64,
    sent: Arc<AtomicU64>,
    on_bytes: impl Fn(u64, u64) + Send + 'static,
) -> std::io::Result<Body> {
    let mut source = tokio::fs::File::open(path).await?;
    source.seek(std::io::SeekFrom::Start(offset)).await?;
    let chunks = ReaderStream::with_capacity(source.take(length), READ_BYTES).inspect(move |chunk| {
        let bytes = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        on_bytes(bytes, sent.fetch_add(bytes, Ordering::Relaxed) + bytes);
    });
    Ok(Body::wrap_stream(chunks))
}

/// Ends when no byte was taken for too long.
pub(super) async fn stall(sent: &AtomicU64) -> WireError {
    let (mut before, mut since) = (0, Instant::now());
    while since.elapsed() < STALL_MAX {
        tokio::time::sleep(STALL_LOOK).await;
        let now = sent.load(Ordering::Relaxed);
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
    let why = format!("nothing moved for {} s", STALL_MAX.as_secs());
    WireError::Passing { why, wait: None, answered: true }
}
