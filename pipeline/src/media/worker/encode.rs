//! One encoder: blocks in, packets out, each at its place.
//!
//! Promise: the same input gives the same bytes: one thread, bit-exact flags.

use ffmpeg_next::codec::{self, encoder};
use ffmpeg_next::format::Sample;
use ffmpeg_next::format::sample::Type;
use ffmpeg_next::frame::Audio;
use ffmpeg_next::{ChannelLayout, Dictionary, Error, Packet, Rational, threading};

use super::pcm::{BLOCK_SAMPLES, Floats};
use super::{Trouble, av};
use crate::media::ladder::{PNS_BELOW_KBPS, PlannedRung, RungSpec};

/// Samples of an AAC frame.
pub(super) const AAC_SAMPLES: usize = 1024;

/// An encoder of one rung, or of a stretch of it.
pub(super) struct Coder<'a> {
    plan: &'a PlannedRung,
    rate: u32,
    encoder: encoder::Audio,
    /// The place behind the last sample fed.
    fed: i64,
}

impl<'a> Coder<'a> {
    /// One that is fed from the sample at `from` on.
    pub(super) fn open(plan: &'a PlannedRung, rate: u32, from: i64) -> Result<Self, Trouble> {
        let encoder = open_encoder(plan, rate).map_err(|e| trouble(plan, e))?;
        Ok(Self { plan, rate, encoder, fed: from })
    }

    /// What a muxer has to know.
    pub(super) fn encoder(&self) -> &encoder::Audio {
        &self.encoder
    }

    /// Samples that it puts before the first of the source.
    pub(super) fn priming(&self) -> u32 {
        av::initial_padding(&self.encoder)
    }

    /// Encodes a block for AAC.
    pub(super) fn floats(&mut self, block: &Floats, out: &mut Vec<Packet>) -> Result<(), Trouble> {
        for at in (0..block.left.len()).step_by(AAC_SAMPLES) {
            let end = block.left.len().min(at + AAC_SAMPLES);
            let mut frame = Audio::new(Sample::F32(Type::Planar), end - at, ChannelLayout::STEREO);
            frame.plane_mut::<f32>(0).copy_from_slice(&block.left[at..end]);
            frame.plane_mut::<f32>(1).copy_from_slice(&block.right[at..end]);
            self.frame(frame, end - at, out)?;
        }
        Ok(())
    }

    /// Encodes a block for FLAC: left and right by turns, left-justified in 32 bits.
    pub(super) fn ints(&mut self, ints: &[i32], out: &mut Vec<Packet>) -> Result<(), Trouble> {
        let samples = ints.len() / 2;
        let frame = if self.plan.bits == 16 {
            let mut frame = Audio::new(Sample::I16(Type::Packed), samples, ChannelLayout::STEREO);
            for (to, from) in frame.plane_mut::<i16>(0).iter_mut().zip(ints) {
                *to = (*from >> 16) as i16;
            }
            frame
        } else {
            let mut frame = Audio::new(Sample::I32(Type::Packed), samples, ChannelLayout::STEREO);
            frame.plane_mut::<i32>(0).copy_from_slice(ints);
            frame
        };
        self.frame(frame, samples, out)
    }

    /// Lets out what is held back.
    pub(super) fn finish(&mut self, out: &mut Vec<Packet>) -> Result<(), Trouble> {
        self.encoder.send_eof().map_err(|e| trouble(self.plan, e))?;
        self.drain(out)
    }

    fn frame(&mut self, mut frame: Audio, samples: usize, out: &mut Vec<Packet>) -> Result<(), Trouble> {
        frame.set_rate(self.rate);
        frame.set_pts(Some(self.fed));
        self.fed += samples as i64;
        self.encoder.send_frame(&frame).map_err(|e| trouble(self.plan, e))?;
        self.drain(out)
    }

    fn drain(&mut self, out: &mut Vec<Packet>) -> Result<(), Trouble> {
        loop {
            let mut packet = Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                // FLAC ends with an empty packet that carries a digest for the header; the header is long out. AAC may end
                // with one that begins behind the sound.
                Ok(()) if packet.size() == 0 || packet.pts().unwrap_or(0) >= self.fed => {}
                Ok(()) => out.push(packet),
                Err(Error::Eof | Error::Other { errno: libc::EAGAIN }) => return Ok(()),
                Err(e) => return Err(trouble(self.plan, e)),
            }
        }
    }
}

pub(super) fn trouble(rung: &PlannedRung, error: Error) -> Trouble {
    av::trouble(&rung.name, error)
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
            if kbps >= PNS_BELOW_KBPS {
                options.set("aac_pns", "0");
            }
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
