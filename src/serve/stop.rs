//! The signals that end the daemon.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancelled by the first signal, and by the second.
#[derive(Clone, Default)]
pub struct Stop {
    /// No new work.
    pub first: CancellationToken,
    /// No more waiting.
    pub second: CancellationToken,
}

/// Listens for SIGTERM and SIGINT from now on.
///
/// # Errors
/// The handlers can't be installed.
pub fn on_signals() -> anyhow::Result<Stop> {
    let mut term = signal(SignalKind::terminate()).context("can't listen for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("can't listen for SIGINT")?;
    let stop = Stop::default();
    let tell = stop.clone();
    tokio::spawn(async move {
        for token in [tell.first, tell.second] {
            tokio::select! {
                _ = term.recv() => {}                      // cancel-safe: a signal stays noted
                _ = int.recv() => {}                       // cancel-safe: as above
            }
            token.cancel();
        }
    });
    Ok(stop)
}
