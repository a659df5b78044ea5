//! Which coder sounds best: FFmpeg's AAC options beside each other on real sound, judged by the noise that a listener's ear
//! doesn't mask (`nmr`).
//!
//! Promise: before it says anything of coders, the measure has ranked three bitrates of one coder in their order.
//! Absent:  ears. A measure of noise is no listening test, and it counts noise that is put in on purpose (PNS) as noise.

mod nmr;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::{Run, cost};
use nmr::Verdict;

/// kbit/s.
const RATES: [u32; 3] = [64, 160, 256];

/// What is compared; the first is FFmpeg's default.
const CODERS: [(&str, &[&str]); 4] = [
    ("twoloop", &[]),
    ("twoloop, no PNS", &["-aac_pns", "0"]),
    ("fast", &["-aac_coder", "fast"]),
    ("fast, no PNS", &["-aac_coder", "fast", "-aac_pns", "0"]),
];

/// Percussion, voices, tones, noise, and music: of Debian's sonic-pi-samples, each CC0.
const ITEMS: [&str; 20] = [
    "loop_amen_full",
    "loop_breakbeat",
    "loop_garzul",
    "loop_electric",
    "loop_industrial",
    "loop_mehackit1",
    "loop_compus",
    "loop_safari",
    "ambi_choir",
    "ambi_glass_rub",
    "ambi_piano",
    "ambi_drone",
    "guit_harmonics",
    "guit_em9",
    "bass_trance_c",
    "perc_bell",
    "elec_bell",
    "drum_cymbal_open",
    "misc_crow",
    "vinyl_scratch",
];

/// Of each item; shorter ones are repeated.
const SECONDS: &str = "6";

/// All figures of one coder at one rate.
#[derive(Default)]
struct Line {
    verdicts: Vec<Verdict>,
    cpu_s: f64,
}

impl Line {
    fn mean(&self) -> f64 {
        self.verdicts.iter().map(|v| v.mean_db).sum::<f64>() / self.verdicts.len() as f64
    }

    fn heard_percent(&self) -> f64 {
        100.0 * self.verdicts.iter().map(|v| v.heard).sum::<f64>() / self.verdicts.len() as f64
    }

    /// By how much the worst item is worse than with `other`.
    fn worst_loss_db(&self, other: &Self) -> f64 {
        self.verdicts.iter().zip(&other.verdicts).map(|(a, b)| a.mean_db - b.mean_db).fold(f64::MIN, f64::max)
    }
}

/// Prints the table.
pub fn measure(run: &Run) -> anyhow::Result<()> {
    let folder = run.folder.path();
    let items: Vec<PathBuf> = ITEMS
        .iter()
        .map(|name| Path::new("/usr/share/sonic-pi/samples").join(name).with_extension("flac"))
        .filter(|path| path.exists())
        .collect();
    ensure!(!items.is_empty(), "sonic-pi-samples isn't installed");
    let mut out = format!("{} items of {SECONDS} s\n\n", items.len());
    out += "| kbit/s | coder | noise to mask, dB | worst item beside the default, dB | frames with audible noise, % | CPU-s |\n";
    out += "|---|---|---|---|---|---|\n";
    let mut best = f64::MAX;
    for rate in RATES {
        let lines = CODERS.map(|(_, options)| line(folder, &items, rate, options));
        let lines = lines.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(lines[0].mean() < best, "the measure finds {rate} kbit/s no better than the rate below");
        best = lines[0].mean();
        for ((name, _), line) in CODERS.iter().zip(&lines) {
            let worst = line.worst_loss_db(&lines[0]);
            let (mean, heard, cpu) = (line.mean(), line.heard_percent(), line.cpu_s);
            writeln!(out, "| {rate} | {name} | {mean:.2} | {worst:+.2} | {heard:.1} | {cpu:.1} |")?;
        }
    }
    print!("{out}");
    Ok(())
}

fn line(folder: &Path, items: &[PathBuf], rate: u32, options: &[&str]) -> anyhow::Result<Line> {
    let (plain, coded) = (folder.join("plain.f32"), folder.join("coded.m4a"));
    let raw = ["-f", "f32le", "-ac", "2", "-ar", "44100"];
    let mut line = Line::default();
    for item in items {
        let source =
            decoded(Command::new("ffmpeg").args(["-stream_loop", "40", "-t", SECONDS, "-i"]).arg(item).args(raw))?;
        fs::write(&plain, source.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())?;
        let before = cost::waited_for()?;
        let encoder = ["-c:a", "aac", "-b:a", &format!("{rate}k")];
        let mut encode = Command::new("ffmpeg");
        encode.args(["-v", "error", "-y"]).args(raw).arg("-i").arg(&plain).args(encoder).args(options).arg(&coded);
        ensure!(encode.status()?.success(), "ffmpeg can't encode {}", item.display());
        line.cpu_s += (cost::waited_for()? - before).as_secs_f64();
        let heard = decoded(Command::new("ffmpeg").arg("-i").arg(&coded).args(raw))?;
        line.verdicts.push(nmr::judge(&source, &heard));
    }
    Ok(line)
}

/// What a command writes to its output, as interleaved stereo.
fn decoded(ffmpeg: &mut Command) -> anyhow::Result<Vec<f32>> {
    let out = ffmpeg.args(["-v", "error", "-"]).output().context("ffmpeg")?;
    ensure!(out.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&out.stderr));
    Ok(out.stdout.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}
