//! Which rungs are made of which source, and where they are cut. Pure functions.
//!
//! Promise: the grid follows from rate and configuration alone, so a restart cuts where the first run did.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Rungs of one ladder: the wire and the rows number them in four bits.
pub const RUNGS_MAX: usize = 16;
/// Cuts are multiples of this: the least common multiple of AAC's 1024 and the FLAC block.
pub const CUT_SAMPLES: u64 = 4096;
/// AAC-LC's useful range for stereo.
const AAC_KBPS: std::ops::RangeInclusive<u32> = 16..=320;
/// HLS wants target durations of a few seconds; the largest keeps a FLAC segment inside one wire frame.
pub const SEGMENT_SECONDS: std::ops::RangeInclusive<u32> = 2..=16;
/// From here on AAC has bits enough to keep noise instead of naming it (perceptual noise substitution). Measured at 160 kbit/s:
/// 1.2 dB less noise over the mask on real sound, and as good from the first second on, where the coder otherwise
/// takes eight to get there (`make bench ARGS="--only quality"`).
pub const PNS_BELOW_KBPS: u32 = 128;
/// What the boxes and the bit reservoir may add to an AAC rung within one segment.
const AAC_BOUND_EXTRA_BPS: u64 = 16_000;

/// One wanted rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RungSpec {
    /// AAC-LC at this many kbit/s.
    Aac(u32),
    /// FLAC, 16 or 24 bits as the source has.
    Flac,
}

impl fmt::Display for RungSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aac(kbps) => write!(f, "aac:{kbps}k"),
            Self::Flac => f.write_str("flac"),
        }
    }
}

/// Why a ladder's text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LadderError {
    /// Neither `aac:NNNk` nor `flac`.
    #[error("`{0}` is no rung: write aac:64k up to aac:320k, or flac")]
    Unknown(String),
    /// Twice the same.
    #[error("`{0}` is there twice")]
    Twice(String),
    /// None, too many, or only FLAC.
    #[error("a ladder has 1 to {RUNGS_MAX} rungs, at least one of them AAC")]
    Shape,
}

/// The rungs wanted, in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ladder(Vec<RungSpec>);

impl Ladder {
    /// Reads `aac:64k,aac:160k,flac`.
    pub fn parse(text: &str) -> Result<Self, LadderError> {
        let mut rungs = Vec::new();
        for word in text.split(',').map(str::trim) {
            let rung = rung(word).ok_or_else(|| LadderError::Unknown(word.to_owned()))?;
            if rungs.contains(&rung) {
                return Err(LadderError::Twice(word.to_owned()));
            }
            rungs.push(rung);
        }
        let has_aac = rungs.iter().any(|r| matches!(r, RungSpec::Aac(_)));
        if rungs.len() > RUNGS_MAX || !has_aac {
            return Err(LadderError::Shape);
        }
        Ok(Self(rungs))
    }

    /// Without rungs: of a worker that makes something else.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// The rungs as wanted.
    pub fn rungs(&self) -> &[RungSpec] {
        &self.0
    }

    /// The rungs that this source gets. A lossy source gets no FLAC and no AAC far above its own rate, since both
    /// would add bytes and no sound; its lowest rung is always made.
    pub fn plan(&self, source: &Sound) -> Vec<PlannedRung> {
        let lowest = self.0.iter().filter_map(|r| if let RungSpec::Aac(kbps) = r { Some(*kbps) } else { None }).min();
        let wanted = self.0.iter().filter(|rung| match rung {
            RungSpec::Flac => source.lossless,
            RungSpec::Aac(kbps) => {
                source.lossless
                    || source.kbps.is_none_or(|own| u64::from(*kbps) * 2 <= u64::from(own) * 3)
                    || Some(*kbps) == lowest
            }
        });
        let rate = ladder_rate(source.rate);
        let plan = |(n, spec): (usize, &RungSpec)| PlannedRung::of(n as u8, *spec, rate, source.flac_bits());
        wanted.enumerate().map(plan).collect()
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, rung) in self.0.iter().enumerate() {
            write!(f, "{}{rung}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Ladder {
    type Err = LadderError;
    fn from_str(text: &str) -> Result<Self, LadderError> {
        Self::parse(text)
    }
}

impl FromStr for RungSpec {
    type Err = LadderError;
    fn from_str(text: &str) -> Result<Self, LadderError> {
        rung(text).ok_or_else(|| LadderError::Unknown(text.to_owned()))
    }
}

fn rung(word: &str) -> Option<RungSpec> {
    if word == "flac" {
        return Some(RungSpec::Flac);
    }
    let kbps: u32 = word.strip_prefix("aac:")?.strip_suffix('k')?.parse().ok()?;
    AAC_KBPS.contains(&kbps).then_some(RungSpec::Aac(kbps))
}

/// What the plan needs to know of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    /// Samples per second.
    pub rate: u32,
    /// Significant bits per sample; 0 for lossy codecs.
    pub bits: u16,
    /// Whether FLAC would keep it.
    pub lossless: bool,
    /// The source's own rate, where it says.
    pub kbps: Option<u32>,
}

impl Sound {
    /// Bits of a FLAC rung made of it.
    pub fn flac_bits(&self) -> u16 {
        if (1..=16).contains(&self.bits) { 16 } else { 24 }
    }
}

/// One rung that is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRung {
    /// Its number, from 0.
    pub rung: u8,
    /// As in the ladder: `aac:160k`, `flac`.
    pub name: String,
    /// RFC 6381.
    pub codecs: String,
    /// A bound in bits per second, known before the first segment.
    pub bandwidth: u64,
    /// What to encode.
    pub spec: RungSpec,
    /// Bits per sample of FLAC, 0 for AAC.
    pub bits: u16,
}

