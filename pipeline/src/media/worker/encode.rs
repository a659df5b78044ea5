//! One rung: an encoder, a muxer into memory, and the cuts.
//!
//! Promise: segment `n` holds the packets whose presentation time lies in `[grid.start(n), grid.start(n + 1))`; the priming
//! goes to the first. The same input gives the same bytes: one thread, bit-exact flags, no time, no version.

use std::io::Write;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use ffmpeg_next::codec::{self, encoder};
use ffmpeg_next::format::Sample;
use ffmpeg_next::format::context::{Output, StreamIo};
use ffmpeg_next::format::sample::Type;
use ffmpeg_next::frame::Audio;
use ffmpeg_next::{ChannelLayout, Dictionary, Error, Packet, Rational, threading};

use super::link::{self, Outlet};
use super::pcm::{BLOCK_SAMPLES, Block};
use super::{Feed, Trouble, av};
use crate::media::ladder::{Grid, PlannedRung, RungSpec};
use crate::media::wire::Kind;

/// Samples of an AAC frame.
const AAC_SAMPLES: usize = 1024;
/// The muxer's flags: cuts where we say, the edit list in the init, offsets from the moof, no trailer.
const MOVFLAGS: &str = "frag_custom+delay_moov+default_base_moof+skip_trailer";

/// Encodes everything that comes; the priming.
pub(super) fn run(
    rung: &PlannedRung,
    grid: Grid,
    feeds: &Receiver<Feed>,
    outlet: &Mutex<Outlet>,
) -> Result<u32, Trouble> {
    let mut made = Rung::open(rung, grid, outlet).map_err(|e| trouble(rung, e))?;
    loop {
        match feeds.recv() {
            Ok(Feed::Pcm(block)) => {
                #[cfg(debug_assertions)]
                super::fault::on_block(outlet);
                made.encode(&block)?;
            }
            Ok(_) => return made.finish(),
            Err(_) => return Ok(0),
        }
    }
}

fn trouble(rung: &PlannedRung, error: Error) -> Trouble {
    av::trouble(&rung.name, error)
}

struct Rung<'a> {
    plan: &'a PlannedRung,
    grid: Grid,
    outlet: &'a Mutex<Outlet>,
    encoder: encoder::Audio,
    muxer: Output,
    sink: Sink,
    /// The segment being filled.
    n: u32,
    has_init: bool,
    /// Samples fed so far.
    fed: i64,
}

impl<'a> Rung<'a> {
    fn open(plan: &'a PlannedRung, grid: Grid, outlet: &'a Mutex<Outlet>) -> Result<Self, Error> {
        let encoder = open_encoder(plan, grid.rate)?;
        let sink = Sink::default();
        let mut muxer = ffmpeg_next::format::output_to_stream(StreamIo::from_write(sink.clone())?, None, Some("mp4"))?;
        let time_base = Rational(1, grid.rate as i32);
        muxer.add_stream_with(&encoder)?.set_time_base(time_base);
        let options: Dictionary<'_> =
            [("movflags", MOVFLAGS), ("fflags", "+bitexact"), ("strict", "experimental")].iter().collect();
        muxer.write_header_with(options)?;
        Ok(Self { plan, grid, outlet, encoder, muxer, sink, n: 0, has_init: false, fed: 0 })
    }

