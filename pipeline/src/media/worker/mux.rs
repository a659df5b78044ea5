//! A rung's muxer into memory, and the cuts.
//!
//! Promise: segment `n` holds the packets whose presentation time lies in `[grid.start(n), grid.start(n + 1))`; the priming
//! goes to the first. No time and no version gets into it.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use ffmpeg_next::codec::encoder;
use ffmpeg_next::format::context::{Output, StreamIo};
use ffmpeg_next::{Dictionary, Error, Packet, Rational};

use super::encode::trouble;
use super::link::{self, Outlet};
use super::{Trouble, av};
use crate::media::ladder::{Grid, PlannedRung};
use crate::media::wire::Kind;

/// The muxer's flags: cuts where we say, the edit list in the init, offsets from the moof, no trailer.
const MOVFLAGS: &str = "frag_custom+delay_moov+default_base_moof+skip_trailer";

/// Takes packets in their order and sends segments.
pub(super) struct Mux {
    plan: PlannedRung,
    grid: Grid,
    outlet: Arc<Mutex<Outlet>>,
    muxer: Output,
    sink: Sink,
    /// The segment being filled.
    n: u32,
    has_init: bool,
}

impl Mux {
    /// For what `encoder` makes.
    pub(super) fn open(
        plan: &PlannedRung,
        grid: Grid,
        encoder: &encoder::Audio,
        outlet: &Arc<Mutex<Outlet>>,
    ) -> Result<Self, Error> {
        let sink = Sink::default();
        let mut muxer = ffmpeg_next::format::output_to_stream(StreamIo::from_write(sink.clone())?, None, Some("mp4"))?;
        let time_base = Rational(1, grid.rate as i32);
        muxer.add_stream_with(encoder)?.set_time_base(time_base);
        let options: Dictionary<'_> =
            [("movflags", MOVFLAGS), ("fflags", "+bitexact"), ("strict", "experimental")].iter().collect();
        muxer.write_header_with(options)?;
        let outlet = Arc::clone(outlet);
        Ok(Self { plan: plan.clone(), grid, outlet, muxer, sink, n: 0, has_init: false })
    }

    /// The next packet.
    pub(super) fn write(&mut self, mut packet: Packet) -> Result<(), Trouble> {
        let starts_at = packet.pts().unwrap_or(0);
        while starts_at >= self.grid.start(self.n + 1) as i64 {
            self.cut()?;
        }
        packet.set_stream(0);
        packet.write(&mut self.muxer).map_err(|e| trouble(&self.plan, e))?;
        Ok(())
    }

    /// Ends a segment and sends it, after the init if it is the first.
    pub(super) fn cut(&mut self) -> Result<(), Trouble> {
        if !self.has_init {
            let init = self.flush()?;
            link::send(&self.outlet, Kind::Init, self.plan.rung, 0, &init)?;
            self.has_init = true;
        }
        let segment = self.flush()?;
        link::send(&self.outlet, Kind::Segment, self.plan.rung, u64::from(self.n), &segment)?;
        self.n += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<Vec<u8>, Trouble> {
        av::flush(&mut self.muxer).map_err(|e| trouble(&self.plan, e))?;
        Ok(self.sink.take())
    }
}

/// Where the muxer writes.
#[derive(Clone, Default)]
pub(super) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
