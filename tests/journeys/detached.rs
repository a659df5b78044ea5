//! A media worker that doesn't keep up: the upload goes on without it, and it catches up from what is stored.

use std::io::Write;

use pipeline::limits::MEDIA_WINDOW_BYTES;
use rustix::process::Signal;

use super::{hung::is_asleep, workers::first_worker_of};
use crate::{
    postgres::daemon::kill,
    support::{
        app::{App, PATIENCE},
        player, sound, tus,
    },
};

#[tokio::test]
async fn an_upload_doesnt_wait_for_a_worker_that_sleeps_and_the_worker_catches_up() {
    let app = App::with(&[("HLS_LADDER", "aac:64k,flac")]).await;
    let seconds = 120;
    let wav = sound::wav(seconds * 44_100, 44_100);
    let upload = tus::create(&app, "a.wav", &wav).await;
    let begun = 400_000;
    assert!((wav.len() - begun) as u64 > 2 * MEDIA_WINDOW_BYTES, "more than the window holds");
    let mut socket = tus::begin_patch(&app, &upload, 0, wav.len(), &wav[..begun]);
    let worker = first_worker_of(app.daemon().pid()).await;
    kill(worker, Signal::STOP);
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(&wav[begun..]).unwrap();
    assert_eq!(tus::answer(&mut socket).0, 204);
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    // It still sleeps: what is acknowledged and stored by now can't have waited for it.
    assert!(is_asleep(worker));
    assert_eq!((&track["state"], &track["sha256"]), (&"ingesting".into(), &tus::sha256(&wav).into()), "{track}");

    kill(worker, Signal::CONT);
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["samples"]), (&"ready".into(), &(seconds * 44_100).into()), "{track}");
    assert_eq!(track["sha256"], tus::sha256(&wav));
    assert_eq!(app.ask("SELECT count(*) FROM jobs WHERE failures = 0 AND done_at IS NOT NULL").await, 1, "one try");
    // What it read from the store and what it had read on the way make one file.
    let entry = player::stream(&app, &upload.track).await;
    let flac = player::rungs(&app, &entry).await.pop().unwrap();
    let whole = player::download(&app, &flac).await;
    let raw = crate::media_worker::support::ffmpeg(&whole, &[], &["-f", "s16le"], "out.raw");
    assert!(raw == wav[44..], "bit for bit");
    app.until_clean().await;
}
