//! How far a proof goes: some cases in every test run, many under `make soak`.
//!
//! Case i of a suite has a seed of its own, out of the run's seed, the suite's name and i: it can be run alone, and is the
//! same whatever ran before. `scripts/soak` says by the environment what is wanted, and reads the reports.
//! A case that fails says how to run it again; the others go on, and the test fails at the end.

use std::{
    cell::Cell,
    collections::BTreeMap,
    env, fmt, fs,
    path::PathBuf,
    str::FromStr,
    time::{Duration, Instant},
};

use serde_json::json;
use sha2::{Digest, Sha256};

/// Of every test run: a failure is the same for everybody.
const ROUTINE_SEED: u64 = 1;

pub struct Proof {
    suite: &'static str,
    seed: u64,
    next: u64,
    end: u64,
    is_soak: bool,
    is_alone: bool,
    begun: Instant,
    max: Option<Duration>,
    done: u64,
    failed: Vec<String>,
    figures: BTreeMap<String, u64>,
}

/// One case, and what its dice begin with.
pub struct Case {
    pub seed: u64,
    name: String,
    has_ended: Cell<bool>,
}

impl Proof {
    /// So many cases in a test run, so many in a long one.
    pub fn of(suite: &'static str, routine: u64, long: u64) -> Self {
        let is_soak = asked::<u8>("SOAK").is_some();
        let alone: Option<u64> = asked("CASE");
        let count = if is_soak { asked("COUNT").unwrap_or(long) } else { routine };
        let (next, end) = alone.map_or((0, count), |case| (case, case + 1));
        Self {
            suite,
            seed: asked("SEED").unwrap_or(ROUTINE_SEED),
            next,
            end,
            is_soak,
            is_alone: alone.is_some(),
            begun: Instant::now(),
            max: asked("MINUTES").map(|minutes: u64| Duration::from_secs(60 * minutes)),
            done: 0,
            failed: Vec::new(),
            figures: BTreeMap::new(),
        }
    }

    /// The next case, unless it was the last one or the time is up.
    pub fn next(&mut self) -> Option<Case> {
        let is_late = self.max.is_some_and(|max| self.begun.elapsed() > max);
        if self.next >= self.end || is_late {
            return None;
        }
        let case = self.next;
        self.next += 1;
        let digest = Sha256::digest(format!("{} {} {case}", self.seed, self.suite));
        let seed = u64::from_le_bytes(digest[..8].try_into().unwrap());
        let name = format!("make soak SUITE={} SEED={} CASE={case}", self.suite, self.seed);
        Some(Case { seed, name, has_ended: Cell::new(false) })
    }

    /// Some of the next cases: what one set of servers takes.
    pub fn some(&mut self, most: usize) -> Vec<Case> {
        std::iter::from_fn(|| self.next()).take(most).collect()
    }

    /// One case is run again.
    pub fn is_alone(&self) -> bool {
        self.is_alone
    }

    pub fn is_soak(&self) -> bool {
        self.is_soak
    }

    /// A figure that is reached where this machine has nothing else to do: asked of long runs alone, whose report says so.
    pub fn wanted(&mut self, is_reached: bool, what: &str) {
        if self.is_soak && !is_reached {
            self.failed.push(format!("not reached: {what}"));
        }
    }

    /// Adds to a figure of the report.
    pub fn add(&mut self, figure: impl Into<String>, n: u64) {
        *self.figures.entry(figure.into()).or_default() += n;
    }

    pub fn figure(&self, name: &str) -> u64 {
        self.figures.get(name).copied().unwrap_or(0)
    }

    /// The end of one case, as its task ended.
    pub fn ended<T>(&mut self, case: &Case, how: Result<T, tokio::task::JoinError>) -> Option<T> {
        self.done += 1;
        case.has_ended.set(true);
        match how {
            Ok(value) => Some(value),
            Err(error) => {
                eprintln!("failed: {case}: {error}");
                self.failed.push(case.to_string());
                None
            }
        }
    }

    /// Writes what a long run found, and fails if a case did.
    pub fn finish(self) {
        eprintln!(
            "{}: {} cases, seed {}, {:?}: {:?}",
            self.suite,
            self.done,
            self.seed,
            self.begun.elapsed(),
            self.figures
        );
        if self.is_soak {
            let report = json!({
                "suite": self.suite, "seed": self.seed, "cases": self.done, "wanted": self.end, "failed": self.failed,
                "commit": asked::<String>("COMMIT"),
                "seconds": self.begun.elapsed().as_secs(), "figures": self.figures,
            });
            let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("soak");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("{}.json", self.suite)), report.to_string()).unwrap();
        }
        assert!(self.failed.is_empty(), "failed, run again by: {:#?}", self.failed);
        assert!(self.done > 0, "nothing was proven");
    }
}

/// A case that panics says how to run it again.
impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.has_ended.get() {
            eprintln!("failed, or was to come: {self}");
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn asked<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} can't be read")))
}
