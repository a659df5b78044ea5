//! From the source's frames to what a lossy coder takes: one or two channels, its rate, and an exact number of samples.

use ffmpeg_next::format::Sample;
use ffmpeg_next::format::sample::Type;
use ffmpeg_next::frame::Audio;
use ffmpeg_next::software::resampling;
use ffmpeg_next::{ChannelLayout, Dictionary};

use super::Sound;
use crate::media::failure::Code;
use crate::media::worker::{Trouble, pcm, shape};

const FLOATS: Sample = Sample::F32(Type::Planar);
/// What the converter may hold back or add at one go.
const SLACK_SAMPLES: usize = 8192;

/// One plane per channel.
pub(super) type Planes = Vec<Vec<f32>>;

/// Converts one source.
pub(super) struct Converter {
    swr: Option<resampling::Context>,
    from: Sound,
    layout: ChannelLayout,
    to: u32,
    taken: u64,
    given: u64,
}

/// Samples at another rate, to the nearest.
pub(super) fn scaled(samples: u64, from: u32, to: u32) -> u64 {
    let (from, to) = (u64::from(from), u64::from(to));
    ((samples * to + from / 2) / from).max(u64::from(samples > 0))
}

impl Converter {
    pub(super) fn new(from: Sound, first: &Audio, to: u32) -> Result<Self, Trouble> {
        let layout = shape::layout(first, from.channels);
        let swr = if from.rate == to && from.channels <= 2 {
            None
        } else {
            // Mixing down many full channels must not clip.
            let options: Dictionary<'_> = [("rematrix_maxval", "1.0")].iter().collect();
            let out = output_layout(from.channels);
            let made = resampling::Context::get_with(FLOATS, layout, from.rate, FLOATS, out, to, options);
            Some(made.or_else(|e| Trouble::refused(Code::UnsupportedMedia, format!("this channel layout: {e}")))?)
        };
        Ok(Self { swr, from, layout, to, taken: 0, given: 0 })
    }

    /// The first `count` samples of a frame, converted as far as they are yet.
    pub(super) fn take(&mut self, frame: &Audio, count: usize) -> Result<Planes, Trouble> {
        let Some(planes) = pcm::planes(frame, usize::from(self.from.channels)) else {
            return Trouble::refused(Code::UnsupportedMedia, "a sample format of another kind");
        };
        self.taken += count as u64;
        let mut planes: Planes = planes.iter().map(pcm::Plane::floats).collect();
        planes.iter_mut().for_each(|plane| plane.truncate(count));
        if self.swr.is_none() || count == 0 {
            self.given += count as u64;
            return Ok(planes);
        }
        let mut input = Audio::new(FLOATS, count, self.layout);
        input.set_rate(self.from.rate);
        for (channel, plane) in planes.iter().enumerate() {
            input.plane_mut::<f32>(channel)[..count].copy_from_slice(plane);
        }
        self.run(Some(&input))
    }

    /// What was held back, up to the exact length.
    pub(super) fn finish(&mut self) -> Result<Planes, Trouble> {
        let exact = scaled(self.taken, self.from.rate, self.to);
        let mut all: Planes = vec![vec![]; usize::from(self.from.channels.min(2))];
        while self.swr.is_some() && self.given < exact {
            let more = self.run(None)?;
            if more.first().is_none_or(Vec::is_empty) {
                break;
            }
            all.iter_mut().zip(more).for_each(|(all, more)| all.extend(more));
        }
        let surplus = self.given.saturating_sub(exact) as usize;
        let missing = exact.saturating_sub(self.given) as usize;
        for plane in &mut all {
            plane.truncate(plane.len().saturating_sub(surplus));
            plane.extend(std::iter::repeat_n(0.0, missing));
        }
        Ok(all)
    }

    fn run(&mut self, input: Option<&Audio>) -> Result<Planes, Trouble> {
        let Some(swr) = &mut self.swr else { return Ok(vec![]) };
        let taken = input.map_or(0, |i| scaled(i.samples() as u64, self.from.rate, self.to)) as usize;
        let layout = output_layout(self.from.channels);
        let mut out = Audio::new(FLOATS, taken + SLACK_SAMPLES, layout);
        let done = match input {
            Some(input) => swr.run(input, &mut out),
            None => swr.flush(&mut out),
        };
        if let Err(e) = done {
            return Trouble::refused(Code::CorruptMedia, format!("the audio changes its shape: {e}"));
        }
        self.given += out.samples() as u64;
        let planes = 0..usize::from(self.from.channels.min(2));
        Ok(planes.map(|channel| out.plane::<f32>(channel)[..out.samples()].to_vec()).collect())
    }
}

pub(super) fn output_layout(channels: u16) -> ChannelLayout {
    if channels == 1 { ChannelLayout::MONO } else { ChannelLayout::STEREO }
}
