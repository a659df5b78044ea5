//! A file made of a whole source, for people to keep: what may be ordered, and how what comes is judged.
//!
//! Promise: the bytes come in order, without a gap, and no more of them than the order allows; the end names their number.
//! Absent: a look into them. They are the asker's own music, sent as an attachment; a player of theirs opens them, not we.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::guard::{Breach, Said, breach, one};
use super::wire::{Header, Kind};
use super::{Event, limits};

/// How a file is coded, in which container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Coding {
    /// FLAC at the source's own rate and channels, 16 or 24 bits.
    Flac,
    /// WAV with the source's own samples; RF64 beyond 4 GiB.
    Wav,
    /// MP3, LAME's V0.
    Mp3,
    /// AAC-LC at 256 kbit/s in fragmented MP4.
    Aac,
    /// Opus at 160 kbit/s in Ogg.
    Opus,
}

/// What to make of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Render {
    /// How.
    pub coding: Coding,
    /// The title, whatever the source's own metadata says.
    pub title: String,
    /// Length of the source, as it was measured: what processor time is granted for.
    pub seconds: u64,
    /// Samples per second of the source.
    pub rate: u32,
    /// Channels of the source.
    pub channels: u16,
}

/// Bytes of the widest sample.
const SAMPLE_BYTES: u64 = 8;
/// What may stand beside the samples: tags, a picture (in base64 in one container), boxes.
const BESIDE_BYTES: u64 = 2 * limits::PICTURE_BYTES as u64 + limits::MIB;
/// A second more than was measured: rounding.
const SLACK_SECONDS: u64 = 1;

impl Render {
    /// No file of this source is longer.
    pub fn bytes_max(&self) -> u64 {
        let samples = (self.seconds + SLACK_SECONDS) * u64::from(self.rate.max(48_000));
        samples.saturating_mul(u64::from(self.channels) * SAMPLE_BYTES).saturating_add(BESIDE_BYTES)
    }
}

/// One render's conversation.
#[derive(Debug)]
pub(super) struct Rendering {
    order: Render,
    at: u64,
}

impl Rendering {
    pub(super) fn new(order: Render) -> Self {
        Self { order, at: 0 }
    }

    pub(super) fn seconds(&self) -> u64 {
        self.order.seconds
    }

    pub(super) fn judge(&mut self, head: Header, body: Bytes) -> Result<Said, Breach> {
        match head.kind {
            Kind::File if body.is_empty() || head.sequence != self.at => {
                breach(format!("{} bytes for {}, where {} is next", body.len(), head.sequence, self.at))
            }
            Kind::File => {
                let offset = self.at;
                self.at += body.len() as u64;
                if self.at > self.order.bytes_max() {
                    return breach(format!("{} bytes of a file that has at most {}", self.at, self.order.bytes_max()));
                }
                one(Event::File { offset, bytes: body })
            }
            Kind::Rendered if self.at > 0 && head.sequence == self.at => {
                Ok(Said::Done(vec![Event::Rendered { len: self.at }]))
            }
            kind => breach(format!("{kind:?} in the middle of a file")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendering() -> Rendering {
        let order = Render { coding: Coding::Flac, title: String::new(), seconds: 1, rate: 48_000, channels: 2 };
        Rendering::new(order)
    }

    fn say(to: &mut Rendering, kind: Kind, sequence: u64, len: usize) -> bool {
        to.judge(Header { kind, rung: 0, length: len as u32, sequence }, vec![0; len].into()).is_ok()
    }

    #[test]
    fn bytes_come_in_order_and_the_end_is_true() {
        let mut to = rendering();
        assert!(!say(&mut to, Kind::Rendered, 0, 0), "of nothing");
        assert!(!say(&mut to, Kind::File, 1, 9) && !say(&mut to, Kind::File, 0, 0));
        assert!(say(&mut to, Kind::File, 0, 9) && say(&mut to, Kind::File, 9, 1));
        assert!(!say(&mut to, Kind::File, 9, 1), "twice");
        assert!(!say(&mut to, Kind::Segment, 0, 1) && !say(&mut to, Kind::Rendered, 9, 0));
        assert!(say(&mut to, Kind::Rendered, 10, 0));
    }

    #[test]
    fn a_file_has_an_end() {
        let mut to = rendering();
        let most = to.order.bytes_max();
        let mut at = 0;
        while say(&mut to, Kind::File, at, 1 << 18) {
            at += 1 << 18;
        }
        assert!(at <= most && at + (1 << 18) > most);
    }
}
