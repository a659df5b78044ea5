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
}

impl Round {
    pub(super) fn new(path: PathBuf, source: File) -> Self {
        Self { path, source, steps: 0 }
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
            if !side.does(case) {
                continue;
            }
            eprintln!("{store}, round {}: {}: {}", round + 1, case.name(), side.name);
            let start = self.steps * STEP_BYTES;
            self.steps = (self.steps + case.uploads) % (STEPS_MAX - case.uploads);
            let before = sink.map(site::counts).transpose()?;
            let turn = side.turn(case, &self.path, &self.source, start)?;
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
