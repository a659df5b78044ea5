//! The first decode: how much there is, and FLAC's digest of it.

use ffmpeg_next::frame::Audio;
use md5::{Digest, Md5};

use super::flac;
use crate::media::Coding;
use crate::media::worker::Trouble;
use crate::media::worker::decode::Show;
use crate::media::worker::track::Track;

/// What was counted.
pub(super) struct Counting {
    coding: Coding,
    flac_bits: u16,
    md5: Md5,
    /// Samples of each channel.
    pub(super) samples: u64,
}

impl Counting {
    pub(super) fn new(coding: Coding) -> Self {
        Self { coding, flac_bits: 0, md5: Md5::new(), samples: 0 }
    }

    /// Of the interleaved samples, as FLAC wants it.
    pub(super) fn digest(self) -> [u8; 16] {
        self.md5.finalize().into()
    }
}

impl Show for Counting {
    fn open(&mut self, first: &Audio, track: &Track) -> Result<(), Trouble> {
        self.flac_bits = flac::bits(track.bits(first));
        Ok(())
    }

    fn show(&mut self, frame: &Audio, count: usize) -> Result<(), Trouble> {
        self.samples += count as u64;
        if self.coding == Coding::Flac {
            for sample in flac::interleaved(frame, count, self.flac_bits)? {
                let bytes = (sample >> (32 - self.flac_bits)).to_le_bytes();
                self.md5.update(&bytes[..usize::from(self.flac_bits / 8)]);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<u64, Trouble> {
        Ok(self.samples)
    }
}
