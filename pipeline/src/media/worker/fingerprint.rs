//! What a track sounds like, in a few kilobytes: chromaprint of its first two minutes, on the meter's thread.
//!
//! Absent: judgement. Whether two of them are one recording is asked by `encode::alike`.

use rusty_chromaprint::{Configuration, Fingerprinter};

use super::pcm::Floats;
use crate::media::limits::FINGERPRINT_S;

/// A fingerprint on its way. What can't be printed (a rate too low) just never ends in one.
pub(super) struct Print {
    printer: Option<Fingerprinter>,
    /// Samples still to be heard.
    room: usize,
    mono: Vec<i16>,
}

impl Print {
    pub(super) fn new(rate: u32) -> Self {
        let mut printer = Fingerprinter::new(&Configuration::default());
        let printer = printer.start(rate, 1).is_ok().then_some(printer);
        Self { printer, room: (FINGERPRINT_S * rate) as usize, mono: vec![] }
    }

    pub(super) fn add(&mut self, block: &Floats) {
        let Some(printer) = self.printer.as_mut().filter(|_| self.room > 0) else { return };
        self.mono.clear();
        let both = block.left.iter().zip(&block.right).take(self.room);
        self.mono.extend(both.map(|(l, r)| ((l + r) * 0.5 * f32::from(i16::MAX)) as i16));
        self.room -= self.mono.len();
        printer.consume(&self.mono);
    }

    /// The items as they travel; none for a track too short.
    pub(super) fn finish(self) -> Vec<u8> {
        let Some(mut printer) = self.printer else { return vec![] };
        printer.finish();
        printer.fingerprint().iter().flat_map(|item| item.to_le_bytes()).collect()
    }
}
