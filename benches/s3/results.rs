//! Everything measured, as tables beside the ceiling, beside the targets, and where they are kept.

use std::{fmt, fs, path::Path};

use anyhow::Context;

use super::{cases::Case, plot, sides::Turn};
use crate::table::{Samples, machine};

/// Between these lines of RESULTS.md stand the last tables that were asked to be kept.
const MARKS: (&str, &str) = ("<!-- figures -->\n", "<!-- end of figures -->\n");
const GB: f64 = 1e9;

/// What the store counted in one turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) requests: u64,
    pub(super) bytes: u64,
}

/// One side in one case, round by round.
pub(super) struct Row {
    pub(super) store: &'static str,
    pub(super) case: Case,
    pub(super) side: &'static str,
    pub(super) mb_per_s: Samples,
    pub(super) cpu_s_per_gb: Samples,
    peak_mib: Samples,
    /// Written to a local disk per byte uploaded.
    disk: Samples,
    /// The same by the server process alone.
    own_disk: Samples,
    requests_per_patch: Samples,
    /// Sent to the store per byte uploaded.
    bytes: Samples,
}

#[derive(Default)]
pub(super) struct Results {
    pub(super) rows: Vec<Row>,
    notes: Vec<String>,
}

impl Results {
    pub(super) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    pub(super) fn add(
        &mut self,
        store: &'static str,
        case: Case,
        side: &'static str,
        turn: Turn,
        counted: Option<Counted>,
    ) {
        let all = case.all_bytes() as f64;
        let row = self.row_mut(store, case, side);
        row.mb_per_s.push(all / 1e6 / turn.took.as_secs_f64());
        row.cpu_s_per_gb.push(turn.cpu.as_secs_f64() / (all / GB));
        row.peak_mib.0.extend(turn.peak_mib);
        row.disk.0.extend(turn.disk_bytes.map(|bytes| bytes as f64 / all));
        row.own_disk.0.extend(turn.own_disk_bytes.map(|bytes| bytes as f64 / all));
        row.requests_per_patch.0.extend(counted.map(|c| c.requests as f64 / case.patches() as f64));
        row.bytes.0.extend(counted.map(|c| c.bytes as f64 / all));
    }

    fn row_mut(&mut self, store: &'static str, case: Case, side: &'static str) -> &mut Row {
        let is_it = |row: &Row| row.store == store && row.case == case && row.side == side;
        let at = self.rows.iter().position(is_it).unwrap_or_else(|| {
            self.rows.push(Row {
                store,
                case,
                side,
                mb_per_s: Samples::default(),
                cpu_s_per_gb: Samples::default(),
                peak_mib: Samples::default(),
                disk: Samples::default(),
                own_disk: Samples::default(),
                requests_per_patch: Samples::default(),
                bytes: Samples::default(),
            });
            self.rows.len() - 1
        });
        &mut self.rows[at]
    }

    fn row(&self, store: &str, case: Case, side: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.store == store && row.case == case && row.side == side)
    }

    /// The side that does the least, in the same case.
    fn ceiling(&self, of: &Row) -> Option<&Row> {
        self.row(of.store, of.case, "probe").or_else(|| self.row(of.store, of.case, "SDK alone"))
    }

    /// Puts the tables into RESULTS.md, and the plot beside it.
    pub(super) fn write(&self) -> anyhow::Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
        let path = folder.join("RESULTS.md");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let (before, rest) = text.split_once(MARKS.0).context("RESULTS.md has no place for figures")?;
        let (_, after) = rest.split_once(MARKS.1).context("RESULTS.md has no end of figures")?;
        fs::write(&path, format!("{before}{}\n{self}\n{}{after}", MARKS.0, MARKS.1))?;
        Ok(fs::write(folder.join("upload.svg"), plot::svg(&self.rows))?)
    }

    fn targets(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | measured | target |\n|---|---|---|")?;
        for row in self.rows.iter().filter(|row| row.side == "Millrace") {
            let name = format!("{}: {}", row.store, row.case.name());
            // Requests of a part's size and less cost tails and rows, which a ceiling hasn't: no target was set for them.
            if let Some(ceiling) = self.ceiling(row).filter(|_| row.case.is_whole()) {
                let (beside, fast) = (ceiling.side, row.mb_per_s.over(&ceiling.mb_per_s));
                writeln!(f, "| {name}: MB/s beside {beside} | {fast} × | ≥ 0.95 × |")?;
                if beside == "probe" {
                    let cheap = row.cpu_s_per_gb.over(&ceiling.cpu_s_per_gb);
                    writeln!(f, "| {name}: CPU beside {beside} | {cheap} × | ≤ 1.05 × |")?;
                }
            }
            if let Some(rclone) = self.row(row.store, row.case, "rclone") {
                writeln!(f, "| {name}: MB/s beside rclone | {} × | ≥ 2.0 × |", row.mb_per_s.over(&rclone.mb_per_s))?;
            }
            writeln!(f, "| {name}: bytes on a local disk by `millrace`, per byte | {} | 0 |", row.own_disk)?;
            if row.case.patch_bytes == 1 << 20 && !row.bytes.0.is_empty() {
                writeln!(f, "| {name}: S3 requests per PATCH | {} | ≤ 1.15 |", row.requests_per_patch)?;
                writeln!(f, "| {name}: bytes sent per byte | {} | ≤ 2.0 |", row.bytes)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for row in &self.rows {
            if last != Some((row.store, row.case)) {
                last = Some((row.store, row.case));
                writeln!(f, "\n**{}: {}**\n", row.store, row.case.name())?;
                write!(f, "| | MB/s | × | CPU-s/GB | × | peak RSS, MiB | disk bytes per byte |")?;
                writeln!(f, " S3 requests per PATCH | S3 bytes per byte |\n|---|---|---|---|---|---|---|---|---|")?;
            }
            let ceiling = self.ceiling(row);
            let faster = ceiling.map(|ceiling| row.mb_per_s.over(&ceiling.mb_per_s));
            let dearer = ceiling.map(|ceiling| row.cpu_s_per_gb.over(&ceiling.cpu_s_per_gb));
            write!(f, "| {} | {} | {} ", row.side, row.mb_per_s, Cell(faster.as_ref()))?;
            write!(f, "| {} | {} ", row.cpu_s_per_gb, Cell(dearer.as_ref()))?;
            for samples in [&row.peak_mib, &row.disk, &row.requests_per_patch, &row.bytes] {
                write!(f, "| {} ", Cell(Some(samples)))?;
            }
            writeln!(f, "|")?;
        }
        writeln!(f, "\n**Beside the targets**\n")?;
        self.targets(f)?;
        let rounds = self.rows.iter().map(|row| row.mb_per_s.0.len());
        let (least, most) = (rounds.clone().min().unwrap_or(0), rounds.max().unwrap_or(0));
        writeln!(f, "\n* Median (least–most) of {least} to {most} rounds; ratios are taken within each round.")?;
        for note in &self.notes {
            writeln!(f, "* {note}")?;
        }
        writeln!(f, "* {}", machine())
    }
}

/// Nothing where nothing was measured.
struct Cell<'a>(Option<&'a Samples>);

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(samples) if !samples.0.is_empty() => samples.fmt(f),
            _ => f.write_str("–"),
        }
    }
}
