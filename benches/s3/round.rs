//! One case of one round: every side does it once, in an order that moves with the round.

use std::{fs::File, path::PathBuf};

use super::{
    STEP_BYTES, STEPS_MAX,
    cases::Case,
    results::{Counted, Results},
    sides::Side,
    site,
};
use crate::server::Server;

/// The source, and how much of it was begun at.
pub(super) struct Round {
    path: PathBuf,
    source: File,
    steps: u64,
    /// Peers that couldn't do a case: nobody asks them again.
    failed: Vec<(&'static str, Case, &'static str)>,
}

impl Round {
    pub(super) fn new(path: PathBuf, source: File) -> Self {
        Self { path, source, steps: 0, failed: Vec::new() }
    }

    pub(super) fn turn(
        &mut self,
        round: usize,
        case: Case,
        sides: &[Side],
        sink: Option<&Server>,
        results: &mut Results,
        store: &'static str,
    ) -> anyhow::Result<()> {
        for turn in 0..sides.len() {
            let side = &sides[(round + turn) % sides.len()];
            if !side.does(case) || self.failed.contains(&(store, case, side.name)) {
                continue;
            }
            eprintln!("{store}, round {}: {}: {}", round + 1, case.name(), side.name);
            let start = self.steps * STEP_BYTES;
            self.steps = (self.steps + case.uploads) % (STEPS_MAX - case.uploads);
            let before = sink.map(site::counts).transpose()?;
            let turn = match side.turn(case, &self.path, &self.source, start) {
                Ok(turn) => turn,
                Err(error) if side.is_peer() => {
                    results.note(format!("{} failed at {store}, {}: {error:#}", side.name, case.name()));
                    self.failed.push((store, case, side.name));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let after = sink.map(site::counts).transpose()?;
            let counted = before.zip(after).map(|(before, after)| Counted {
                requests: after.requests - before.requests,
                bytes: after.bytes_in - before.bytes_in,
            });
            results.add(store, case, side.name, turn, counted);
        }
        Ok(())
    }
}
