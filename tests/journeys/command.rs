//! `millrace upload` against the daemon, as somebody types it: the command waits until the track is ready, and what is
//! served then is the file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::heard;
use crate::{
    media_worker::support as media,
    postgres::daemon::{self, finish, kill},
    support::{app::App, line::Line, tus},
};

/// Some music that nobody made for this test: the longest that there is.
const MUSIC: &str = "/usr/share/sonic-pi/samples/loop_tabla.flac";

/// The command, on a machine where nothing was sent before.
fn upload(app: &App, home: &TempDir, path: &Path) -> Command {
    upload_to(&app.url(""), app, home, path)
}

/// The same, to another address of that daemon.
fn upload_to(url: &str, app: &App, home: &TempDir, path: &Path) -> Command {
    let mut command = daemon::millrace(&home.path().join("data"));
    command.arg("upload").arg(path).args(["--json", "--server", url]);
    command.arg("--token-file").arg(app.data.join("owner-token"));
    command
}

/// Runs it to its end; the line that it says of its file.
fn line_of(command: Command) -> Value {
    let (status, told, errors) = finish(command);
    assert!(status.success(), "{told}{errors}");
    serde_json::from_str(&told).unwrap()
}

/// Sends a file and waits; the track, which has the digest that `sha256sum` tells.
async fn sent(app: &App, path: &Path) -> Value {
    let line = line_of(upload(app, &daemon::folder(), path));
    let track = app.track(line["track_id"].as_str().unwrap()).await;
    assert_eq!((&line["state"], &track["state"]), (&"ready".into(), &"ready".into()), "{line} {track}");
    let sum = Command::new("sha256sum").arg(path).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let sum = sum.split(' ').next().unwrap();
    assert_eq!((track["sha256"].as_str(), line["sha256"].as_str()), (Some(sum), Some(sum)));
    assert_eq!(track["size"], fs::metadata(path).unwrap().len());
    track
}

#[tokio::test]
async fn a_real_flac_is_served_as_it_is_on_the_disk() {
    let app = App::start().await;
    let path = PathBuf::from(MUSIC);
    let file = fs::read(&path).expect("Debian's sonic-pi-samples");
    let source = media::ffmpeg(&file, &[], &["-f", "s16le"], "out.raw");
    let track = sent(&app, &path).await;
    assert_eq!(track["samples"], source.len() / 4);
    heard::assert_is(&app, track["id"].as_str().unwrap(), &source, 4).await;
    app.until_clean().await;
}

/// 16-bit stereo of 44.1 kHz: twelve seconds of tones again and again, each time begun elsewhere, so that a part that is
/// lost, doubled or swapped shows.
fn long(minutes: usize) -> Vec<u8> {
    let tones = media::le16(&media::s16(&media::tones(44_100, 12 * 44_100)));
    let wanted = minutes * 60 * 44_100 * 4;
    let mut pcm = Vec::with_capacity(wanted + tones.len());
    let mut from = 0;
    while pcm.len() < wanted {
        pcm.extend_from_slice(&tones[from..]);
        pcm.extend_from_slice(&tones[..from]);
        from = (from + 37_123 * 4) % tones.len();
    }
    pcm.truncate(wanted);
    pcm
}

#[tokio::test]
async fn twenty_minutes_of_wav_are_served_as_they_are_on_the_disk() {
    // Two of the four rungs: the default ladder takes twice the time, and the real FLAC goes through all of it.
    let app = App::with(&[("HLS_LADDER", "aac:160k,flac")]).await;
    let pcm = long(20);
    let folder = daemon::folder();
    let path = media::write(folder.path(), "long.wav", &media::wav(media::CD, &pcm));
    let track = sent(&app, &path).await;
    assert_eq!(track["samples"], 20 * 60 * 44_100);
    let doors = app.ask("SELECT count(*) FROM uploads WHERE door = 'chunks' AND state = 'stored'").await;
    assert_eq!(doors, 1, "a large file goes in chunks");
    heard::assert_is(&app, track["id"].as_str().unwrap(), &pcm, 2).await;
    app.until_clean().await;
}

/// Body bytes of each PATCH that the daemon has answered or lost, from its log.
fn patched(app: &App) -> Vec<u64> {
    let said = app.daemon().said();
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let patches = lines.filter(|line| line["target"] == "access" && line["method"] == "PATCH");
    patches.map(|line| line["received"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_ctrl_c_the_command_goes_on_where_the_daemon_stands() {
    let settings = [("UPLOAD_PART_BYTES", "5MiB"), ("UPLOAD_PARTS_IN_FLIGHT", "1"), ("HLS_LADDER", "aac:64k")];
    let app = App::with(&settings).await;
    // Just below what goes in chunks.
    let wav = media::wav(media::CD, &long(3));
    let folder = daemon::folder();
    let path = media::write(folder.path(), "a.wav", &wav);

    let line = Line::to(&app.host()).await;
    line.stop_at(wav.len() as u64 / 2);
    let mut first = upload_to(&line.url(""), &app, &folder, &path);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    app.until("two parts long", "SELECT count(*) FROM uploads WHERE committed >= 10485760").await;
    kill(i32::try_from(first.id()).unwrap(), Signal::INT);
    assert_eq!(first.wait().unwrap().code(), Some(1), "it ends by itself");
    line.cut().await;
    app.until("let go", "SELECT count(*) FROM uploads WHERE node IS NULL").await;
    let kept = u64::try_from(app.ask("SELECT committed FROM uploads").await).unwrap();
    assert!(kept >= 10 << 20 && kept < wav.len() as u64, "{kept}");

    let before = patched(&app).len();
    let line = line_of(upload_to(&line.url(""), &app, &folder, &path));
    assert_eq!(line["state"], "ready", "{line}");
    assert_eq!(patched(&app)[before..], [wav.len() as u64 - kept], "what was missing, and nothing else");
    assert_eq!(app.ask("SELECT count(*) FROM uploads WHERE door = 'tus'").await, 1);
    let track = app.track(line["track_id"].as_str().unwrap()).await;
    assert_eq!(track["sha256"], tus::sha256(&wav));
    app.until_clean().await;
}
