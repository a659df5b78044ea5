//! Every bound of the media engine, with its reason.

use serde::{Deserialize, Serialize};

/// One kibibyte.
pub const KIB: u64 = 1024;
/// One mebibyte.
pub const MIB: u64 = 1024 * KIB;

/// Bytes of private memory. A ladder of four rungs was measured at 51 MB: a fifth of this. Reached: the worker aborts.
pub const DATA_BYTES: u64 = 256 * MIB;
/// Address space on top of the loaded libraries: bounds shared mappings, which `DATA_BYTES` doesn't count.
pub const ADDRESS_SPACE_EXTRA_BYTES: u64 = 512 * MIB;
/// Processor seconds before the first audio: loading, probing, opening encoders.
pub const CPU_BASE_S: u64 = 30;
/// Processor milliseconds per second of audio, on top of the base. A ladder takes 40 to 120 of them; a busy machine whose
/// two processors are halves of one counts twice as many, and a build for debugging several times that. What this
/// stops is a loop, not a slow machine.
pub const CPU_PER_AUDIO_S_MS: u64 = 1000;
/// Beyond the soft limit's signal, which a hostile worker can block: then the daemon kills.
pub const CPU_GRACE_S: u64 = 5;
/// Seconds without a word although nothing was owed to the worker. One rung's longest silence is well under one.
pub const HANG_S: u32 = 10;
/// Descriptors: the socket, stderr and one for the sandbox's own making.
pub const NOFILE: u64 = 16;
/// Stack of each encoder thread; the coder's largest frames were measured below a quarter of this.
pub const THREAD_STACK_BYTES: usize = 1024 * 1024;

/// More than surround formats have; each one costs decoder memory.
pub const CHANNELS_MAX: u16 = 8;
/// Lowest rate that speech recordings use.
pub const RATE_MIN: u32 = 4_000;
/// Highest rate that converters record.
pub const RATE_MAX: u32 = 384_000;
/// A day: longer is a mistake or an attack.
pub const SECONDS_MAX: u64 = 24 * 3600;
/// How far libavformat may look for the start of audio.
pub const PROBE_BYTES: u64 = 5 * MIB;

/// Body of the largest frame on the wire: a 16 s segment of 24-bit stereo at 48 kHz fits three times.
pub const FRAME_BYTES: u32 = 16 * 1024 * 1024;
/// What a worker that renders a file says at once: few frames, and no long wait for the first.
pub const FILE_BYTES: u32 = 256 * 1024;
/// The largest cover picture that goes along into a rendered file. One in front of the music is what a downloader waits for.
pub const PICTURE_BYTES: usize = 10 * 1024 * 1024;
/// Body of a frame that holds JSON or text.
pub const MESSAGE_BYTES: u32 = 64 * 1024;
/// What the worker asks for at once. Too small: round trips. Too large: a slow upload's first bytes wait.
pub const NEED_BYTES: u32 = 64 * 1024;
/// A failure's text.
pub const TEXT_BYTES: usize = 4 * 1024;
/// The worker's stderr: enough for a panic's message.
pub const STDERR_BYTES: u64 = 16 * KIB;
/// What a segment may exceed its own PCM by: box headers and incompressible noise.
pub const SEGMENT_OVERHEAD_BYTES: u64 = 64 * KIB;
/// An init is about 700 bytes.
pub const INIT_BYTES: usize = 16 * 1024;
/// Tag fields kept; a container can hold any number.
pub const TAGS_MAX: usize = 64;
/// Characters of one tag's value.
pub const TAG_CHARS: usize = 1000;

const _: () = assert!(NEED_BYTES < FRAME_BYTES && MESSAGE_BYTES < FRAME_BYTES);
const _: () = assert!(TEXT_BYTES < MESSAGE_BYTES as usize);

/// The bounds that an operator or a test may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLimits {
    /// See [`DATA_BYTES`].
    pub data_bytes: u64,
    /// See [`CPU_BASE_S`].
    pub cpu_base_s: u64,
    /// See [`CPU_PER_AUDIO_S_MS`].
    pub cpu_per_audio_s_ms: u64,
    /// See [`HANG_S`].
    pub hang_s: u32,
    /// See [`CHANNELS_MAX`].
    pub channels_max: u16,
    /// See [`SECONDS_MAX`].
    pub seconds_max: u64,
}

impl WorkerLimits {
    /// Processor seconds that a worker may have used after decoding `audio_s` seconds. The daemon watches them; the kernel's
    /// own limit is that of the longest track, since to raise another user's limit takes a right that root in a container
    /// often lacks.
    pub(crate) fn cpu_s(&self, audio_s: u64) -> u64 {
        self.cpu_base_s + audio_s * self.cpu_per_audio_s_ms / 1000
    }
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self {
            data_bytes: DATA_BYTES,
            cpu_base_s: CPU_BASE_S,
            cpu_per_audio_s_ms: CPU_PER_AUDIO_S_MS,
            hang_s: HANG_S,
            channels_max: CHANNELS_MAX,
            seconds_max: SECONDS_MAX,
        }
    }
}
