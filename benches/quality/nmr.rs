//! The noise-to-mask ratio of ITU-R BS.1387, as far as comparing coders needs it: how far a coder's noise in each quarter of a
//! Bark stays below what the sound itself hides there.
//!
//! Left out of the recommendation: the outer ear, time smearing, and the step from ratios to a grade.

use rustfft::{Fft, FftPlanner, num_complex::Complex};

const RATE: f64 = 44_100.0;
const FRAME: usize = 2048;
const HOP: usize = 1024;
/// Width of a band on the Bark scale.
const BAND: f64 = 0.25;
/// The first and the last frequency that counts.
const HERTZ: (f64, f64) = (80.0, 18_000.0);
/// Quieter frames than this, beside the loudest, are left out.
const QUIET_DB: f64 = 60.0;
/// A frame in which a band's noise is that far above its mask is one whose noise is heard.
const HEARD_DB: f64 = 1.5;
/// The loudest sine is taken to be that loud, as the recommendation has it.
const FULL_SCALE_DB: f64 = 92.0;

/// What was found out about one item.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// Noise over mask, meant over bands, then over frames in dB. Less is better.
    pub mean_db: f64,
    /// Share of frames whose noise is heard.
    pub heard: f64,
}

/// Compares interleaved stereo with what a coder made of it.
pub fn judge(source: &[f32], coded: &[f32]) -> Verdict {
    let ear = Ear::new();
    let mut frames: Vec<(f64, Vec<f64>)> = vec![];
    for side in 0..2 {
        let channel = |pcm: &[f32]| pcm.iter().skip(side).step_by(2).map(|v| f64::from(*v)).collect::<Vec<_>>();
        let (source, coded) = (channel(source), channel(coded));
        let starts = (0..source.len().min(coded.len()).saturating_sub(FRAME)).step_by(HOP);
        frames.extend(starts.map(|at| ear.frame(&source[at..at + FRAME], &coded[at..at + FRAME])));
    }
    let loudest = frames.iter().map(|f| f.0).fold(f64::MIN, f64::max);
    let heard = |ratios: &[f64]| ratios.iter().any(|r| db(*r) > HEARD_DB);
    let counted: Vec<_> = frames.into_iter().filter(|f| db(f.0) > db(loudest) - QUIET_DB).map(|f| f.1).collect();
    let mean = |ratios: &Vec<f64>| db(ratios.iter().sum::<f64>() / ratios.len() as f64);
    Verdict {
        mean_db: counted.iter().map(mean).sum::<f64>() / counted.len() as f64,
        heard: counted.iter().filter(|ratios| heard(ratios)).count() as f64 / counted.len() as f64,
    }
}

fn db(power: f64) -> f64 {
    10.0 * power.max(1e-30).log10()
}

struct Ear {
    fft: std::sync::Arc<dyn Fft<f64>>,
    window: Vec<f64>,
    /// The band of each line of the spectrum.
    band_of: Vec<Option<usize>>,
    /// Each band's middle, in Bark and in Hz.
    middles: Vec<(f64, f64)>,
    /// What spreading adds to a flat spectrum.
    flat: Vec<f64>,
}

impl Ear {
    fn new() -> Self {
        let bark = |hertz: f64| 7.0 * (hertz / 650.0).asinh();
        let (low, high) = (bark(HERTZ.0), bark(HERTZ.1));
        let bands = ((high - low) / BAND) as usize;
        let place = |line: usize| (bark(line as f64 * RATE / FRAME as f64) - low) / BAND;
        let band_of = (0..=FRAME / 2).map(|line| Some(place(line)).filter(|p| (0.0..bands as f64).contains(p)));
        let middle = |band: usize| low + (band as f64 + 0.5) * BAND;
        let hann =
            |n: usize| (std::f64::consts::PI * n as f64 / (FRAME - 1) as f64).sin().powi(2) * (8.0f64 / 3.0).sqrt();
        let mut ear = Self {
            fft: FftPlanner::new().plan_fft_forward(FRAME),
            window: (0..FRAME).map(hann).collect(),
            band_of: band_of.map(|p| p.map(|p| p as usize)).collect(),
            middles: (0..bands).map(|b| (middle(b), 650.0 * (middle(b) / 7.0).sinh())).collect(),
            flat: vec![1.0; bands],
        };
        ear.flat = ear.spread(&vec![1.0; bands]);
        ear
    }

    /// The frame's power, and per band its noise over its mask.
    fn frame(&self, source: &[f64], coded: &[f64]) -> (f64, Vec<f64>) {
        let (source, coded) = (self.spectrum(source), self.spectrum(coded));
        let noise: Vec<f64> = source.iter().zip(&coded).map(|(a, b)| (a - b).powi(2)).collect();
        let power: Vec<f64> = source.iter().map(|a| a * a).collect();
        let (power, noise) = (self.bands(&power), self.bands(&noise));
        let ratios = self.mask(&power).iter().zip(&noise).map(|(mask, noise)| noise / mask).collect();
        (power.iter().sum(), ratios)
    }

    fn spectrum(&self, pcm: &[f64]) -> Vec<f64> {
        let mut line: Vec<_> = pcm.iter().zip(&self.window).map(|(v, w)| Complex::new(v * w, 0.0)).collect();
        self.fft.process(&mut line);
        line[..=FRAME / 2].iter().map(|c| c.norm()).collect()
    }

    fn bands(&self, lines: &[f64]) -> Vec<f64> {
        let mut bands = vec![1e-12; self.middles.len()];
        for (line, band) in lines.iter().zip(&self.band_of) {
            if let Some(band) = band {
                bands[*band] += line;
            }
        }
        bands
    }

    fn mask(&self, power: &[f64]) -> Vec<f64> {
        let offset = |bark: f64| if bark <= 12.0 { 3.0 } else { 0.25 * bark };
        let spread = self.spread(power);
        let each = self.middles.iter().zip(spread.iter().zip(&self.flat));
        each.map(|((bark, _), (spread, flat))| spread / flat / 10f64.powf(offset(*bark) / 10.0)).collect()
    }

    /// A band hides noise in its neighbours too: 27 dB less with each Bark below it, and above it less steeply the louder it is.
    fn spread(&self, power: &[f64]) -> Vec<f64> {
        let full_scale = db((FRAME as f64 / 4.0).powi(2));
        let mut out = vec![0.0; power.len()];
        for (from, energy) in power.iter().enumerate() {
            let (bark, hertz) = self.middles[from];
            let level = (db(*energy) + FULL_SCALE_DB - full_scale).clamp(0.0, 100.0);
            let upward = -24.0 - 230.0 / hertz + 0.2 * level;
            for (to, sum) in out.iter_mut().enumerate() {
                let distance = self.middles[to].0 - bark;
                let slope = if distance < 0.0 { 27.0 } else { upward };
                *sum += (energy * 10f64.powf(slope * distance / 10.0)).powf(0.4);
            }
        }
        out.into_iter().map(|sum| sum.powf(2.5)).collect()
    }
}
