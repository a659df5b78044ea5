//! The sandboxed worker: what the re-executed binary runs.
//!
//! Order: descriptors, order, limits, Landlock, threads, system-call filter, `Hello` — and only then the first source byte.
//! Inside: this thread reads and decodes; one thread per rung encodes; one measures. The queues are bounded in samples,
//! so the rungs advance together and memory stays flat.
//! Absent: files, network, environment, a clock. Waiting is the daemon's business.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Barrier, Mutex};
use std::thread::JoinHandle;

use super::failure::Code;
use super::ladder::{Grid, PlannedRung};
use super::limits;
use super::wire::{Finished, Hello, Kind, Start};
use link::{Inlet, Outlet};
use pcm::Block;

mod av;
mod decode;
mod encode;
#[cfg(debug_assertions)]
pub mod fault;
mod link;
mod lockdown;
mod m4a;
mod meter;
mod pcm;
mod render;
mod shape;
mod source;
mod track;

/// The hidden argument by which the binary knows that it was re-executed as a worker.
pub const ARGUMENT: &str = "media-worker";

/// Blocks that may wait for one encoder: 1.5 s of audio, so a slow rung holds the others back early.
const QUEUE_BLOCKS: usize = 16;
/// The same in samples.
pub(super) const QUEUE_SAMPLES: u64 = QUEUE_BLOCKS as u64 * pcm::BLOCK_SAMPLES as u64;

/// Exit status when the daemon is gone: there is nobody to tell.
const ORPHANED: u8 = 3;

/// Why the work stopped.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// To be told.
    Refused(Code, String),
    /// The socket is closed.
    Orphaned,
}

impl Trouble {
    fn refused<T>(code: Code, text: impl Into<String>) -> Result<T, Self> {
        Err(Self::Refused(code, text.into()))
    }
}

/// What an encoder or the meter is fed.
enum Feed {
    /// First of all: what to make.
    Begin(Task),
    /// More audio.
    Pcm(Arc<Block>),
    /// All audio has come. A queue that closes without it means: drop everything.
    End,
}

#[derive(Clone)]
struct Task {
    grid: Grid,
    /// None for the meter.
    rung: Option<PlannedRung>,
}

/// A thread that was started before the lock-down, idle until it gets its task.
struct Hand {
    feed: SyncSender<Feed>,
    thread: JoinHandle<Result<u32, Trouble>>,
}

/// Runs the worker on the socket that is descriptor 0, and never returns to the command line.
pub fn run() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(ORPHANED),
    }
}

fn work() -> Result<(), Trouble> {
    lockdown::end_at_panic();
    lockdown::descriptors();
    lockdown::allocator();
    lockdown::calendar();
    let (inlet, outlet) = link::open().map_err(|_| Trouble::Orphaned)?;
    // A render reads its source twice; no descriptor can be made later.
    let (again, _) = link::open().map_err(|_| Trouble::Orphaned)?;
    let mut inlet = inlet;
    let start = inlet.start()?;
    let outlet = Arc::new(Mutex::new(outlet));
    let mut hello = match lockdown::before_threads(&start.limits) {
        Ok(report) => Hello {
            libavcodec: av::codec_version(),
            libavformat: av::format_version(),
            landlock: report.landlock.to_owned(),
            seccomp: false,
            uid: report.uid,
        },
        Err(e) => return say_failed(&outlet, Code::WorkerSandbox, format!("could not lock itself in: {e}")),
    };
    av::silence();
    let hands = hire(&start, &outlet).map_err(|_| Trouble::Orphaned)?;
    hello.seccomp = lockdown::filter_calls().is_ok();
    link::send_json(&outlet, Kind::Hello, &hello)?;
    if !hello.seccomp {
        return Err(Trouble::Orphaned);
    }
    let performed = match &start.render {
        Some(render) => render::run(&start, render, [inlet, again], &outlet),
        None => {
            perform(&start, inlet, &outlet, hands).and_then(|finished| link::send_json(&outlet, Kind::Done, &finished))
        }
    };
    match performed {
        Ok(()) => Ok(()),
        Err(Trouble::Refused(code, text)) => say_failed(&outlet, code, text),
        Err(orphaned) => Err(orphaned),
    }
}

fn say_failed(outlet: &Mutex<Outlet>, code: Code, mut text: String) -> Result<(), Trouble> {
    text.truncate(text.floor_char_boundary(limits::TEXT_BYTES));
    link::send_json(outlet, Kind::Failed, &super::wire::Refused { code, text })
}

