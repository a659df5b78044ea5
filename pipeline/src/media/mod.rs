//! From source bytes to segments: the daemon's side of the media worker, and the worker itself.
//!
//! A track is decoded once, in a child process that can reach nothing but one socket. It asks for source bytes
//! (`Need`), and answers with inits, segments, loudness and peaks. What it says is judged as hostile (`guard`).
//! Promise: every end is either `Done` or `Failed` with a stable code, and the child is reaped either way.
//! Absent:  storing. Who receives the events puts them where players find them. libav is called in [`worker`] only.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use failure::{Code, Failure};
pub use handle::{Gone, SpawnError, Worker};
pub use ladder::{Grid, Ladder, PlannedRung};
pub use limits::WorkerLimits;
pub use render::{Coding, Render};
pub use wire::Hello;

#[cfg(feature = "bare")]
pub mod bare;
mod child;
mod failure;
pub mod fmp4;
#[cfg(debug_assertions)]
pub mod forked;
mod guard;
mod handle;
mod jpeg;
pub mod ladder;
pub mod limits;
pub mod mpeg;
pub mod offline;
pub mod peaks;
mod render;
pub mod sniff;
pub mod tags;
mod wire;
pub mod worker;

/// How the worker may ask for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Strictly in order from 0: what an upload in progress can give.
    Stream,
    /// Any offset below the size: what a finished object can give. Needed by files whose index is at the end.
    Ranges,
}

/// What to make, and within which bounds.
#[derive(Debug, Clone)]
pub struct Order {
    /// The rungs wanted; the source may get fewer.
    pub ladder: Ladder,
    /// Target duration of a segment.
    pub segment_seconds: u32,
    /// Whether the worker may seek.
    pub access: Access,
    /// Length of the source; must be known with [`Access::Ranges`].
    pub size: Option<u64>,
    /// What the worker may use up.
    pub limits: WorkerLimits,
    /// Processors to work on: where there are more than rungs, a long track is encoded at several places at once. What is
    /// made doesn't depend on it.
    pub cores: usize,
    /// A file instead of a ladder.
    pub render: Option<Render>,
    /// The binary that holds the worker, normally the running one.
    pub exe: PathBuf,
    /// Makes the worker misbehave.
    #[cfg(debug_assertions)]
    pub fault: Option<worker::fault::Fault>,
    /// Where it is forked instead of started.
    #[cfg(debug_assertions)]
    pub nursery: Option<std::sync::Arc<forked::Nursery>>,
}

impl Order {
    /// An order for a source read front to back, with the default limits.
    pub fn stream(ladder: Ladder, segment_seconds: u32, exe: PathBuf) -> Self {
        Self {
            ladder,
            segment_seconds,
            access: Access::Stream,
            size: None,
            limits: WorkerLimits::default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            render: None,
            exe,
            #[cfg(debug_assertions)]
            fault: None,
            #[cfg(debug_assertions)]
            nursery: None,
        }
    }

    /// The same for a source of known size that can be read anywhere.
    pub fn ranges(ladder: Ladder, segment_seconds: u32, exe: PathBuf, size: u64) -> Self {
        Self { access: Access::Ranges, size: Some(size), ..Self::stream(ladder, segment_seconds, exe) }
    }

    /// One file of a source of known size.
    pub fn render(render: Render, exe: PathBuf, size: u64) -> Self {
        let seconds = *ladder::SEGMENT_SECONDS.start();
        Self { render: Some(render), ..Self::ranges(Ladder::none(), seconds, exe, size) }
    }
}

/// What the container and codec turned out to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// `wav`, `flac`, `mp3`, …
    pub container: String,
    /// libavcodec's name of the codec: `pcm_s16le`, `flac`, `mp3`, …
    pub codec: String,
    /// Samples per second of the source.
    pub rate: u32,
    /// Channels of the source.
    pub channels: u16,
    /// Significant bits per sample; 0 for lossy codecs.
    pub bits: u16,
    /// Whether decoding gives back what was encoded.
    pub lossless: bool,
    /// Whether rate or channels differ from the ladder's, so that no rung holds the source's own samples.
    pub converted: bool,
    /// The rungs that will be made, by their number.
    pub plan: Vec<PlannedRung>,
    /// Where they are cut.
    pub grid: Grid,
}

/// EBU R 128 measures of the ladder's stereo signal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Loudness {
    /// Integrated loudness in LUFS; none for silence or less than 400 ms.
    pub integrated: Option<f64>,
    /// Loudness range in LU.
    pub range: Option<f64>,
    /// True peak in dBTP; none for silence.
    pub true_peak: Option<f64>,
}

/// One metadata field: lower-case key, cleaned value.
pub type Tag = (String, String);

/// What the worker says next.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The source is known and the rungs are planned. Comes once, before any init.
    Opened(Source),
    /// Bytes are wanted: answer with [`Worker::give`]. The worker waits without limit.
    Need {
        /// First byte wanted.
        offset: u64,
        /// How many are of use at once.
        len: u32,
    },
    /// A rung's initialisation section.
    Init {
        /// Index into the plan.
        rung: u8,
        /// `ftyp moov`.
        bytes: Bytes,
    },
    /// A rung's next segment.
    Segment {
        /// Index into the plan.
        rung: u8,
        /// From 0, without gaps.
        n: u32,
        /// Its first sample on the presentation timeline.
        first_sample: u64,
        /// How many samples it shows, priming left out.
        samples: u64,
        /// `moof mdat`.
        bytes: Bytes,
    },
    /// How far decoding is.
    Progress {
        /// Source bytes read.
        input_offset: u64,
        /// Ladder samples decoded.
        samples: u64,
    },
    /// The container's metadata.
    Tags(Vec<Tag>),
    /// Comes once, shortly before `Done`.
    Loudness(Loudness),
    /// More of the waveform while it is decoded.
    PeaksPart {
        /// Index of the first pair.
        first: u64,
        /// Pairs of minimum and maximum, one signed byte each.
        pairs: Bytes,
    },
    /// The whole waveform as audiowaveform's version 2 data file.
    Peaks {
        /// 8 bit, one channel.
        dat: Bytes,
    },
    /// Chromaprint's items, some eight a second; none for less than three seconds.
    Fingerprint(Vec<u32>),
    /// The file's picture in one size, the largest first. May be followed by nothing but its smaller ones and `Done`.
    Picture {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// A baseline JPEG without metadata.
        bytes: Bytes,
    },
    /// Everything was made.
    Done {
        /// Exact length at the ladder's rate.
        samples: u64,
        /// The ladder's rate.
        rate: u32,
        /// Encoder delay per rung, in samples.
        priming: Vec<u32>,
    },
    /// More of a rendered file, in order.
    File {
        /// Where it belongs.
        offset: u64,
        /// At most [`limits::FILE_BYTES`].
        bytes: Bytes,
    },
    /// The file is whole.
    Rendered {
        /// Its length in bytes.
        len: u64,
    },
    /// Nothing more will come.
    Failed(Failure),
}
