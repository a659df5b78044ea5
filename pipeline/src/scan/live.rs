//! A scan that goes along with the bytes as they arrive. It never slows them: what can't be queued ends it.

use std::time::Duration;

use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinHandle};

use super::clamd::{Address, ScanError, Stream, Verdict};
use crate::budget::{Budget, Reserved};

/// What one upload may have queued for clamd: the ride over a pause of it. More, and the scan is left to the seal.
const QUEUE_BYTES: u64 = 4 << 20;

/// Frames in that queue; the bytes are what bounds it.
const QUEUE_FRAMES: usize = 512;

/// A frame with its shares of the process's budget and of the queue's: both end when clamd has it.
type Queued = (Bytes, [Reserved; 2]);

/// One. Dropped before its end it says nothing.
#[derive(Debug)]
pub(crate) struct Live {
    /// Gone when detached.
    frames: Option<mpsc::Sender<Queued>>,
    verdict: JoinHandle<Result<Verdict, ScanError>>,
    budget: Budget,
    room: Budget,
    at: u64,
}

impl Live {
    pub(super) fn start(address: Address, silence: Duration, budget: Budget) -> Self {
        let (frames, queue) = mpsc::channel(QUEUE_FRAMES);
        let verdict = tokio::spawn(scanned(address, silence, queue));
        Self { frames: Some(frames), verdict, budget, room: Budget::new(QUEUE_BYTES), at: 0 }
    }

    /// The bytes at `at`. Never waits.
    pub(crate) fn offer(&mut self, at: u64, frame: &Bytes) {
        let Some(frames) = &self.frames else { return };
        let shares = self.budget.try_reserve(frame.len()).zip(self.room.try_reserve(frame.len()));
        let queued = at == self.at
            && shares.is_some_and(|(share, room)| frames.try_send((frame.clone(), [share, room])).is_ok());
        self.at += frame.len() as u64;
        // A scanner that has made up its mind takes no more: what it said is asked for at the end.
        if !queued && !self.verdict.is_finished() {
            self.frames = None;
            self.verdict.abort();
            metrics::counter!("millrace_scans_detached_total").increment(1);
        }
    }

    /// What the scanner says of all of it. `None`: it didn't get every byte of the upload's `length`.
    pub(super) async fn verdict(mut self, length: u64) -> Option<Result<Verdict, ScanError>> {
        let whole = self.frames.take().is_some() && self.at == length;
        if !whole {
            return None;
        }
        (&mut self.verdict).await.ok()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // The end of the queue looks like the file's end: a scan that was left must not go on to a verdict.
        self.verdict.abort();
    }
}

/// Ends with the queue, or as soon as clamd has made up its mind.
async fn scanned(address: Address, silence: Duration, mut queue: mpsc::Receiver<Queued>) -> Result<Verdict, ScanError> {
    let mut stream = Stream::open(&address, silence).await?;
    while let Some((frame, shares)) = queue.recv().await {
        let early = stream.send(&frame).await?;
        drop(shares);
        if let Some(verdict) = early {
            return Ok(verdict);
        }
    }
    stream.end().await
}
