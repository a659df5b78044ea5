//! Files whose index is behind their sound, made of the same sound in each container.

use pipeline::media::sniff::index_behind_sound;

use super::sound;
use crate::media_worker::support::{CD, ffmpeg, wav};

/// Of noise a second has so many bytes in every container here: it can't be made shorter.
const SECOND_BYTES: usize = 44_100 * 4;

/// A file and where its index begins.
#[derive(Clone, Debug)]
pub struct File {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub index: usize,
}

impl File {
    /// ALAC in MP4: `mdat` before `moov`.
    pub fn m4a(seconds: u32) -> Self {
        Self::of("a.m4a", alac(seconds, "a.m4a"))
    }

    /// ALAC in CAF: `data` before `pakt`.
    pub fn caf(seconds: u32) -> Self {
        Self::of("a.caf", alac(seconds, "a.caf"))
    }

    /// PCM in AIFF: `SSND` before `COMM`.
    pub fn aiff(seconds: u32) -> Self {
        let usual = ffmpeg(&noise(seconds), &[], &["-fflags", "+bitexact"], "a.aiff");
        let size = |at: usize| 8 + u32::from_be_bytes(*usual[at + 4..].first_chunk().unwrap()) as usize;
        let at = |name: &[u8]| usual.windows(4).position(|w| w == name).unwrap();
        let (comm, ssnd) = (at(b"COMM"), at(b"SSND"));
        let form = [&usual[..12], &usual[ssnd..ssnd + size(ssnd)], &usual[comm..comm + size(comm)]].concat();
        let length = (form.len() as u32 - 8).to_be_bytes();
        Self::of("a.aiff", [&form[..4], &length, &form[8..]].concat())
    }

    fn of(name: &'static str, bytes: Vec<u8>) -> Self {
        let read = |at: u64, len: usize| Some(bytes[at as usize..bytes.len().min(at as usize + len)].to_vec());
        let index = index_behind_sound(read).expect("it is at the end") as usize;
        Self { name, bytes, index }
    }
}

fn alac(seconds: u32, name: &str) -> Vec<u8> {
    ffmpeg(&noise(seconds), &[], &["-c:a", "alac"], name)
}

/// As a WAV.
fn noise(seconds: u32) -> Vec<u8> {
    wav(CD, &sound::noise(seconds as usize * SECOND_BYTES, 4))
}
