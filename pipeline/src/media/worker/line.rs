//! One rung: its encoders, and the muxer that takes what they made in order.
//!
//! FLAC has one encoder for the whole track. AAC has one per stretch (`stretch`); they take turns at the muxer, and who has
//! the turn passes its packets on as they come, so that a slow upload plays as far as it is.
//! Promise: nobody waits for a turn that doesn't come: whoever leaves early says so to the others.
//! Memory:  what a stretch made before its turn, a minute of AAC.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ffmpeg_next::Packet;

use super::Trouble;
use super::crew::Feed;
use super::encode::{AAC_SAMPLES, Coder, trouble};
use super::link::Outlet;
use super::mux::Mux;
use super::pcm::{BLOCK_SAMPLES, Floats};
use super::stretch::{self, Window};
use crate::media::ladder::{Grid, PlannedRung, RungSpec};

/// A turn that nobody has: somebody left early.
const NOBODY: u64 = u64::MAX;

/// What all threads of one rung share.
pub(super) struct Line {
    plan: PlannedRung,
    grid: Grid,
    outlet: Arc<Mutex<Outlet>>,
    /// The stretch that may write.
    turn: AtomicU64,
    shared: Mutex<Shared>,
    turned: Condvar,
}

#[derive(Default)]
struct Shared {
    mux: Option<Mux>,
    priming: u32,
    /// What the stretch before made around its end.
    trail: Vec<Made>,
}

/// A packet, where it belongs, and how it was windowed.
struct Made {
    at: i64,
    window: Option<Window>,
    packet: Packet,
}

impl Line {
    pub(super) fn new(plan: PlannedRung, grid: Grid, outlet: &Arc<Mutex<Outlet>>) -> Self {
        Self {
            plan,
            grid,
            outlet: Arc::clone(outlet),
            turn: AtomicU64::new(0),
            shared: Mutex::default(),
            turned: Condvar::new(),
        }
    }

    /// Samples before the first of the source; 0 if nothing was encoded.
    pub(super) fn priming(&self) -> u32 {
        self.lock().priming
    }

    /// What each of the rung's threads does.
    pub(super) fn run(&self, feeds: &Receiver<Feed>) -> Result<(), Trouble> {
        match self.plan.spec {
            RungSpec::Aac(_) => self.stretches(feeds),
            RungSpec::Flac => self.whole(feeds),
        }
    }

    /// Everything that comes, by one encoder.
    fn whole(&self, feeds: &Receiver<Feed>) -> Result<(), Trouble> {
        let mut coder = Coder::open(&self.plan, self.grid.rate, 0)?;
        let mut shared = self.lock();
        let mux = shared.begin(self, &coder)?;
        let mut packets = vec![];
        loop {
            let is_end = match feeds.recv() {
                Ok(Feed::Ints(ints)) => {
                    #[cfg(debug_assertions)]
                    super::fault::on_block(&self.outlet);
                    coder.ints(&ints, &mut packets)?;
                    false
                }
                Ok(Feed::End(_)) => {
                    coder.finish(&mut packets)?;
                    true
                }
                _ => return Ok(()),
            };
            packets.drain(..).try_for_each(|packet| mux.write(packet))?;
            if is_end {
                return mux.cut();
            }
        }
    }

