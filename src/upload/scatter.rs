//! One file's way by the chunk door: several chunks at once if it is large, its index first if that is at its end.
//!
//! Order: 1 the upload is made; 2 its address and chunk length are kept on disk; 3 what the server says it lacks is sent,
//! round after round, in each the index before the sound; 4 the upload is completed. Dead anywhere: the next command asks what is there, and goes on.
//! A round ends early when something fails: what was under way is waited for, then there is a pause for all.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use anyhow::bail;
use futures_util::{StreamExt, stream};

use super::{
    journey::{Journey, Passenger, RESTARTS_MAX, body, stall},
    patience::Patience,
    record::Place,
    show::Done,
    tus::WireError,
};

/// Fewer bytes than these aren't worth several connections: a few chunks of the usual length.
pub const SCATTER_BYTES_MIN: u64 = 32 << 20;

/// How an attempt ended.
enum Ended {
    Stored,
    /// The server takes no chunks, or not of its own length: another way is needed.
    NoWay,
}

impl Journey {
    /// Until the server has the file; `None`: it takes no chunks.
    pub(super) async fn scatter(
        &self,
        file: &Passenger<'_>,
        mut place: Option<Place>,
        sha256: Option<&str>,
        done: &mut Done,
    ) -> anyhow::Result<Option<Place>> {
        let mut patience = Patience::new();
        let mut restarts = 0;
        loop {
            let step = match &place {
                None => match self.create_chunked(file, sha256).await {
                    Ok(Some(new)) => {
                        file.record.keep(file.look, &new)?;
                        place = Some(new);
                        patience.encouraged();
                        continue;
                    }
                    Ok(None) => Ok(Ended::NoWay),
                    Err(e) => Err(e),
                },
                Some(at) => {
                    done.track_id.clone_from(&at.track);
                    self.round(file, at, &mut patience).await
                }
            };
            match step {
                Ok(Ended::Stored) => return Ok(place),
                Ok(Ended::NoWay) => {
                    if let Some(at) = place {
                        // Best effort: what can't be ended now expires.
                        let _ = self.client.terminate(&at.upload).await;
                        file.record.forget();
                    }
                    return Ok(None);
                }
                Err(WireError::Gone) if place.is_some() && restarts < RESTARTS_MAX => {
                    file.record.forget();
                    (place, restarts) = (None, restarts + 1);
                }
                Err(WireError::Passing { why, wait, answered }) => {
                    file.unchanged()?;
                    file.bar.set_prefix("waiting");
                    patience.wait(&why, wait, answered, self.client.server()).await?;
                    file.bar.set_prefix("");
                }
                Err(e) => {
                    file.record.forget();
                    bail!(e);
                }
            }
        }
    }

    async fn create_chunked(&self, file: &Passenger<'_>, sha256: Option<&str>) -> Result<Option<Place>, WireError> {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        let made = self.client.create_chunked(&name, file.look.size, sha256).await?;
        made.map(|made| {
            if made.chunk_size == 0 {
                return Err(WireError::Final("the server wants chunks without a byte".into()));
            }
            let chunk_bytes = Some(made.chunk_size);
            Ok(Place { upload: made.path(), track: made.track_id, finished: false, chunk_bytes })
        })
        .transpose()
    }

    /// Asks what is there, sends the rest, and says that this was all.
    async fn round(&self, file: &Passenger<'_>, at: &Place, patience: &mut Patience) -> Result<Ended, WireError> {
        let chunk_bytes = at.chunk_bytes.unwrap_or(u64::MAX);
        let standing = self.client.standing(&at.upload).await?;
        if standing.state == "stored" {
            return Ok(Ended::Stored);
        }
        file.bar.set_position(standing.bytes());
        let count = file.look.size.div_ceil(chunk_bytes);
        let is_missing = |n: &u64| !standing.has(n * chunk_bytes);
        let is_index = |n: &u64| file.index.is_some_and(|at| (n + 1) * chunk_bytes > at);
        let (index, sound): (Vec<u64>, Vec<u64>) = (0..count).filter(is_missing).partition(is_index);
        // The index alone, so that the sound is decoded from its first byte on.
        for chunks in [index, sound] {
            if let Some(worst) = self.send_chunks(file, at, chunks, patience).await {
                return worst;
            }
        }
        self.client.complete(&at.upload).await?;
        Ok(Ended::Stored)
    }

    /// Sends chunks, some at once; what went wrong, if something did.
    async fn send_chunks(
        &self,
        file: &Passenger<'_>,
        at: &Place,
        chunks: Vec<u64>,
        patience: &mut Patience,
    ) -> Option<Result<Ended, WireError>> {
        let chunk_bytes = at.chunk_bytes.unwrap_or(u64::MAX);
        let failed = &AtomicBool::new(false);
        let chunks = chunks.into_iter().take_while(|_| !failed.load(Ordering::Relaxed));
        let chunks = chunks.map(|n| async move {
            let sent = self.send_chunk(file, &at.upload, n, chunk_bytes).await;
            failed.fetch_or(sent.is_err(), Ordering::Relaxed);
            sent
        });
        let mut chunks = stream::iter(chunks).buffer_unordered(self.ways);
        let mut worst = None;
        while let Some(sent) = chunks.next().await {
            match sent {
                Ok(()) => patience.encouraged(),
                Err(WireError::TooLarge(_)) => worst = worst.or(Some(Ok(Ended::NoWay))),
                Err(e @ WireError::Passing { .. }) => worst = worst.or(Some(Err(e))),
                Err(e) => worst = Some(Err(e)),
            }
        }
        worst
    }

    async fn send_chunk(&self, file: &Passenger<'_>, upload: &str, n: u64, chunk_bytes: u64) -> Result<(), WireError> {
        let offset = n * chunk_bytes;
        let length = chunk_bytes.min(file.look.size - offset);
        let sent = Arc::new(AtomicU64::new(0));
        let bar = file.bar.clone();
        let body = body(file.path, offset, length, Arc::clone(&sent), move |bytes, _| bar.inc(bytes));
        let body = body.await.map_err(|e| WireError::Final(e.to_string()))?;
        tokio::select! {
            done = self.client.put(upload, n, length, body) => done,      // dropped: the connection closes, the chunk isn't kept
            stalled = stall(&sent) => Err(stalled),
        }
    }
}
