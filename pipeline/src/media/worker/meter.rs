//! Loudness, waveform and fingerprint, from the same blocks that the encoders get.

use std::sync::Mutex;
use std::sync::mpsc::Receiver;

use ebur128::{EbuR128, Mode};

use super::Trouble;
use super::crew::Feed;
use super::fingerprint::Print;
use super::link::{self, Outlet};
use super::pcm::Floats;
use super::range::Range;
use crate::media::Loudness;
use crate::media::failure::Code;
use crate::media::peaks::{Folder, SAMPLES_PER_PAIR};
use crate::media::wire::Kind;

/// Below this a true peak is silence.
const SILENCE_DBTP: f64 = -120.0;

/// Measures everything that comes and sends the waveform about once a second of audio.
pub(super) fn run(rate: u32, feeds: &Receiver<Feed>, outlet: &Mutex<Outlet>) -> Result<(), Trouble> {
    let mut meter = Meter::new(rate).map_err(|e| wrong(&e))?;
    let mut folder = Folder::default();
    let mut print = Print::new(rate);
    let mut sent = 0u64;
    let mut held = vec![];
    let pairs_at_once = (rate / SAMPLES_PER_PAIR) as usize;
    loop {
        let block = match feeds.recv() {
            Ok(Feed::Floats(_, block)) => block,
            Ok(_) => break,
            Err(_) => return Ok(()),
        };
        meter.add(&block).map_err(|e| wrong(&e))?;
        block.left.iter().zip(&block.right).for_each(|(l, r)| folder.add(*l, *r));
        print.add(&block);
        held.extend(folder.take());
        if held.len() / 2 >= pairs_at_once {
            sent = send(outlet, sent, &mut held)?;
        }
    }
    folder.finish();
    held.extend(folder.take());
    if !held.is_empty() {
        send(outlet, sent, &mut held)?;
    }
    link::send(outlet, Kind::Fingerprint, 0, 0, &print.finish())?;
    link::send_json(outlet, Kind::Loudness, &meter.measured())
}

fn send(outlet: &Mutex<Outlet>, first: u64, held: &mut Vec<u8>) -> Result<u64, Trouble> {
    let pairs = std::mem::take(held);
    link::send(outlet, Kind::Peaks, 0, first, &pairs)?;
    Ok(first + pairs.len() as u64 / 2)
}

/// Loudness so far.
struct Meter {
    r128: EbuR128,
    range: Range,
    /// Samples until the next tenth of a second.
    left: usize,
    tenth: usize,
}

impl Meter {
    fn new(rate: u32) -> Result<Self, ebur128::Error> {
        let tenth = rate as usize / 10;
        Ok(Self { r128: EbuR128::new(2, rate, Mode::I | Mode::TRUE_PEAK)?, range: Range::new(), left: tenth, tenth })
    }

    fn add(&mut self, block: &Floats) -> Result<(), ebur128::Error> {
        let mut at = 0;
        while at < block.left.len() {
            let end = block.left.len().min(at + self.left);
            self.r128.add_frames_planar_f32(&[&block.left[at..end], &block.right[at..end]])?;
            self.left -= end - at;
            at = end;
            if self.left == 0 {
                self.range.add(self.r128.loudness_window(100)?);
                self.left = self.tenth;
            }
        }
        Ok(())
    }

    fn measured(&self) -> Loudness {
        let finite = |value: f64| value.is_finite().then_some(value);
        let peak = (0..2).filter_map(|channel| self.r128.true_peak(channel).ok()).fold(0.0, f64::max);
        let integrated = self.r128.loudness_global().ok().and_then(finite);
        Loudness {
            integrated,
            range: integrated.and_then(|_| self.range.lu()),
            true_peak: finite(20.0 * peak.log10()).filter(|db| *db > SILENCE_DBTP),
        }
    }
}

fn wrong(error: &ebur128::Error) -> Trouble {
    Trouble::Refused(Code::WorkerCrashed, format!("measuring loudness: {error}"))
}