impl PlannedRung {
    pub(super) fn of(rung: u8, spec: RungSpec, rate: u32, flac_bits: u16) -> Self {
        let (codecs, bandwidth, bits) = match spec {
            RungSpec::Aac(kbps) => ("mp4a.40.2", u64::from(kbps) * 1250 + AAC_BOUND_EXTRA_BPS, 0),
            RungSpec::Flac => ("fLaC", u64::from(rate) * 2 * u64::from(flac_bits) + AAC_BOUND_EXTRA_BPS, flac_bits),
        };
        Self { rung, name: spec.to_string(), codecs: codecs.to_owned(), bandwidth, spec, bits }
    }

    /// The rung's folder in URLs: `aac160`, `flac`.
    pub fn folder(&self) -> String {
        match self.spec {
            RungSpec::Aac(kbps) => format!("aac{kbps}"),
            RungSpec::Flac => "flac".to_owned(),
        }
    }
}

/// The rate of every rung: the family that the source's rate belongs to.
pub fn ladder_rate(source_rate: u32) -> u32 {
    if source_rate.is_multiple_of(48_000) { 48_000 } else { 44_100 }
}

/// Where every rung is cut, on the presentation timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    /// Samples per second of the ladder.
    pub rate: u32,
    /// Length of segment 0: short, since it is what a listener waits for.
    pub first_samples: u64,
    /// Length of every later segment but the last.
    pub grid_samples: u64,
    /// Target duration in seconds.
    pub target_s: u32,
}

/// The grid of a ladder at `rate` with segments of about `segment_seconds`.
pub fn grid(rate: u32, segment_seconds: u32) -> Grid {
    let floor = |samples: u64| samples / CUT_SAMPLES * CUT_SAMPLES;
    Grid {
        rate,
        first_samples: floor(u64::from(rate)),
        grid_samples: floor(u64::from(rate) * u64::from(segment_seconds)),
        target_s: segment_seconds,
    }
}

impl Grid {
    /// First sample of segment `n`.
    pub fn start(&self, n: u32) -> u64 {
        if n == 0 { 0 } else { self.first_samples + u64::from(n - 1) * self.grid_samples }
    }

    /// Length of segment `n` unless it is the last.
    pub fn samples(&self, n: u32) -> u64 {
        if n == 0 { self.first_samples } else { self.grid_samples }
    }

    /// How many segments `samples` make.
    pub fn count(&self, samples: u64) -> u32 {
        let later = samples.saturating_sub(self.first_samples).div_ceil(self.grid_samples);
        later as u32 + u32::from(samples > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CD: Sound = Sound { rate: 44_100, bits: 16, lossless: true, kbps: None };

    fn names(ladder: &str, sound: Sound) -> Vec<String> {
        Ladder::parse(ladder).unwrap().plan(&sound).into_iter().map(|r| r.name).collect()
    }

    #[test]
    fn the_default_ladder_reads_and_writes_itself() {
        let text = "aac:64k,aac:160k,aac:256k,flac";
        assert_eq!(Ladder::parse(text).unwrap().to_string(), text);
        for bad in ["", "flac", "aac:64", "aac:64k,aac:64k", "mp3:128k", "aac:8k", "aac:64k,,flac", "aac:+64k,x"] {
            assert!(Ladder::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_lossy_source_gets_no_more_than_it_has() {
        let all = "aac:64k,aac:160k,aac:256k,flac";
        assert_eq!(names(all, CD).len(), 4);
        let lossy = |kbps| names(all, Sound { lossless: false, bits: 0, kbps, ..CD });
        assert_eq!(lossy(Some(320)), ["aac:64k", "aac:160k", "aac:256k"]);
        assert_eq!(lossy(Some(128)), ["aac:64k", "aac:160k"]);
        assert_eq!(lossy(Some(24)), ["aac:64k"]);
        assert_eq!(lossy(None), ["aac:64k", "aac:160k", "aac:256k"]);
    }

    #[test]
    fn the_grid_is_the_table_in_the_design() {
        let g = grid(44_100, 6);
        assert_eq!((g.first_samples, g.grid_samples), (40_960, 262_144));
        let g = grid(48_000, 6);
        assert_eq!((g.first_samples, g.grid_samples), (45_056, 286_720));
        assert_eq!((g.start(0), g.start(1), g.start(3)), (0, 45_056, 45_056 + 2 * 286_720));
        assert_eq!([0, 1, 45_056, 45_057, 45_056 + 286_720].map(|n| g.count(n)), [0, 1, 1, 2, 2]);
    }

    #[test]
    fn rates_go_to_their_own_family() {
        assert_eq!([8_000, 22_050, 44_100, 88_200, 32_000].map(ladder_rate), [44_100; 5]);
        assert_eq!([48_000, 96_000, 192_000].map(ladder_rate), [48_000; 3]);
    }
}