    /// Those stretches that come.
    fn stretches(&self, feeds: &Receiver<Feed>) -> Result<(), Trouble> {
        let mut leaving = Leaving { line: self, is_early: true };
        let mut own: Option<Stretch<'_>> = None;
        loop {
            match feeds.recv() {
                Ok(Feed::Floats(k, floats)) => {
                    #[cfg(debug_assertions)]
                    super::fault::on_block(&self.outlet);
                    let stretch = match &mut own {
                        Some(stretch) => stretch,
                        None => own.insert(Stretch::open(self, k)?),
                    };
                    stretch.encode(&floats)?;
                }
                Ok(Feed::Over) => {
                    if let Some(stretch) = own.take() {
                        stretch.hand_over()?;
                    }
                }
                Ok(Feed::End(samples)) => {
                    let last = stretch::last(samples);
                    if let Some(stretch) = own.take_if(|stretch| stretch.k == last) {
                        stretch.finish()?;
                    }
                    leaving.is_early = false;
                    return Ok(());
                }
                _ => return Ok(()),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_turn_to(&self, k: u64) {
        let _shared = self.lock();
        self.turn.store(k, Ordering::Release);
        self.turned.notify_all();
    }
}

impl Shared {
    /// The muxer, made for `coder` if it is the first.
    fn begin(&mut self, line: &Line, coder: &Coder<'_>) -> Result<&mut Mux, Trouble> {
        self.priming = coder.priming();
        let mux = match self.mux.take() {
            Some(mux) => mux,
            None => {
                Mux::open(&line.plan, line.grid, coder.encoder(), &line.outlet).map_err(|e| trouble(&line.plan, e))?
            }
        };
        Ok(self.mux.insert(mux))
    }
}

/// Tells those who wait for their turn that it won't come.
struct Leaving<'a> {
    line: &'a Line,
    is_early: bool,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if self.is_early {
            self.line.pass_turn_to(NOBODY);
        }
    }
}

/// One stretch and its encoder.
struct Stretch<'a> {
    line: &'a Line,
    k: u64,
    coder: Coder<'a>,
    packets: Vec<Packet>,
    /// Made and not written.
    made: Vec<Made>,
    /// What comes before it is written.
    is_joined: bool,
}

impl<'a> Stretch<'a> {
    fn open(line: &'a Line, k: u64) -> Result<Self, Trouble> {
        let from = (stretch::begin(k) * BLOCK_SAMPLES as u64).cast_signed();
        let coder = Coder::open(&line.plan, line.grid.rate, from)?;
        Ok(Self { line, k, coder, packets: vec![], made: vec![], is_joined: k == 0 })
    }

    fn encode(&mut self, floats: &Floats) -> Result<(), Trouble> {
        self.coder.floats(floats, &mut self.packets)?;
        self.keep();
        if self.line.turn.load(Ordering::Acquire) != self.k {
            return Ok(());
        }
        let line = self.line;
        self.write(&mut line.lock(), self.seam_ahead())
    }

    /// The stretch is over and another follows: it gets what was made around the seam, and the turn.
    fn hand_over(mut self) -> Result<(), Trouble> {
        let mut shared = self.wait()?;
        self.write(&mut shared, self.seam_ahead())?;
        shared.trail = self.made;
        drop(shared);
        self.line.pass_turn_to(self.k + 1);
        Ok(())
    }

    /// The track ends here.
    fn finish(mut self) -> Result<(), Trouble> {
        self.coder.finish(&mut self.packets)?;
        self.keep();
        let mut shared = self.wait()?;
        self.write(&mut shared, i64::MAX)?;
        shared.begin(self.line, &self.coder)?.cut()
    }

    /// From here on a packet may be the next stretch's.
    fn seam_ahead(&self) -> i64 {
        stretch::seam(self.k + 1) - AAC_SAMPLES as i64
    }

    fn keep(&mut self) {
        self.made.extend(self.packets.drain(..).map(|packet| Made {
            at: packet.pts().unwrap_or(0),
            window: packet.data().and_then(stretch::window),
            packet,
        }));
    }

    fn wait(&self) -> Result<MutexGuard<'a, Shared>, Trouble> {
        let mut shared = self.line.lock();
        loop {
            match self.line.turn.load(Ordering::Acquire) {
                turn if turn == self.k => return Ok(shared),
                NOBODY => return Err(Trouble::Stopped),
                _ => shared = self.line.turned.wait(shared).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Writes what lies before `end`, after what the stretch before left.
    fn write(&mut self, shared: &mut Shared, end: i64) -> Result<(), Trouble> {
        let mut trail = vec![];
        if !self.is_joined {
            let reached = self.made.last().map_or(i64::MIN, |made| made.at);
            if shared.trail.last().is_some_and(|last| reached < last.at) {
                return Ok(());
            }
            trail = std::mem::take(&mut shared.trail);
            let places = |made: &[Made]| made.iter().map(|m| (m.at, m.window)).collect::<Vec<_>>();
            let join = stretch::join(stretch::seam(self.k), &places(&trail), &places(&self.made));
            trail.retain(|made| made.at < join);
            self.made.retain(|made| made.at >= join);
            self.is_joined = true;
        }
        let mux = shared.begin(self.line, &self.coder)?;
        let ready = self.made.partition_point(|made| made.at < end);
        trail.into_iter().chain(self.made.drain(..ready)).try_for_each(|made| mux.write(made.packet))
    }
}
