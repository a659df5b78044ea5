//! Files to upload: sound that is as hard to encode as music is, and bytes that nothing can compress.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::ensure;

/// Length of a track.
pub const SHORT: Duration = Duration::from_secs(180);

/// Length of a long one: a side of a record.
pub const LONG: Duration = Duration::from_secs(20 * 60);

/// A file of that length in the format of that ending, 44.1 kHz stereo: two notes under pink noise. Made once per run.
pub fn track(folder: &Path, length: Duration, ending: &str) -> anyhow::Result<PathBuf> {
    let path = folder.join(format!("{}s.{ending}", length.as_secs()));
    if path.exists() {
        return Ok(path);
    }
    let side = |seed: u32, note: u32| {
        format!(
            "anoisesrc=color=pink:amplitude=0.2:seed={seed}:r=44100[n{seed}];sine=f={note}:r=44100[s{seed}];\
             [n{seed}][s{seed}]amix=inputs=2[m{seed}]"
        )
    };
    let graph = format!("{};{};[m1][m2]join=inputs=2:channel_layout=stereo", side(1, 220), side(2, 331));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-f", "lavfi", "-i", &graph, "-t", &length.as_secs().to_string(), "-sample_fmt"]);
    ffmpeg.args(match ending {
        "mp3" => ["s16p", "-b:a", "320k"].as_slice(),
        _ => ["s16"].as_slice(),
    });
    ensure!(ffmpeg.arg(&path).status()?.success(), "ffmpeg can't make {}", path.display());
    Ok(path)
}

/// `length` bytes that look random.
pub fn incompressible(path: &Path, length: u64) -> anyhow::Result<File> {
    let mut file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = vec![0; 1 << 20];
    for _ in 0..length.div_ceil(block.len() as u64) {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    file.set_len(length)?;
    file.sync_all()?;
    Ok(file)
}
