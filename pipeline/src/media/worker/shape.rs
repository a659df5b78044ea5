//! From decoded frames to the ladder's blocks: two channels, one of two rates, an exact number of samples.
//!
//! Promise: with the ladder's own rate and one or two channels no sample is changed. Otherwise libswresample converts,
//! and the length is the source's, scaled and rounded to the nearest sample.

use ffmpeg_next::format::Sample;
use ffmpeg_next::format::sample::Type;
use ffmpeg_next::frame::Audio;
use ffmpeg_next::software::resampling;
use ffmpeg_next::{ChannelLayout, Dictionary};

use super::Trouble;
use super::crew::Crew;
use super::pcm::{self, BLOCK_SAMPLES, Block, Floats, Plane};
use crate::media::failure::Code;

const FLOATS: Sample = Sample::F32(Type::Planar);
/// What the converter may hold back or add at one go.
const SLACK_SAMPLES: usize = 8192;

/// Shapes one track.
pub(super) struct Shaper {
    channels: usize,
    source_rate: u32,
    rate: u32,
    /// Bits of the FLAC rung, if there is one.
    flac_bits: Option<u16>,
    converter: Option<resampling::Context>,
    filling: Block,
    /// Source samples taken in.
    taken: u64,
    /// Ladder samples handed out.
    pub(super) given: u64,
}

impl Shaper {
    pub(super) fn new(
        first: &Audio,
        channels: u16,
        source_rate: u32,
        rate: u32,
        flac_bits: Option<u16>,
    ) -> Result<Self, Trouble> {
        let converter = if source_rate == rate && channels <= 2 {
            None
        } else {
            let layout = layout(first, channels);
            // Mixing down many full channels must not clip.
            let options: Dictionary<'_> = [("rematrix_maxval", "1.0")].iter().collect();
            let made = resampling::Context::get_with(
                FLOATS,
                layout,
                source_rate,
                FLOATS,
                ChannelLayout::STEREO,
                rate,
                options,
            );
            Some(made.or_else(|e| Trouble::refused(Code::UnsupportedMedia, format!("this channel layout: {e}")))?)
        };
        let channels = usize::from(channels);
        Ok(Self { channels, source_rate, rate, flac_bits, converter, filling: Block::default(), taken: 0, given: 0 })
    }

    /// Takes `count` samples of a frame, from its start.
    pub(super) fn take(&mut self, frame: &Audio, count: usize, crew: &mut Crew) -> Result<(), Trouble> {
        if count == 0 {
            return Ok(());
        }
        let Some(mut planes) = pcm::planes(frame, self.channels) else {
            return Trouble::refused(Code::UnsupportedMedia, "a sample format of another kind");
        };
        for plane in &mut planes {
            match plane {
                Plane::Ints(v) => v.truncate(count),
                Plane::Floats(v) => v.truncate(count),
            }
        }
        self.taken += count as u64;
        match self.converter {
            None => self.keep(&planes[0], &planes[self.channels - 1], usize::MAX, crew),
            Some(_) => {
                let input = self.packed(frame, &planes, count);
                self.convert(Some(&input), u64::MAX, crew)
            }
        }
    }

    /// Lets out what is held back; the number of samples made.
    pub(super) fn finish(&mut self, crew: &mut Crew) -> Result<u64, Trouble> {
        if self.converter.is_some() {
            let (from, to) = (u64::from(self.source_rate), u64::from(self.rate));
            let exact = ((self.taken * to + from / 2) / from).max(u64::from(self.taken > 0));
            self.convert(None, exact, crew)?;
            let missing = exact.saturating_sub(self.given + self.filling.len() as u64) as usize;
            let silence = Plane::Floats(vec![0.0; missing]);
            self.keep(&silence, &silence, usize::MAX, crew)?;
        }
        if self.filling.len() > 0 {
            self.hand_out(crew)?;
        }
        Ok(self.given)
    }

    /// The planes as a frame that the converter takes.
    fn packed(&self, frame: &Audio, planes: &[Plane], count: usize) -> Audio {
        let mut input = Audio::new(FLOATS, count, layout(frame, self.channels as u16));
        input.set_rate(self.source_rate);
        for (channel, plane) in planes.iter().enumerate() {
            input.plane_mut::<f32>(channel)[..count].copy_from_slice(&plane.floats());
        }
        input
    }

    /// Runs the converter, or empties it, up to `exact` samples in all.
    fn convert(&mut self, input: Option<&Audio>, exact: u64, crew: &mut Crew) -> Result<(), Trouble> {
        loop {
            let Some(converter) = &mut self.converter else { return Ok(()) };
            let taken = input.map_or(0, |i| i.samples() as u64) * u64::from(self.rate) / u64::from(self.source_rate);
            let mut out = Audio::new(FLOATS, taken as usize + SLACK_SAMPLES, ChannelLayout::STEREO);
            let done = match input {
                Some(input) => converter.run(input, &mut out),
                None => converter.flush(&mut out),
            };
            if let Err(e) = done {
                return Trouble::refused(Code::CorruptMedia, format!("the audio changes its shape: {e}"));
            }
            let made = out.samples();
            let room = exact.saturating_sub(self.given + self.filling.len() as u64);
            let keep = made.min(usize::try_from(room).unwrap_or(usize::MAX));
            let side = |channel| Plane::Floats(out.plane::<f32>(channel)[..keep].to_vec());
            let (left, right) = if keep > 0 { (side(0), side(1)) } else { return Ok(()) };
            self.keep(&left, &right, keep, crew)?;
            if input.is_some() {
                return Ok(());
            }
        }
    }

    /// Appends samples and hands out every full block.
    fn keep(&mut self, left: &Plane, right: &Plane, most: usize, crew: &mut Crew) -> Result<(), Trouble> {
        let (lf, rf) = (left.floats(), right.floats());
        let ints = self.flac_bits.map(|bits| (left.ints(bits), right.ints(bits)));
        let count = lf.len().min(most);
        let mut at = 0;
        while at < count {
            let end = count.min(at + BLOCK_SAMPLES - self.filling.len());
            self.filling.floats.left.extend_from_slice(&lf[at..end]);
            self.filling.floats.right.extend_from_slice(&rf[at..end]);
            if let Some((li, ri)) = &ints {
                self.filling.ints.extend(li[at..end].iter().zip(&ri[at..end]).flat_map(|(l, r)| [*l, *r]));
            }
            at = end;
            if self.filling.len() == BLOCK_SAMPLES {
                self.hand_out(crew)?;
            }
        }
        Ok(())
    }

    fn hand_out(&mut self, crew: &mut Crew) -> Result<(), Trouble> {
        let empty = Block {
            floats: Floats { left: Vec::with_capacity(BLOCK_SAMPLES), right: Vec::with_capacity(BLOCK_SAMPLES) },
            ints: Vec::with_capacity(if self.flac_bits.is_some() { 2 * BLOCK_SAMPLES } else { 0 }),
        };
        let block = std::mem::replace(&mut self.filling, empty);
        self.given += block.len() as u64;
        crew.hand_out(block)
    }
}

/// The frame's own layout if it fits its channels, else the usual one for so many.
pub(super) fn layout(frame: &Audio, channels: u16) -> ChannelLayout {
    let own = frame.channel_layout();
    if own.channels() == i32::from(channels) { own } else { ChannelLayout::default(i32::from(channels)) }
}
