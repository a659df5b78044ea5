//! Loudness range (EBU Tech 3342): how far quiet and loud passages of a track lie apart. Pure.
//!
//! A window of three seconds, moved on by a tenth, as FFmpeg has it. The crate that measures the rest moves it on by a whole
//! second, which the paper allows; over a short track that is up to a third of a LU off.
//! Memory: a histogram, whatever the length.

/// Tenths in a window.
const WINDOW: usize = 30;
/// LUFS below which nothing counts.
const ABSOLUTE_GATE: f64 = -70.0;
/// LU below the mean of what counts.
const RELATIVE_GATE: f64 = -20.0;
/// From the absolute gate up to 30 dB over full scale, a hundredth of a LU each.
const BINS: usize = 10_000;
/// Steps of the histogram in one LU.
const BINS_PER_LU: f64 = 100.0;
/// Of K-weighted energy (ITU-R BS.1770).
const OFFSET_LU: f64 = -0.691;

/// The windows of a track so far.
pub(super) struct Range {
    tenths: [f64; WINDOW],
    heard: usize,
    bins: Vec<u32>,
    sum: f64,
    count: u64,
}

impl Range {
    pub(super) fn new() -> Self {
        Self { tenths: [0.0; WINDOW], heard: 0, bins: vec![0; BINS], sum: 0.0, count: 0 }
    }

    /// The loudness of the next tenth of a second, in LUFS; minus infinity is silence.
    pub(super) fn add(&mut self, lufs: f64) {
        self.tenths[self.heard % WINDOW] = 10f64.powf((lufs - OFFSET_LU) / 10.0);
        self.heard += 1;
        let energy = self.tenths.iter().sum::<f64>() / WINDOW as f64;
        let loudness = loudness(energy);
        if self.heard < WINDOW || loudness.is_nan() || loudness < ABSOLUTE_GATE {
            return;
        }
        self.bins[bin(loudness)] += 1;
        self.sum += energy;
        self.count += 1;
    }

    /// In LU; none for less than a window, or for silence.
    pub(super) fn lu(&self) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let gate = loudness(self.sum / self.count as f64) + RELATIVE_GATE;
        let first = if gate > ABSOLUTE_GATE { bin(gate) } else { 0 };
        let counted: u64 = self.bins[first..].iter().map(|n| u64::from(*n)).sum();
        let at = |share: f64| {
            let mut left = ((share * counted as f64).round() as u64).max(1);
            let is_there = |n: &u32| {
                let reached = left <= u64::from(*n);
                left = left.saturating_sub(u64::from(*n));
                reached
            };
            self.bins[first..].iter().position(is_there).unwrap_or(0)
        };
        Some((at(0.95).saturating_sub(at(0.10))) as f64 / BINS_PER_LU)
    }
}

fn loudness(energy: f64) -> f64 {
    OFFSET_LU + 10.0 * energy.log10()
}

fn bin(loudness: f64) -> usize {
    (((loudness - ABSOLUTE_GATE) * BINS_PER_LU) as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tenths: impl IntoIterator<Item = f64>) -> Option<f64> {
        let mut range = Range::new();
        tenths.into_iter().for_each(|lufs| range.add(lufs));
        range.lu()
    }

    /// EBU Tech 3342, section 4: minimum requirements, cases 1, 2 and 4, each ±1 LU.
    #[test]
    fn the_paper_s_own_cases() {
        let steps = |levels: &[f64]| levels.iter().flat_map(|lufs| vec![*lufs; 200]).collect::<Vec<_>>();
        for (levels, lu) in
            [(&[-20.0, -30.0][..], 10.0), (&[-20.0, -15.0][..], 5.0), (&[-50.0, -35.0, -20.0, -35.0, -50.0][..], 15.0)]
        {
            let told = of(steps(levels)).unwrap();
            assert!((told - lu).abs() <= 1.0, "{levels:?}: {told}");
        }
    }

    #[test]
    fn silence_and_a_moment_have_none() {
        assert_eq!(of([f64::NEG_INFINITY; 300]), None);
        assert_eq!(of([-20.0; 29]), None);
        assert_eq!(of([-20.0; 30]), Some(0.0));
        assert_eq!(of([f64::NAN; 300]), None);
    }
}
