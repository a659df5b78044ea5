//! A finished FLAC into three AAC rungs of fMP4, offline: our worker beside `ffmpeg`, same rungs, same coder.
//!
//! ffmpeg once as one command for all rungs, and once as one command per rung, started side by side. Ours also measures
//! loudness and draws the waveform in the same pass; theirs doesn't.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use pipeline::media::{Ladder, ladder::PNS_BELOW_KBPS, offline};

use crate::{
    Run, cost, overlap, sound,
    table::{Samples, Table},
};

/// kbit/s of each rung.
pub const RUNGS: [u32; 3] = [96, 160, 256];

/// Seconds.
const SEGMENT: u32 = 6;

const ROUNDS: usize = 5;

/// Wall and CPU of one side.
#[derive(Default)]
struct Side {
    wall: Samples,
    cpu: Samples,
}

pub fn measure(run: &Run, length: Duration, table: &mut Table) -> anyhow::Result<()> {
    let file = sound::track(run.folder.path(), length, "flac")?;
    let out = run.folder.path().join("ladder");
    let (mut ours, mut one, mut three) = (Side::default(), Side::default(), Side::default());
    for round in 0..ROUNDS {
        // About a tenth of the length for all three, twice that on a busy machine, and a round of overlap has to follow.
        if !run.has_time_for(round, length / 5 + overlap::ROUND) {
            break;
        }
        ours.add(&out, || Ok(vec![own(&file, &out)?]))?;
        one.add(&out, || Ok(vec![ffmpeg(&file, &out, &RUNGS)]))?;
        three.add(&out, || Ok(RUNGS.iter().map(|rung| ffmpeg(&file, &out, &[*rung])).collect()))?;
    }
    let what = format!("ladder of {} s", length.as_secs());
    table.line(&format!("{what}, wall, s"), &ours.wall, "ffmpeg, one command", &one.wall, "≤ 0.55");
    table.line(&format!("{what}, CPU-s"), &ours.cpu, "ffmpeg, one command", &one.cpu, "≤ 1.03");
    table.line(&format!("{what}, wall, s"), &ours.wall, "ffmpeg, one per rung at once", &three.wall, "");
    table.line(&format!("{what}, CPU-s"), &ours.cpu, "ffmpeg, one per rung at once", &three.cpu, "");
    let version = Command::new("ffmpeg").arg("-version").output()?.stdout;
    let version = String::from_utf8_lossy(&version);
    let version = version.split_whitespace().nth(2).unwrap_or("of no version");
    table.note(format!("ffmpeg is {version}; every AAC figure is for the coder `twoloop`."));
    Ok(())
}

impl Side {
    fn add(&mut self, out: &Path, commands: impl FnOnce() -> anyhow::Result<Vec<Command>>) -> anyhow::Result<()> {
        fs::create_dir_all(out)?;
        let (cpu, begun) = (cost::waited_for()?, Instant::now());
        let children = commands()?.iter_mut().map(Command::spawn).collect::<Result<Vec<_>, _>>()?;
        for mut child in children {
            ensure!(child.wait()?.success(), "an encode failed");
        }
        self.wall.push(begun.elapsed().as_secs_f64());
        self.cpu.push((cost::waited_for()? - cpu).as_secs_f64());
        fs::remove_dir_all(out)?;
        Ok(())
    }
}

/// Ours, in a process of its own.
fn own(file: &Path, out: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("transcode").arg(file).arg(out).stdin(Stdio::null());
    Ok(command)
}

/// What [`own`] runs.
pub async fn transcode(file: &Path, out: &Path) -> anyhow::Result<()> {
    let ladder = Ladder::parse(&RUNGS.map(|kbit| format!("aac:{kbit}k")).join(",")).context("the ladder")?;
    let exe = PathBuf::from(env!("CARGO_BIN_EXE_millrace"));
    let made = offline::transcode(file, out, ladder, SEGMENT, exe).await?;
    ensure!(made.segments.len() == RUNGS.len(), "{} rungs were made", made.segments.len());
    Ok(())
}

/// One command for those rungs, as its documentation shows it. Playlists are `0.m3u8` and so on.
pub fn ffmpeg(file: &Path, out: &Path, rungs: &[u32]) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-i"]).arg(file).stdin(Stdio::null());
    for _ in rungs {
        command.args(["-map", "0:a"]);
    }
    command.args(["-c:a", "aac", "-aac_coder", "twoloop"]);
    for (n, kbit) in rungs.iter().enumerate() {
        command.args([format!("-b:a:{n}"), format!("{kbit}k")]);
        if *kbit >= PNS_BELOW_KBPS {
            command.args([format!("-aac_pns:a:{n}"), "0".into()]);
        }
    }
    let variants: Vec<String> = (0..rungs.len()).map(|n| format!("a:{n}")).collect();
    // Several commands share the folder: names carry the bitrate where there is one rung.
    let name = if rungs.len() == 1 { format!("{}-%v", rungs[0]) } else { "%v".into() };
    command.args(["-f", "hls", "-hls_time", &SEGMENT.to_string(), "-hls_playlist_type", "event"]);
    command.args(["-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", &format!("{name}.mp4")]);
    command.arg("-hls_segment_filename").arg(out.join(format!("{name}-%d.m4s")));
    command.args(["-var_stream_map", &variants.join(" ")]).arg(out.join(format!("{name}.m3u8")));
    command
}
