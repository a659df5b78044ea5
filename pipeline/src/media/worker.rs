//! The sandboxed worker: what the re-executed binary runs.
//!
//! Order: descriptors, order, limits, Landlock, threads, system-call filter, `Hello` — and only then the first source byte.
//! Inside: this thread reads and decodes; others encode and one measures (`crew`). The queues are bounded in samples, so
//! the rungs advance together and memory stays flat.
//! Absent: files, network, environment, a clock. Waiting is the daemon's business.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::Mutex;

use super::failure::Code;
use super::limits;
use super::wire::{Finished, Hello, Kind, Start};
use crew::Crew;
use link::{Inlet, Outlet};
pub(super) use stretch::ahead_samples;

mod av;
mod crew;
mod decode;
mod encode;
#[cfg(debug_assertions)]
pub mod fault;
mod fingerprint;
mod line;
mod link;
mod lockdown;
pub(super) mod m4a;
mod meter;
mod mux;
#[cfg(debug_assertions)]
pub mod nursery;
mod pcm;
mod picture;
mod range;
mod render;
mod shape;
mod source;
mod stretch;
mod track;

/// The hidden argument by which the binary knows that it was re-executed as a worker.
pub const ARGUMENT: &str = "media-worker";

/// Exit status when the daemon is gone: there is nobody to tell.
const ORPHANED: u8 = 3;

/// Why the work stopped.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// To be told.
    Refused(Code, String),
    /// The socket is closed.
    Orphaned,
    /// Another thread stopped; it says why.
    Stopped,
}

impl Trouble {
    fn refused<T>(code: Code, text: impl Into<String>) -> Result<T, Self> {
        Err(Self::Refused(code, text.into()))
    }
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
    let crew = crew::hire(&start, &outlet).map_err(|_| Trouble::Orphaned)?;
    hello.seccomp = lockdown::filter_calls().is_ok();
    link::send_json(&outlet, Kind::Hello, &hello)?;
    if !hello.seccomp {
        return Err(Trouble::Orphaned);
    }
    let performed = match &start.render {
        Some(render) => render::run(&start, render, [inlet, again], &outlet),
        None => perform(&start, inlet, &outlet, crew).and_then(|(finished, picture)| {
            link::send_json(&outlet, Kind::Done, &finished)?;
            picture::send(&outlet, picture)
        }),
    };
    match performed {
        Ok(()) => Ok(()),
        Err(Trouble::Refused(code, text)) => say_failed(&outlet, code, text),
        Err(Trouble::Stopped) => say_failed(&outlet, Code::WorkerCrashed, "an encoder stopped".to_owned()),
        Err(orphaned) => Err(orphaned),
    }
}

fn say_failed(outlet: &Mutex<Outlet>, code: Code, mut text: String) -> Result<(), Trouble> {
    text.truncate(text.floor_char_boundary(limits::TEXT_BYTES));
    link::send_json(outlet, Kind::Failed, &super::wire::Refused { code, text })
}

/// Reads, decodes and hands out; then gathers what the others made. With it the bytes of the file's picture, if there is one.
fn perform(
    start: &Start,
    inlet: Inlet,
    outlet: &Arc<Mutex<Outlet>>,
    mut crew: Crew,
) -> Result<(Finished, Vec<u8>), Trouble> {
    let source = source::Feeder::new(inlet, Arc::clone(outlet), start);
    let mut picture = vec![];
    let decoded = decode::run(start, source, outlet, &mut crew, &mut picture);
    let gathered = crew.gather(decoded.is_ok());
    // A thread that failed closes its queue, which the decoder sees as a stop: the thread's reason is the true one.
    match (decoded, gathered) {
        (Ok(samples), Ok(priming)) => Ok((Finished { samples, priming }, picture)),
        (Ok(_) | Err(Trouble::Stopped), Err(trouble)) | (Err(trouble), _) => Err(trouble),
    }
}
