//! `make bench`: ours beside its peers, in one run, as ratios.
//!
//! ```text
//! first segment   paced upload to the real server      beside  upload it all, then ffmpeg
//! upload          512 MiB in one PATCH                 beside  @tus/server, and a bare receive-hash-write
//! ingest          an upload of sound                   beside  as many bytes that are no sound, and have no worker
//! ladder          the worker, offline                  beside  ffmpeg with the same rungs
//! overlap         last byte of a paced upload → ready  beside  ffmpeg after that byte
//! quality         the AAC coder's options              beside  each other, by noise to mask
//! s3              uploads into S3 (`make bench-upload`) beside  peers, a bare receive-hash-send, the SDK alone
//! ```
//! Promise: sides take turns within a round, so that a busy machine hits all of them; medians with their spread; the run
//!          ends within its time, and takes what it made with it.
//! Absent:  absolute promises. A figure without the one beside it says how busy the machine was.
#![expect(unreachable_pub, reason = "nothing outside a program reaches in: `pub` means to its other modules")]

mod cost;
mod first_segment;
mod ingest;
mod ladder;
mod leftovers;
mod overlap;
mod probe;
mod quality;
mod s3;
mod server;
mod sight;
mod sound;
mod table;
mod throughput;
mod tus;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::table::Table;

/// When the last round may begin to end. Sections that would go beyond do fewer rounds, and say so by their count; the
/// first round of each is always done, so a run ends a minute later at most.
const TIME: Duration = Duration::from_secs(5 * 60);

/// The same with `--long`: a ladder of 20 minutes takes ffmpeg a minute alone.
const TIME_LONG: Duration = Duration::from_secs(20 * 60);

/// Of uploads into S3: eight minutes in all.
const TIME_S3: Duration = Duration::from_secs(7 * 60);

#[derive(Parser)]
struct Options {
    /// Also the ladder of a 20 min file
    #[arg(long)]
    long: bool,
    /// Put the table into benches/README.md; that of uploads into S3 into benches/RESULTS.md
    #[arg(long)]
    write: bool,
    /// Only this section
    #[arg(long, value_name = "NAME")]
    only: Option<Section>,
    /// Where @tus/server is installed
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    #[command(flatten)]
    programs: s3::Programs,
    /// What `cargo bench` says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

/// A section of the table.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Section {
    FirstSegment,
    Upload,
    /// Not among those that run when none is named: it would take their time
    Ingest,
    Ladder,
    Overlap,
    /// Not among those that run when none is named
    Quality,
    /// Nor this
    S3,
}

/// What this program does as a child of itself, so that its cost can be told from the bench's own.
#[derive(Subcommand)]
enum Part {
    /// Receive, hash, write
    Probe { folder: PathBuf },
    /// Make a ladder offline
    Transcode { file: PathBuf, out: PathBuf },
    /// An S3 that throws payloads away
    Sink,
    /// Receive, hash, send to the store at this address
    ProbeS3 { store: String },
    /// A file's ranges into S3, by the SDK alone
    Bare {
        #[command(flatten)]
        site: s3::site::Site,
        source: PathBuf,
        start: u64,
        length: u64,
        files: u64,
    },
}

/// What the sections share.
pub struct Run {
    /// For files; removed at the end.
    pub folder: tempfile::TempDir,
    /// For what waits: HTTP and rows.
    pub runtime: tokio::runtime::Runtime,
    /// `node_modules` of the peers.
    pub peers: Option<PathBuf>,
    end: Instant,
}

impl Run {
    /// Whether another round that takes about `needs` fits. The first always does.
    pub fn has_time_for(&self, round: usize, needs: Duration) -> bool {
        round == 0 || Instant::now() + needs < self.end
    }
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    match options.part {
        Some(Part::Probe { folder }) => return probe::serve(folder),
        Some(Part::Transcode { file, out }) => return runtime.block_on(ladder::transcode(&file, &out)),
        Some(Part::Sink) => return s3::sink(),
        Some(Part::ProbeS3 { store }) => return s3::probe(store),
        Some(Part::Bare { site, source, start, length, files }) => {
            return runtime.block_on(s3::bare(site, &source, start, length, files));
        }
        None => {}
    }
    leftovers::watch(&runtime)?;
    let time = match options.only {
        _ if options.long => TIME_LONG,
        Some(Section::S3) => TIME_S3,
        _ => TIME,
    };
    let run =
        Run { folder: server::folder("/tmp".as_ref())?, runtime, peers: options.peers, end: Instant::now() + time };
    if options.only == Some(Section::S3) {
        return s3::measure(&run, &options.programs, options.long, options.write).context("s3");
    }
    if options.only == Some(Section::Quality) {
        return quality::measure(&run).context("quality");
    }
    let wants = |section| options.only.is_none_or(|only| only == section);
    let mut table = Table::default();
    if wants(Section::FirstSegment) {
        first_segment::measure(&run, &mut table).context("first segment")?;
    }
    if wants(Section::Upload) {
        throughput::measure(&run, &mut table).context("upload")?;
    }
    if options.only == Some(Section::Ingest) {
        ingest::measure(&run, &mut table).context("ingest")?;
    }
    if wants(Section::Ladder) {
        ladder::measure(&run, sound::SHORT, &mut table).context("ladder")?;
        if options.long {
            ladder::measure(&run, sound::LONG, &mut table).context("long ladder")?;
        }
    }
    if wants(Section::Overlap) {
        overlap::measure(&run, &mut table).context("overlap")?;
    }
    print!("{table}");
    if options.write { table.write() } else { Ok(()) }
}
