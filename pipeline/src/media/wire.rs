//! The frames between daemon and worker: a 16-byte header and a body, little-endian, over one stream socket.
//!
//! `kind u8, rung u8, flags u16 = 0, length u32, sequence or offset u64`. Audio and source bytes travel raw, the rest as
//! JSON. The worker pulls: after `Start` the daemon sends `Data` only, and only as the answer to a `Need`.
//! Absent: trust. A header is checked here for shape, and its meaning by [`super::guard`].

use serde::{Deserialize, Serialize};

use super::failure::Code;
use super::ladder::Ladder;
use super::limits::{FRAME_BYTES, MESSAGE_BYTES, WorkerLimits};
use super::{Access, Render, limits};

/// Bytes of a header.
pub(crate) const HEADER: usize = 16;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Daemon: the order.
    Start = 1,
    /// Daemon: source bytes at an offset; none means the end.
    Data = 2,
    /// Worker: locked in.
    Hello = 16,
    /// Worker: wants bytes; offset in the header, how many in the body.
    Need = 17,
    /// Worker: the source, as JSON.
    Opened = 18,
    /// Worker: metadata, as JSON.
    Tags = 19,
    /// Worker: `ftyp moov`.
    Init = 20,
    /// Worker: `moof mdat`; its number in the header.
    Segment = 21,
    /// Worker: source offset in the header, samples in the body.
    Progress = 22,
    /// Worker: waveform pairs; index of the first in the header.
    Peaks = 23,
    /// Worker: JSON.
    Loudness = 24,
    /// Worker: JSON.
    Done = 25,
    /// Worker: JSON.
    Failed = 26,
    /// Worker: chromaprint's items, 32 bits each.
    Fingerprint = 30,
    /// Worker: a JPEG, after `Done`; its number in the header.
    Picture = 31,
    /// Worker: bytes of a rendered file; their offset in the header.
    File = 40,
    /// Worker: the file is whole; its length in the header.
    Rendered = 41,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        use Kind::*;
        let made = [Opened, Tags, Init, Segment, Progress, Peaks, Loudness, Done, Failed, Fingerprint, Picture];
        [Start, Data, Hello, Need].into_iter().chain(made).chain([File, Rendered]).find(|k| *k as u8 == byte)
    }

    fn body_max(self) -> u32 {
        match self {
            Self::Need => 4,
            Self::Progress => 8,
            Self::Init => limits::INIT_BYTES as u32,
            Self::Segment | Self::Data => FRAME_BYTES,
            Self::Tags => limits::TAGS_BYTES,
            Self::Fingerprint => 4 * limits::FINGERPRINT_ITEMS as u32,
            Self::Picture => limits::PICTURE_SENT_BYTES,
            Self::File => limits::FILE_BYTES,
            Self::Rendered => 0,
            _ => MESSAGE_BYTES,
        }
    }
}

/// A frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) rung: u8,
    pub(crate) length: u32,
    pub(crate) sequence: u64,
}

/// Why a header is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("frame of unknown kind {0}")]
    Kind(u8),
    #[error("flags {0} where none are defined")]
    Flags(u16),
    #[error("{kind:?} of {length} bytes")]
    Length { kind: Kind, length: u32 },
}

impl Header {
    pub(crate) fn write(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[0] = self.kind as u8;
        out[1] = self.rung;
        out[4..8].copy_from_slice(&self.length.to_le_bytes());
        out[8..].copy_from_slice(&self.sequence.to_le_bytes());
        out
    }

    pub(crate) fn read(bytes: &[u8; HEADER]) -> Result<Self, HeaderError> {
        let [kind, rung, f0, f1, l0, l1, l2, l3, sequence @ ..] = *bytes;
        let flags = u16::from_le_bytes([f0, f1]);
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let kind = Kind::of(kind).ok_or(HeaderError::Kind(kind))?;
        if flags != 0 {
            return Err(HeaderError::Flags(flags));
        }
        if length > kind.body_max() {
            return Err(HeaderError::Length { kind, length });
        }
        Ok(Self { kind, rung, length, sequence: u64::from_le_bytes(sequence) })
    }
}

/// The order as the worker gets it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) ladder: Ladder,
    pub(crate) segment_seconds: u32,
    pub(crate) access: Access,
    pub(crate) size: Option<u64>,
    pub(crate) limits: WorkerLimits,
    pub(crate) cores: usize,
    pub(crate) render: Option<Render>,
    #[cfg(debug_assertions)]
    pub(crate) fault: Option<super::worker::fault::Fault>,
}

/// What the worker says of itself once it is locked in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// libavcodec's version.
    pub libavcodec: String,
    /// libavformat's version.
    pub libavformat: String,
    /// `enforced`, `partly`, or `absent`: what Landlock could do on this kernel.
    pub landlock: String,
    /// Whether system calls are filtered. Without it the daemon refuses the worker.
    pub seccomp: bool,
    /// The user it runs as.
    pub uid: u32,
}

/// The worker's `Done`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Finished {
    pub(crate) samples: u64,
    pub(crate) priming: Vec<u32>,
}

/// The worker's `Failed`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub(crate) code: Code,
    pub(crate) text: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_survives_the_wire(rung: u8, length in 0..MESSAGE_BYTES, sequence: u64) {
            let header = Header { kind: Kind::Opened, rung, length, sequence };
            prop_assert_eq!(Header::read(&header.write()), Ok(header));
        }

        #[test]
        fn any_sixteen_bytes_are_read_or_refused(bytes: [u8; HEADER]) {
            if let Ok(header) = Header::read(&bytes) {
                prop_assert!(header.length <= FRAME_BYTES);
                prop_assert_eq!(header.write(), bytes);
            }
        }
    }

    #[test]
    fn lengths_are_bounded_by_kind() {
        let mut head = Header { kind: Kind::Need, rung: 0, length: 4, sequence: 9 }.write();
        assert!(Header::read(&head).is_ok());
        head[4] = 5;
        assert_eq!(Header::read(&head), Err(HeaderError::Length { kind: Kind::Need, length: 5 }));
    }
}
