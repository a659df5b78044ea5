//! The threads: who gets which block.
//!
//! One measures, one per FLAC rung encodes, and for an AAC rung as many as are of use take stretches by turns. All are
//! started before the lock-down and wait for a task; the queues are bounded, so the rungs advance together.
//! Memory:  16 blocks per queue. Where there are more cores than rungs, the queues of AAC hold a stretch each, since a later
//! stretch can't be worked on before an earlier one lies there; the blocks are shared between the rungs.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::JoinHandle;

use super::line::Line;
use super::link::Outlet;
use super::pcm::{Block, Floats};
use super::stretch::{self, QUEUE_BLOCKS};
use super::{Trouble, meter};
use crate::media::ladder::{Grid, PlannedRung, RungSpec};
use crate::media::limits;
use crate::media::wire::Start;

/// What a thread is fed.
pub(super) enum Feed {
    /// First of all.
    Begin(Task),
    /// More audio, of this stretch.
    Floats(u64, Arc<Floats>),
    /// The same for FLAC.
    Ints(Arc<Vec<i32>>),
    /// The stretch is over, and another follows.
    Over,
    /// So many samples have come, and no more do. A queue that closes without it means: drop everything.
    End(u64),
}

/// What a thread is for.
pub(super) enum Task {
    Rung(Arc<Line>),
    /// Loudness and waveform, at so many samples per second.
    Measure(u32, Arc<Mutex<Outlet>>),
}

/// A thread that was started before the lock-down, idle until it gets its task.
struct Hand {
    feed: SyncSender<Feed>,
    thread: JoinHandle<Result<(), Trouble>>,
}

impl Hand {
    fn send(&self, feed: Feed) -> Result<(), Trouble> {
        self.feed.send(feed).map_err(|_| Trouble::Stopped)
    }
}

/// Who works on one rung.
struct Lane {
    line: Arc<Line>,
    hands: Vec<Hand>,
}

/// The threads and their queues.
pub(super) struct Crew {
    outlet: Arc<Mutex<Outlet>>,
    /// For each AAC rung that there may be.
    stretchers: Vec<Vec<Hand>>,
    /// For each FLAC rung, and the meter.
    singles: Vec<Hand>,
    lanes: Vec<Lane>,
    meter: Option<Hand>,
    /// Handed out so far.
    blocks: u64,
    samples: u64,
}

/// Starts a thread for whatever might have to be made. All are past their start when this returns: a thread that is still
/// starting when the filter lands would be killed by it.
pub(super) fn hire(start: &Start, outlet: &Arc<Mutex<Outlet>>) -> std::io::Result<Crew> {
    let rungs = start.ladder.rungs();
    let aac = rungs.iter().filter(|rung| matches!(rung, RungSpec::Aac(_))).count();
    let (singles, at_once) = (rungs.len() - aac + 1, stretch::at_once(start.cores, aac));
    let barrier = Arc::new(Barrier::new(singles + aac * at_once.threads + 1));
    let hand = |queue_blocks: usize| {
        let (feed, feeds) = sync_channel(queue_blocks);
        let barrier = Arc::clone(&barrier);
        let thread = std::thread::Builder::new().stack_size(limits::THREAD_STACK_BYTES).spawn(move || {
            barrier.wait();
            toil(&feeds)
        })?;
        Ok(Hand { feed, thread })
    };
    let lane = |_| (0..at_once.threads).map(|_| hand(at_once.queue_blocks)).collect();
    let crew = Crew {
        outlet: Arc::clone(outlet),
        stretchers: (0..aac).map(lane).collect::<std::io::Result<_>>()?,
        singles: (0..singles).map(|_| hand(QUEUE_BLOCKS)).collect::<std::io::Result<_>>()?,
        lanes: vec![],
        meter: None,
        blocks: 0,
        samples: 0,
    };
    barrier.wait();
    Ok(crew)
}

/// Waits for a task and does it. Without one, there is nothing to do.
fn toil(feeds: &Receiver<Feed>) -> Result<(), Trouble> {
    match feeds.recv() {
        Ok(Feed::Begin(Task::Rung(line))) => line.run(feeds),
        Ok(Feed::Begin(Task::Measure(rate, outlet))) => meter::run(rate, feeds, &outlet),
        _ => Ok(()),
    }
}

impl Crew {
    /// Gives each rung its threads, and the meter one.
    pub(super) fn begin(&mut self, plan: &[PlannedRung], grid: Grid) -> Result<(), Trouble> {
        for rung in plan {
            let hands = match rung.spec {
                RungSpec::Aac(_) => self.stretchers.pop(),
                RungSpec::Flac => self.singles.pop().map(|hand| vec![hand]),
            };
            let line = Arc::new(Line::new(rung.clone(), grid, &self.outlet));
            let lane = Lane { line, hands: hands.ok_or(Trouble::Stopped)? };
            lane.hands.iter().try_for_each(|hand| hand.send(Feed::Begin(Task::Rung(Arc::clone(&lane.line)))))?;
            self.lanes.push(lane);
        }
        let meter = self.singles.pop().ok_or(Trouble::Stopped)?;
        meter.send(Feed::Begin(Task::Measure(grid.rate, Arc::clone(&self.outlet))))?;
        self.meter = Some(meter);
        self.stretchers.clear();
        self.singles.clear();
        Ok(())
    }

    /// Everybody gets the next block.
    pub(super) fn hand_out(&mut self, block: Block) -> Result<(), Trouble> {
        let n = self.blocks;
        self.blocks += 1;
        self.samples += block.len() as u64;
        let (floats, ints) = (Arc::new(block.floats), Arc::new(block.ints));
        for lane in &self.lanes {
            match &lane.hands[..] {
                [hand] => hand.send(Feed::Ints(Arc::clone(&ints)))?,
                hands => {
                    let hand = |k: u64| &hands[k as usize % hands.len()];
                    if let Some(k) = stretch::over(n) {
                        hand(k).send(Feed::Over)?;
                    }
                    stretch::of(n).try_for_each(|k| hand(k).send(Feed::Floats(k, Arc::clone(&floats))))?;
                }
            }
        }
        self.meter.iter().try_for_each(|hand| hand.send(Feed::Floats(0, Arc::clone(&floats))))
    }

    /// Ends every queue, as a whole track or not, and waits for every thread: the rungs' primings, or the first trouble.
    pub(super) fn gather(self, is_whole: bool) -> Result<Vec<u32>, Trouble> {
        drop((self.stretchers, self.singles));
        let lines: Vec<_> = self.lanes.iter().map(|lane| Arc::clone(&lane.line)).collect();
        let hands = self.lanes.into_iter().flat_map(|lane| lane.hands).chain(self.meter);
        // All queues end before any thread is waited for: some wait for each other.
        let ends: Vec<_> = hands
            .map(|Hand { feed, thread }| {
                if is_whole {
                    // An error means that the thread has stopped: joining it says why.
                    let _ = feed.send(Feed::End(self.samples));
                }
                thread
            })
            .collect();
        let said: Vec<_> = ends.into_iter().map(|thread| thread.join().unwrap_or(Err(Trouble::Stopped))).collect();
        // Who stopped because another did has nothing to say of its own.
        let mut stopped = false;
        for result in said {
            match result {
                Ok(()) => {}
                Err(Trouble::Stopped) => stopped = true,
                Err(trouble) => return Err(trouble),
            }
        }
        if stopped { Err(Trouble::Stopped) } else { Ok(lines.iter().map(|line| line.priming()).collect()) }
    }
}
