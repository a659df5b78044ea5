//! From the last byte of an upload that is slower than encoding until the track is `ready`, in every rung.
//!
//! Beside it: what remains for someone who encodes after the upload, with one ffmpeg command.

use std::{
    fs,
    path::Path,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{
    Run, ladder,
    server::{Server, folder},
    sight::Sight,
    sound,
    table::{Samples, Table},
    tus,
};

/// The formats, and bytes per second that make three minutes last about twenty.
const ITEMS: [(&str, u64); 2] = [("wav", 1_600_000), ("flac", 900_000)];

const ROUNDS: usize = 2;

/// What one round of both takes, about.
pub const ROUND: Duration = Duration::from_secs(60);

pub fn measure(run: &Run, table: &mut Table) -> anyhow::Result<()> {
    let here = folder(run.folder.path())?;
    let server = Server::millrace(here.path())?;
    for (ending, rate) in ITEMS {
        let file = sound::track(run.folder.path(), sound::SHORT, ending)?;
        let bytes = fs::read(&file)?;
        let (mut ours, mut theirs) = (Samples::default(), Samples::default());
        for round in 0..ROUNDS {
            if !run.has_time_for(round, ROUND / 2) {
                break;
            }
            let upload = tus::create(&server, &format!("track.{ending}"), bytes.len() as u64)?;
            let sight = Sight::of(&server)?;
            // Nobody asks while it encodes: a look costs what it measures.
            let sent = tus::send_paced(&server, &upload, &bytes, rate, &AtomicBool::new(false))?;
            let ready = run.runtime.block_on(sight.ready(&upload.track))?;
            ours.push(ready.duration_since(sent).as_secs_f64());
            theirs.push(ffmpeg(&file, &here.path().join("hls"))?.as_secs_f64());
        }
        let figure = format!("last byte to `ready`, 180 s of {ending}, s");
        table.line(&figure, &ours, "ffmpeg after the upload", &theirs, "≤ 1 s");
    }
    Ok(())
}

fn ffmpeg(file: &Path, out: &Path) -> anyhow::Result<Duration> {
    fs::create_dir_all(out)?;
    let begun = Instant::now();
    ensure!(ladder::ffmpeg(file, out, &ladder::RUNGS).status()?.success(), "ffmpeg failed");
    fs::remove_dir_all(out)?;
    Ok(begun.elapsed())
}
