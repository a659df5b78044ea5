//! Who is encoded first when there is more to do than there are processors.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use super::workers::workers_of;
use crate::{
    media_worker::support as media,
    support::{
        app::{App, PATIENCE},
        player, sound, tus,
    },
};

/// As a process is nice to others: the 19th field of its line in /proc.
fn niceness(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
}

const WAITING: &str = "SELECT count(*) FROM jobs JOIN tracks ON tracks.id = jobs.subject
    WHERE stored_at IS NOT NULL AND done_at IS NULL";

#[tokio::test]
async fn a_new_upload_plays_while_it_arrives_though_six_long_tracks_are_waiting() {
    let app = App::start().await;
    let long = media::wav(media::CD, &sound::noise(60 * 176_400, 4));
    for n in 0..6 {
        tus::whole(&app, &format!("{n}.wav"), &long).await;
    }
    let workers = std::thread::available_parallelism().unwrap().get();
    let begun = Instant::now();
    while workers_of(app.daemon().pid()).len() < workers {
        assert!(begun.elapsed() < PATIENCE, "not all processors are used");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(workers_of(app.daemon().pid()).into_iter().all(|pid| niceness(pid) == 5));
    assert!(app.ask(WAITING).await > workers as i64, "they wait for a processor");

    let wav = sound::wav(20 * 44_100, 44_100);
    let upload = tus::create(&app, "live.wav", &wav).await;
    let mut socket = tus::begin_patch(&app, &upload, 0, wav.len(), &wav[..wav.len() / 2]);
    app.track_when(&upload.track, "playable", |t| t["state"] == "playable").await;
    assert!(app.ask(WAITING).await > workers as i64, "it didn't wait for them");
    let entry = player::stream(&app, &upload.track).await;
    assert!(!player::rungs(&app, &entry).await[0].is_ended());
    socket.write_all(&wav[wav.len() / 2..]).unwrap();
    assert_eq!(tus::answer(&mut socket).0, 204);
    assert_eq!(app.settled(&upload.track).await["state"], "ready");
}
