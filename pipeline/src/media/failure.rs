//! Why a track could not be made: a stable code for machines, a sentence for people.

use serde::{Deserialize, Serialize};

/// The stable codes. They are stored in rows and shown to clients: never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Not a format on the list; the text names what was found.
    UnsupportedMedia,
    /// The index lies behind the audio, and the worker was not allowed to seek.
    IndexAtEnd,
    /// Damaged or cut short.
    CorruptMedia,
    /// No audio in it.
    EmptyMedia,
    /// Longer than the limit.
    TooLong,
    /// More channels than the limit.
    TooManyChannels,
    /// A sample rate outside the limits.
    UnsupportedRate,
    /// Died by a signal, a panic or in silence.
    WorkerCrashed,
    /// Did nothing although it could.
    WorkerHung,
    /// Ran out of its memory.
    WorkerMemory,
    /// Ran out of its processor time.
    WorkerCpu,
    /// Said something that the wire or the grid forbids.
    WorkerProtocol,
    /// Could not lock itself in.
    WorkerSandbox,
    /// The stored bytes are where this process can't read them.
    SourceElsewhere,
}

impl Code {
    /// As stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnsupportedMedia => "unsupported_media",
            Self::IndexAtEnd => "index_at_end",
            Self::CorruptMedia => "corrupt_media",
            Self::EmptyMedia => "empty_media",
            Self::TooLong => "too_long",
            Self::TooManyChannels => "too_many_channels",
            Self::UnsupportedRate => "unsupported_rate",
            Self::WorkerCrashed => "worker_crashed",
            Self::WorkerHung => "worker_hung",
            Self::WorkerMemory => "worker_memory",
            Self::WorkerCpu => "worker_cpu",
            Self::WorkerProtocol => "worker_protocol",
            Self::WorkerSandbox => "worker_sandbox",
            Self::SourceElsewhere => "source_elsewhere",
        }
    }

    /// Whether another try might end differently: the machine may have failed, not the file. A worker is killed for another's
    /// memory, put to sleep with its machine, or started where it can't lock itself in. What a file made it use up or say
    /// wrong, the same bytes make it use up and say again.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::WorkerCrashed | Self::WorkerHung | Self::WorkerSandbox => true,
            Self::WorkerMemory | Self::WorkerCpu | Self::WorkerProtocol => false,
            Self::UnsupportedMedia | Self::IndexAtEnd | Self::CorruptMedia | Self::EmptyMedia => false,
            Self::TooLong | Self::TooManyChannels | Self::UnsupportedRate | Self::SourceElsewhere => false,
        }
    }
}

/// An end without `Done`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {text}", code.as_str())]
pub struct Failure {
    /// For machines.
    pub code: Code,
    /// For people; at most 4 KiB, no control characters.
    pub text: String,
    /// Whether a second try makes sense.
    pub retryable: bool,
}

impl Failure {
    /// That no other try would change.
    pub(super) fn for_good(self) -> Self {
        Self { retryable: false, ..self }
    }

    /// With the code's own answer on retrying.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), retryable: code.is_retryable() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_name_and_the_stored_name_are_one() {
        for code in [Code::UnsupportedMedia, Code::IndexAtEnd, Code::TooManyChannels, Code::WorkerCpu] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
