//! `make bench-upload`: uploads into S3, beside peers and a ceiling, in one run.
//!
//! ```text
//! sink      throws payloads away and counts them (`sink`)   beside  the probe: receive, hash, send (`probe`)
//! Garage    a real store, one node, its own defaults        beside  the SDK alone (`bare`), and rclone
//! ```
//! Promise: servers take turns within a round; each is measured beside the ceiling of the same round; what is sent is
//!          never the same bytes twice; the run ends within its time.
//! Counted: CPU of a server's whole process tree, PostgreSQL's with ours; memory of the server process alone.
//! Absent:  the client's and the store's cost. Both are on the same cores, the same for all.

mod bare;
mod cases;
pub mod garage;
mod plot;
mod probe;
mod results;
mod round;
mod sides;
mod sink;
pub mod site;

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use rustix::fs::statvfs;

pub use self::{bare::run as bare, probe::serve as probe, sink::serve as sink};
use self::{
    cases::{Case, GARAGE, SINK},
    garage::Garage,
    results::Results,
    round::Round,
    sides::Side,
    site::Site,
};
use crate::{Run, server::Server, sound};

/// Of every server here: Millrace's default.
const PART_BYTES: usize = 10 << 20;
const PARTS_IN_FLIGHT: usize = 3;
/// Names nothing but itself: the sink has any bucket, Garage is told of this one.
const BUCKET: &str = "bench";
/// Between the beginnings of two uploads within the source, so that no two are of the same bytes.
const STEP_BYTES: u64 = 4096;
const SOURCE_BYTES: u64 = 1 << 30;
const STEPS_MAX: u64 = 1 << 13;

const ROUNDS: usize = 3;
const ROUNDS_LONG: usize = 5;
/// About what one round of one sink takes: the last one begins only while there is time for it.
const ROUND_TIME: Duration = Duration::from_secs(75);

/// Where what isn't in a registry's package is.
#[derive(clap::Args)]
pub struct Programs {
    /// The `garage` to upload into
    #[arg(long, value_name = "FILE")]
    garage: Option<PathBuf>,
    /// The peer `tus-server`, built so that it can reach a store
    #[arg(long, value_name = "FILE")]
    tus_server: Option<PathBuf>,
    /// Rounds of uploads into S3, instead of three (`--long`: five)
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Only uploads into S3 whose names have this in them, such as "1 × 1 GiB"
    #[arg(long, value_name = "WORDS")]
    case: Option<String>,
    /// Only this store: sink, garage
    #[arg(long, value_name = "NAME")]
    store: Option<String>,
    /// Only these sides, such as probe,Millrace
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    sides: Vec<String>,
}

impl Programs {
    fn wants_store(&self, name: &str) -> bool {
        self.store.as_deref().is_none_or(|only| only == name)
    }

    fn wants_side(&self, side: &Side) -> bool {
        self.sides.is_empty() || self.sides.iter().any(|name| name == side.name)
    }

    fn wants_case(&self, case: Case) -> bool {
        self.case.as_deref().is_none_or(|words| case.name().contains(words))
    }
}

/// Measures all, and prints; with `write`, into RESULTS.md and the plot.
pub fn measure(run: &Run, programs: &Programs, long: bool, write: bool) -> anyhow::Result<()> {
    let rounds = programs.rounds.unwrap_or(if long { ROUNDS_LONG } else { ROUNDS });
    let mut results = Results::default();
    let source = sound::incompressible(&run.folder.path().join("source"), SOURCE_BYTES + STEPS_MAX * STEP_BYTES)?;
    let mut round = Round::new(run.folder.path().join("source"), source);
    if programs.wants_store("sink") {
        to_sink(run, programs, rounds, &mut round, &mut results).context("sink")?;
    }
    match &programs.garage {
        _ if !programs.wants_store("garage") => {}
        Some(garage) => to_garage(run, programs, garage, rounds, &mut round, &mut results).context("garage")?,
        None => results.note("Garage isn't installed: `make bench-upload` installs it."),
    }
    print!("{results}");
    if write { results.write() } else { Ok(()) }
}

fn to_sink(
    run: &Run,
    programs: &Programs,
    rounds: usize,
    round: &mut Round,
    results: &mut Results,
) -> anyhow::Result<()> {
    let sink = Server::part(run.folder.path(), "sink", &[])?;
    let mut sides = vec![Side::probe(run, &sink)?];
    sides.extend(servers(run, programs, "sink", &site::of_sink(&sink), results)?);
    sides.retain(|side| programs.wants_side(side));
    for n in 0..rounds {
        if !run.has_time_for(n, ROUND_TIME) {
            break;
        }
        for case in SINK.iter().filter(|case| programs.wants_case(**case)) {
            round.turn(n, *case, &sides, Some(&sink), results, "discarding S3")?;
        }
    }
    Ok(())
}

fn to_garage(
    run: &Run,
    programs: &Programs,
    program: &std::path::Path,
    rounds: usize,
    round: &mut Round,
    results: &mut Results,
) -> anyhow::Result<()> {
    let memory = PathBuf::from("/dev/shm");
    let room = statvfs(&memory).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    let place = if room >= GARAGE_BYTES { memory } else { run.folder.path().to_owned() };
    results
        .note(format!("Garage keeps its data in {}.", if room >= GARAGE_BYTES { "memory" } else { "a disk's files" }));
    let folder = crate::server::folder(&place)?;
    let mut garage = Garage::new(program.to_owned(), folder.path())?;
    garage.begin_anew(&run.runtime)?;
    let mut sides = vec![Side::bare(garage.site.clone())];
    let below = run.folder.path();
    sides.extend(servers(run, programs, "garage", &garage.site, results)?);
    sides.push(Side::rclone(below, garage.site.clone())?);
    sides.retain(|side| programs.wants_side(side));
    for n in 0..rounds {
        if !run.has_time_for(n, ROUND_TIME) {
            break;
        }
        for case in GARAGE.iter().filter(|case| programs.wants_case(**case)) {
            // Deleted objects would stay for minutes: what a round leaves goes with the store.
            garage.begin_anew(&run.runtime)?;
            round.turn(n, *case, &sides, None, results, "Garage")?;
        }
    }
    Ok(())
}

/// Free bytes in which all sides' objects of one case have room.
const GARAGE_BYTES: u64 = 5 << 30;

/// Ours and the peers, on one store.
fn servers(
    run: &Run,
    programs: &Programs,
    name: &str,
    site: &Site,
    results: &mut Results,
) -> anyhow::Result<Vec<Side>> {
    let below = run.folder.path().join(name);
    std::fs::create_dir_all(&below)?;
    crate::server::reachable(&below)?;
    let mut sides = vec![Side::server("Millrace", Server::millrace_on(&below, site)?)];
    match &run.peers {
        Some(modules) => {
            let peer = Server::peer_s3(&below, modules, site, PART_BYTES)?;
            sides.push(Side::server("@tus/server", peer));
        }
        None => results.note("@tus/server isn't installed: `make bench-upload` installs it."),
    }
    match &programs.tus_server {
        Some(program) => sides.push(Side::server("tus-server", Server::tus_server(&below, program, site)?)),
        None => results.note("tus-server isn't here: see above."),
    }
    Ok(sides)
}