/// One thread per rung that might be made, and the meter's. All are past their start when this returns: a thread that
/// is still starting when the filter lands would be killed by it.
fn hire(start: &Start, outlet: &Arc<Mutex<Outlet>>) -> std::io::Result<Vec<Hand>> {
    let count = start.ladder.rungs().len() + 1;
    let barrier = Arc::new(Barrier::new(count + 1));
    let hands: Result<Vec<_>, _> = (0..count)
        .map(|_| {
            let (feed, feeds) = sync_channel(QUEUE_BLOCKS);
            let (barrier, outlet) = (Arc::clone(&barrier), Arc::clone(outlet));
            let thread = std::thread::Builder::new().stack_size(limits::THREAD_STACK_BYTES).spawn(move || {
                barrier.wait();
                toil(&feeds, &outlet)
            })?;
            Ok(Hand { feed, thread })
        })
        .collect();
    if hands.is_ok() {
        barrier.wait();
    }
    hands
}

/// Waits for a task and does it. Without one, the rung isn't made.
fn toil(feeds: &Receiver<Feed>, outlet: &Mutex<Outlet>) -> Result<u32, Trouble> {
    match feeds.recv() {
        Ok(Feed::Begin(Task { grid, rung: Some(rung) })) => encode::run(&rung, grid, feeds, outlet),
        Ok(Feed::Begin(Task { grid, rung: None })) => meter::run(grid.rate, feeds, outlet).map(|()| 0),
        Ok(Feed::Pcm(_) | Feed::End) | Err(_) => Ok(0),
    }
}

/// Reads, decodes and hands out; then gathers what the others made.
fn perform(start: &Start, inlet: Inlet, outlet: &Arc<Mutex<Outlet>>, hands: Vec<Hand>) -> Result<Finished, Trouble> {
    let source = source::Feeder::new(inlet, Arc::clone(outlet), start);
    let mut crew = Crew { idle: hands, busy: vec![] };
    let decoded = decode::run(start, source, outlet, &mut crew);
    let gathered = crew.gather(decoded.is_ok());
    // A hand that failed closes its queue, which the decoder sees as a stop: the hand's reason is the true one.
    let priming = match (&decoded, gathered) {
        (Err(Trouble::Refused(Code::WorkerCrashed, _)) | Ok(_), Err(trouble)) => return Err(trouble),
        (_, Ok(priming)) => priming,
        (Err(_), Err(_)) => vec![],
    };
    Ok(Finished { samples: decoded?, priming })
}

/// The threads and their queues.
struct Crew {
    idle: Vec<Hand>,
    busy: Vec<Hand>,
}

impl Crew {
    /// Gives each rung its thread, and the meter the last one.
    fn begin(&mut self, plan: &[PlannedRung], grid: Grid) -> Result<(), Trouble> {
        let tasks = plan.iter().cloned().map(Some).chain([None]);
        for rung in tasks {
            let hand = self.idle.pop().ok_or_else(stopped)?;
            hand.feed.send(Feed::Begin(Task { grid, rung })).map_err(|_| stopped())?;
            self.busy.push(hand);
        }
        self.idle.clear();
        Ok(())
    }

    fn hand_out(&self, block: Block) -> Result<(), Trouble> {
        let block = Arc::new(block);
        self.busy.iter().try_for_each(|hand| hand.feed.send(Feed::Pcm(Arc::clone(&block))).map_err(|_| stopped()))
    }

    /// Ends every queue, as a whole track or not, and waits for every thread: the rungs' primings, or the first trouble.
    fn gather(self, is_whole: bool) -> Result<Vec<u32>, Trouble> {
        drop(self.idle);
        let ends: Vec<_> = self
            .busy
            .into_iter()
            .map(|Hand { feed, thread }| {
                if is_whole {
                    // An error means that the thread has stopped: joining it says why.
                    let _ = feed.send(Feed::End);
                }
                thread
            })
            .collect();
        let mut primings: Vec<u32> = ends
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(stopped())))
            .collect::<Result<_, _>>()?;
        primings.pop(); // the meter's
        Ok(primings)
    }
}

fn stopped() -> Trouble {
    Trouble::Refused(Code::WorkerCrashed, "an encoder stopped".to_owned())
}