    fn encode(&mut self, block: &Block) -> Result<(), Trouble> {
        let step = if self.plan.spec == RungSpec::Flac { BLOCK_SAMPLES } else { AAC_SAMPLES };
        let mut at = 0;
        while at < block.len() {
            let end = block.len().min(at + step);
            let mut frame = match self.plan.bits {
                0 => floats(block, at, end),
                16 => shorts(block, at, end),
                _ => longs(block, at, end),
            };
            frame.set_rate(self.grid.rate);
            frame.set_pts(Some(self.fed));
            self.fed += (end - at) as i64;
            at = end;
            self.encoder.send_frame(&frame).map_err(|e| trouble(self.plan, e))?;
            self.drain()?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<u32, Trouble> {
        self.encoder.send_eof().map_err(|e| trouble(self.plan, e))?;
        self.drain()?;
        self.cut()?;
        Ok(av::initial_padding(&self.encoder))
    }

    fn drain(&mut self) -> Result<(), Trouble> {
        loop {
            let mut packet = Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => self.write(packet)?,
                Err(Error::Eof | Error::Other { errno: libc::EAGAIN }) => return Ok(()),
                Err(e) => return Err(trouble(self.plan, e)),
            }
        }
    }

    fn write(&mut self, mut packet: Packet) -> Result<(), Trouble> {
        // FLAC ends with an empty packet that carries a digest for the header; the header is long out.
        let starts_at = packet.pts().unwrap_or(0);
        if packet.size() == 0 || starts_at >= self.fed {
            return Ok(());
        }
        while starts_at >= self.grid.start(self.n + 1) as i64 {
            self.cut()?;
        }
        packet.set_stream(0);
        packet.write(&mut self.muxer).map_err(|e| trouble(self.plan, e))?;
        Ok(())
    }

    /// Ends a segment and sends it, after the init if it is the first.
    fn cut(&mut self) -> Result<(), Trouble> {
        if !self.has_init {
            let init = self.flush()?;
            link::send(self.outlet, Kind::Init, self.plan.rung, 0, &init)?;
            self.has_init = true;
        }
        let segment = self.flush()?;
        link::send(self.outlet, Kind::Segment, self.plan.rung, u64::from(self.n), &segment)?;
        self.n += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<Vec<u8>, Trouble> {
        av::flush(&mut self.muxer).map_err(|e| trouble(self.plan, e))?;
        Ok(self.sink.take())
    }
}

fn open_encoder(plan: &PlannedRung, rate: u32) -> Result<encoder::Audio, Error> {
    let (id, format) = match (plan.spec, plan.bits) {
        (RungSpec::Aac(_), _) => (codec::Id::AAC, Sample::F32(Type::Planar)),
        (RungSpec::Flac, 16) => (codec::Id::FLAC, Sample::I16(Type::Packed)),
        (RungSpec::Flac, _) => (codec::Id::FLAC, Sample::I32(Type::Packed)),
    };
    let name = if id == codec::Id::AAC { "aac" } else { "flac" };
    let found = encoder::find_by_name(name).ok_or(Error::EncoderNotFound)?;
    let mut encoder = codec::Context::new_with_codec(found).encoder().audio()?;
    encoder.set_rate(rate as i32);
    encoder.set_format(format);
    encoder.set_channel_layout(ChannelLayout::STEREO);
    encoder.set_time_base(Rational(1, rate as i32));
    encoder.set_threading(threading::Config::count(1));
    encoder.set_flags(codec::Flags::BITEXACT | codec::Flags::GLOBAL_HEADER);
    let mut options = Dictionary::new();
    match plan.spec {
        RungSpec::Aac(kbps) => {
            encoder.set_bit_rate(kbps as usize * 1000);
            options.set("aac_coder", "twoloop");
        }
        RungSpec::Flac => {
            options.set("frame_size", &BLOCK_SAMPLES.to_string());
            if plan.bits > 16 {
                options.set("bits_per_raw_sample", "24");
            }
        }
    }
    encoder.open_as_with(found, options)
}

fn floats(block: &Block, at: usize, end: usize) -> Audio {
    let mut frame = Audio::new(Sample::F32(Type::Planar), end - at, ChannelLayout::STEREO);
    frame.plane_mut::<f32>(0).copy_from_slice(&block.left[at..end]);
    frame.plane_mut::<f32>(1).copy_from_slice(&block.right[at..end]);
    frame
}

fn shorts(block: &Block, at: usize, end: usize) -> Audio {
    let mut frame = Audio::new(Sample::I16(Type::Packed), end - at, ChannelLayout::STEREO);
    let from = &block.ints[2 * at..2 * end];
    for (to, from) in frame.plane_mut::<i16>(0).iter_mut().zip(from) {
        *to = (*from >> 16) as i16;
    }
    frame
}

fn longs(block: &Block, at: usize, end: usize) -> Audio {
    let mut frame = Audio::new(Sample::I32(Type::Packed), end - at, ChannelLayout::STEREO);
    frame.plane_mut::<i32>(0).copy_from_slice(&block.ints[2 * at..2 * end]);
    frame
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
