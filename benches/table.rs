//! Figures with the one beside them, and the table of all.

use std::{fmt, fs, path::Path};

use anyhow::Context;

/// Between these lines of README.md stands the last table that was asked to be kept.
const MARKS: (&str, &str) = ("<!-- figures -->\n", "<!-- end of figures -->\n");

/// What one side did in each round.
#[derive(Clone, Debug, Default)]
pub struct Samples(pub Vec<f64>);

impl Samples {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one; of two middle ones, their mean.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }

    /// Round by round beside `other`: what a busy moment does to both cancels out.
    pub fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(ours, theirs)| ours / theirs).collect())
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.0.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
        let digits = digits(self.median());
        write!(f, "{:.digits$} ({low:.digits$}–{high:.digits$})", self.median())
    }
}

/// Three figures that count.
fn digits(value: f64) -> usize {
    match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    }
}

struct Line {
    figure: String,
    ours: Samples,
    beside: String,
    theirs: Samples,
    /// What is aimed at, in words.
    target: &'static str,
}

/// All lines so far.
#[derive(Default)]
pub struct Table {
    lines: Vec<Line>,
    notes: Vec<String>,
}

impl Table {
    /// Adds one figure beside another.
    pub fn line(&mut self, figure: &str, ours: &Samples, beside: &str, theirs: &Samples, target: &'static str) {
        let (ours, theirs) = (ours.clone(), theirs.clone());
        self.lines.push(Line { figure: figure.into(), ours, beside: beside.into(), theirs, target });
    }

    /// Adds what a reader must know.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Puts the table into README.md.
    pub fn write(&self) -> anyhow::Result<()> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/README.md");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let (before, rest) = text.split_once(MARKS.0).context("README.md has no place for figures")?;
        let (_, after) = rest.split_once(MARKS.1).context("README.md has no end of figures")?;
        fs::write(&path, format!("{before}{}\n{self}\n{}{after}", MARKS.0, MARKS.1))?;
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| figure | ours | beside | theirs | ratio | target |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for Line { figure, ours, beside, theirs, target } in &self.lines {
            let ratio = ours.over(theirs);
            writeln!(f, "| {figure} | {ours} | {beside} | {theirs} | {ratio} | {target} |")?;
        }
        let rounds = self.lines.iter().map(|l| l.ours.0.len());
        let (least, most) = (rounds.clone().min().unwrap_or(0), rounds.max().unwrap_or(0));
        writeln!(f, "\n* Median (least–most) of {least} to {most} rounds; the ratio is taken within each round.")?;
        for note in &self.notes {
            writeln!(f, "* {note}")?;
        }
        writeln!(f, "* {}", machine())
    }
}

/// What this ran on.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = about.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ")).map_or("?", |(_, m)| m);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    format!("{cores} cores of {model}; load average at the end {load}.")
}
