//! The virus scan: what clamd says of an upload before anything of it is published.
//!
//! ```text
//! arrives in order, in one request ─► Live: frames ─► bounded queue ─► clamd       (may fall behind: then it detaches)
//! anything else, or detached ──────► at the seal the object, complete under its private key, is read through clamd once
//! ```
//! Promise: where a scanner is set, no track is `stored` that it hasn't called clean, every byte of it; while it doesn't
//!          answer, uploads wait in `sealing`, and `recover` asks again. Ingest never waits for it before the last byte.
//! Memory:  `QUEUE_BYTES` an upload at most, out of the budget's share for media; read back, `READ_BYTES`.
//! Absent:  partials, which become no track: their final is scanned as a whole. Opening archives: clamd does what it is
//!          configured to, and calls clean what it is configured not to look into.

mod clamd;
mod live;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

pub use clamd::{Address, NoAddress, ScanError, Verdict};
pub(crate) use live::Live;

use crate::{
    engine::Engine,
    lease::Lease,
    publish::SealError,
    store::{Object, StoreError},
};
use clamd::Stream;

/// Read at once where the object is read back.
const READ_BYTES: usize = 1 << 20;

/// A scanner that failed isn't asked for so long: fifty uploads that wait for it shouldn't wait one by one.
const AWAY_FOR: Duration = Duration::from_secs(5);

/// A scanner.
#[derive(Debug)]
pub struct Scanner {
    address: Address,
    /// How long it may be silent, in the middle of a scan and at its end.
    silence: Duration,
    away_until: Mutex<Option<Instant>>,
}

impl Scanner {
    /// One that is asked there, and may be silent for so long. Nothing is connected yet.
    pub fn new(address: Address, silence: Duration) -> Self {
        Self { address, silence, away_until: Mutex::default() }
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// Why not.
    pub async fn probe(&self) -> Result<(), ScanError> {
        clamd::ping(&self.address).await
    }

    fn is_away(&self) -> bool {
        self.away_until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }

    /// Remembers a scanner that doesn't answer.
    fn failed(&self, error: &ScanError) {
        tracing::warn!(%error, "the virus scanner failed");
        *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + AWAY_FOR);
    }
}

impl Engine {
    /// A scan that goes along with an upload's bytes from `from` on: of the whole of it, or none.
    pub(crate) fn scan_live(&self, is_track: bool, from: u64) -> Option<Live> {
        let scanner = self.scanner.as_ref().filter(|scanner| is_track && from == 0 && !scanner.is_away())?;
        Some(Live::start(scanner.address.clone(), scanner.silence, self.media_budget.clone()))
    }

    /// Waits for what a live scan says of an upload that is whole, and takes its word where it saw every byte.
    pub(crate) async fn keep_verdict(&self, lease: &Lease, live: Option<Live>, length: u64) -> Result<(), SealError> {
        let Some((scanner, live)) = self.scanner.as_ref().zip(live) else { return Ok(()) };
        match live.verdict(length).await {
            None => Ok(()),
            Some(Ok(verdict)) => self.judged_by(lease, verdict, "live").await,
            // It hung up, which it may do to one and not to the next.
            Some(Err(ScanError::Cut(_))) => Ok(()),
            Some(Err(error)) => {
                scanner.failed(&error);
                Ok(())
            }
        }
    }

    /// Whether the object must be read through the scanner before it may be published.
    ///
    /// # Errors
    /// `Unscanned` when it must, and nobody would answer.
    pub(crate) async fn needs_scan(&self, lease: &Lease, length: u64) -> Result<bool, SealError> {
        let Some(scanner) = self.scanner.as_ref().filter(|_| length > 0) else { return Ok(false) };
        let needs = sqlx::query_scalar!(
            "SELECT kind <> 'partial' AND scan IS DISTINCT FROM 'clean' AS \"needs!\" FROM uploads WHERE id = $1 AND epoch = $2",
            lease.upload.uuid(),
            lease.epoch
        )
        .fetch_optional(&self.db)
        .await?
        .ok_or(SealError::Fenced)?;
        if needs && scanner.is_away() {
            return Err(SealError::Unscanned(ScanError::Silent(AWAY_FOR)));
        }
        Ok(needs)
    }

    /// Reads a complete object, which nobody knows yet, through the scanner.
    pub(crate) async fn scan_object(&self, lease: &Lease, object: &Object) -> Result<(), SealError> {
        let Some(scanner) = &self.scanner else { return Ok(()) };
        match self.read_through(scanner, object).await? {
            Ok(verdict) => self.judged_by(lease, verdict, "read_back").await,
            Err(error) => {
                scanner.failed(&error);
                Err(SealError::Unscanned(error))
            }
        }
    }

    async fn read_through(&self, scanner: &Scanner, object: &Object) -> Result<Result<Verdict, ScanError>, SealError> {
        let mut stream = match Stream::open(&scanner.address, scanner.silence).await {
            Ok(stream) => stream,
            Err(error) => return Ok(Err(error)),
        };
        let mut at = 0;
        while at < object.size {
            let _share = self.budget.reserve(READ_BYTES as u64).await;
            let bytes = self.store.read(&object.key, at, READ_BYTES).await.map_err(SealError::NotYet)?;
            if bytes.is_empty() {
                return Err(SealError::NotYet(StoreError::Missing(object.key.clone())));
            }
            at += bytes.len() as u64;
            match stream.send(&bytes).await {
                Ok(None) => {}
                Ok(Some(verdict)) => return Ok(Ok(verdict)),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(stream.end().await)
    }

    async fn judged_by(&self, lease: &Lease, verdict: Verdict, how: &'static str) -> Result<(), SealError> {
        let named = match &verdict {
            Verdict::Clean => "clean",
            Verdict::Infected(_) => "infected",
            Verdict::TooLarge => "too_large",
        };
        metrics::counter!("millrace_scans_total", "verdict" => named, "how" => how).increment(1);
        tracing::info!(upload.id = %lease.upload, verdict = ?verdict, how, "virus scan");
        if verdict != Verdict::TooLarge {
            sqlx::query!(
                "UPDATE uploads SET scan = $3 WHERE id = $1 AND epoch = $2",
                lease.upload.uuid(),
                lease.epoch,
                named
            )
            .execute(&self.db)
            .await?;
        }
        match verdict {
            Verdict::Clean => Ok(()),
            Verdict::Infected(found) => {
                let detail = format!("the virus scanner found {found}");
                self.fail_keeping(lease, "infected", &detail, Duration::ZERO).await?;
                Err(SealError::Infected { found })
            }
            Verdict::TooLarge => {
                self.fail(lease, "too_large_to_scan", "the file is larger than the virus scanner takes").await?;
                Err(SealError::TooLargeToScan)
            }
        }
    }
}
