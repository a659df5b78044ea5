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
/// Seconds of the clock for each second of processor time that a worker is granted, the waiting for its source left out. What
/// this stops is a worker that says a little something whenever its silence might be noticed; that many of them share the
/// processors with uploads isn't their fault.
pub const WALL_PER_CPU: u32 = 20;
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
/// Body of a frame that holds JSON or text.
pub const MESSAGE_BYTES: u32 = 64 * 1024;
/// How often each byte of a source that can be read anywhere may be asked for, on the whole, and how many more: what jumps
/// about in a small file reads it often. Without it a worker could ask for ever.
pub const READ_AGAIN: u64 = 16;
/// See [`READ_AGAIN`].
pub const READ_MORE_BYTES: u64 = 64 * MIB;
/// How often the end of a source may be asked for.
pub const ENDS_MAX: u32 = 16;
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
/// Bytes of one tag's name.
pub const TAG_NAME_BYTES: usize = 64;
/// All tags of a file on the wire: as many as may be, as long as they may be, each character escaped.
pub const TAGS_BYTES: u32 = 1024 * 1024;

/// A picture as it lies in a file. Larger ones are for printing, and their bytes wait in memory while the ladder is made.
pub const PICTURE_BYTES: usize = 10 * 1024 * 1024;
/// Pixels of a picture: a square of 4096, above the 4000 that shops ask for. What a decoder takes at worst (a progressive JPEG,
/// its coefficients beside its pixels: 9 bytes each) and the file twice are 164 MiB, which fit beside what a ladder of six
/// rungs leaves behind (61 MB) into `DATA_BYTES`. Fifty megapixels would need 470.
pub const PICTURE_PIXELS: u64 = 4096 * 4096;
/// What a decoder may allocate by its own account: 16 bits in four channels, for each of them.
pub const PICTURE_DECODED_BYTES: u64 = 8 * PICTURE_PIXELS;
/// The longer side of what is made of it: a page, a card on a fine screen, a list.
pub const PICTURE_SIDES: [u32; 3] = [1200, 600, 150];
/// Of the JPEG encoder: where more is hard to see and costs half as much again.
pub const PICTURE_QUALITY: u8 = 85;
/// One of them on the wire: more than noise of 1200 by 1200 takes.
pub const PICTURE_SENT_BYTES: u32 = 4 * 1024 * 1024;
/// Seconds that all of them may take, from `Done` on. A sixteenth of it was the most that was measured; what takes longer is
/// given up, and the track is whole without.
pub const PICTURE_S: u32 = 20;

/// Seconds of sound in a fingerprint, as AcoustID has them.
pub const FINGERPRINT_S: u32 = 120;
/// Items of a fingerprint: eight a second, with room.
pub const FINGERPRINT_ITEMS: usize = 1024;

const _: () = assert!(NEED_BYTES < FRAME_BYTES && MESSAGE_BYTES < FRAME_BYTES);
const _: () = assert!(TEXT_BYTES < MESSAGE_BYTES as usize);
const _: () = assert!(TAGS_MAX * (TAG_NAME_BYTES + 4 * TAG_CHARS) * 2 <= TAGS_BYTES as usize);
const _: () = assert!(9 * PICTURE_PIXELS + 2 * PICTURE_BYTES as u64 <= DATA_BYTES - 64 * MIB);
const _: () = assert!(PICTURE_SENT_BYTES < FRAME_BYTES && 4 * FINGERPRINT_ITEMS < MESSAGE_BYTES as usize);

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
    /// See [`WALL_PER_CPU`].
    pub wall_per_cpu: u32,
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
            wall_per_cpu: WALL_PER_CPU,
            channels_max: CHANNELS_MAX,
            seconds_max: SECONDS_MAX,
        }
    }
}
