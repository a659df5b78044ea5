//! A media worker that falls asleep in mid-track: it costs its own track a try of a known length, and nobody else anything.

use std::time::{Duration, Instant};

use pipeline::{limits::ENCODE_ATTEMPTS, media::limits::HANG_S};
use rustix::process::Signal;

use super::workers::{first_worker_of, workers_of};
use crate::{
    postgres::daemon::kill,
    support::{
        app::{App, PATIENCE},
        sound,
        tus::{self, Upload},
    },
};

/// Beyond the silence that makes a hang: ticks of a second on both ends, the kill, and a machine with other work.
const SLACK: Duration = Duration::from_secs(5);

/// Puts the only worker to sleep, and waits until the daemon has ended it.
async fn hang(app: &App) {
    let worker = first_worker_of(app.daemon().pid()).await;
    kill(worker, Signal::STOP);
    let begun = Instant::now();
    while workers_of(app.daemon().pid()).contains(&worker) {
        assert!(begun.elapsed() < Duration::from_secs(HANG_S.into()) + SLACK, "it may sleep for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Another track, from its first byte to `ready`, beside one whose worker sleeps.
async fn ready_beside(app: &App, asleep: &Upload) {
    let wav = sound::wav(44_100, 44_100);
    let beside = tus::whole(app, "beside.wav", &wav).await;
    let track = app.settled(&beside.track).await;
    assert_eq!((&track["state"], &track["sha256"]), (&"ready".into(), &tus::sha256(&wav).into()), "{track}");
    let state = app.track(&asleep.track).await["state"].clone();
    assert!(state != "ready" && state != "failed", "it was over before: {state}");
}

#[tokio::test]
async fn a_worker_that_falls_asleep_is_ended_and_its_track_tried_again() {
    let app = App::start().await;
    let wav = sound::wav(20 * 44_100, 44_100);
    let upload = tus::whole(&app, "a.wav", &wav).await;
    for attempt in 1..=ENCODE_ATTEMPTS {
        if attempt == 1 {
            tokio::join!(hang(&app), ready_beside_soon(&app, &upload));
        } else {
            hang(&app).await;
        }
    }
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["error"]["code"]), (&"failed".into(), &"worker_hung".into()), "{track}");
    assert_eq!((&track["stored"], &track["sha256"]), (&true.into(), &tus::sha256(&wav).into()), "its bytes are safe");

    // Asked for again, it hangs once more and recovers by itself.
    let answer = app.post(&format!("/api/v1/tracks/{}/retry", upload.track)).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    hang(&app).await;
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["samples"]), (&"ready".into(), &(20 * 44_100).into()), "{track}");
    assert_eq!(app.ask("SELECT count(*) FROM jobs WHERE failures = 1 AND done_at IS NOT NULL").await, 1);
    assert_eq!(app.ask("SELECT count(*) FROM tracks WHERE state <> 'ready'").await, 0);
    app.until_clean().await;
}

/// The same, once the first one sleeps.
async fn ready_beside_soon(app: &App, asleep: &Upload) {
    let begun = Instant::now();
    let worker = first_worker_of(app.daemon().pid()).await;
    while !is_asleep(worker) {
        assert!(begun.elapsed() < PATIENCE, "nobody sleeps");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ready_beside(app, asleep).await;
}

/// Whether a process is stopped by a signal.
pub(super) fn is_asleep(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
}
