//! What a track fails for at once, what it is tried again for, and what it only waits for; and how an operator sees it and
//! tries it again.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::Value;

use super::workers::{first_worker_of, workers_of};
use crate::{
    postgres::daemon::kill,
    support::{
        app::{App, PATIENCE},
        sound, tus,
    },
};

const MIB: u64 = 1 << 20;

/// Takes something away from the worker in mid-track, as a file would that makes it use up what it was given. False where this
/// machine doesn't let us.
async fn starve(app: &App, track: &str, what: Resource, left: u64) -> bool {
    app.track_when(track, "playable", |t| t["state"] == "playable").await;
    let worker = first_worker_of(app.daemon().pid()).await;
    kill(worker, Signal::STOP);
    let limit = Rlimit { current: Some(left), maximum: Some(left) };
    let may = prlimit(Pid::from_raw(worker), what, limit).is_ok();
    kill(worker, Signal::CONT);
    may
}

/// What `jobs list` says of the only job in such a state.
fn job(app: &App, state: &str) -> Value {
    let (status, out, errors) = app.run(&["jobs", "list", "--state", state, "--json"]);
    assert!(status.success(), "{errors}");
    let Value::Array(mut jobs) = serde_json::from_str(&out).unwrap() else { panic!("{out}") };
    assert_eq!(jobs.len(), 1, "{out}");
    jobs.pop().unwrap()
}

#[tokio::test]
async fn what_a_file_makes_the_worker_use_up_isnt_tried_again_by_itself() {
    let app = App::with(&[("HLS_LADDER", "aac:64k,flac")]).await;
    let wav = sound::wav(90 * 44_100, 44_100);
    for (what, left, code) in [(Resource::Data, MIB, "worker_memory"), (Resource::Cpu, 1, "worker_cpu")] {
        let upload = tus::create(&app, "a.wav", &wav).await;
        let mut patch = tus::begin_patch(&app, &upload, 0, wav.len(), &wav);
        let may = starve(&app, &upload.track, what, left).await;
        tus::answer(&mut patch);
        let track = app.settled(&upload.track).await;
        if !may {
            println!("another user's limits can't be lowered here");
            return;
        }
        assert_eq!((&track["state"], &track["error"]["code"]), (&"failed".into(), &code.into()), "{track}");
        assert_eq!(
            (&track["stored"], &track["sha256"]),
            (&true.into(), &tus::sha256(&wav).into()),
            "its bytes are safe"
        );
        let buried = job(&app, "dead");
        assert_eq!(buried["failures"], 0, "the first try was the last: {buried}");
        assert!(buried["last_error"].as_str().unwrap().starts_with(code), "{buried}");

        let (status, _, errors) = app.run(&["jobs", "retry", &upload.track]);
        assert!(status.success(), "{errors}");
        let track = app.settled(&upload.track).await;
        assert_eq!(track["state"], "ready", "{track}");
        let (status, _, errors) = app.run(&["jobs", "retry", &upload.track]);
        assert!(!status.success() && errors.contains("not failed"), "{errors}");
        let mut db = app.daemon().connect().await;
        sqlx::query("DELETE FROM jobs").execute(&mut db).await.unwrap();
    }
    app.until_clean().await;
}

#[tokio::test]
async fn a_store_that_is_away_is_waited_for_and_costs_no_try() {
    let app = App::with(&[("HLS_LADDER", "aac:64k")]).await;
    let first = tus::whole(&app, "a.wav", &sound::wav(44_100, 44_100)).await;
    assert_eq!(app.settled(&first.track).await["state"], "ready");
    // Where folders belong lies a file: nothing can be put there.
    let (place, aside) = (app.data.join("store/objects/hls"), app.data.join("aside"));
    fs::rename(&place, &aside).unwrap();
    fs::write(&place, "").unwrap();
    let wav = sound::wav(2 * 44_100, 44_100);
    let upload = tus::whole(&app, "b.wav", &wav).await;
    app.until("put off thrice", "SELECT count(*) FROM jobs WHERE troubles >= 3").await;
    let track = app.track(&upload.track).await;
    assert_eq!((&track["state"], &track["stored"]), (&"ingesting".into(), &true.into()), "{track}");
    assert_eq!(app.ask("SELECT sum(failures)::bigint FROM jobs").await, 0, "no try is lost");
    fs::remove_file(&place).unwrap();
    fs::rename(&aside, &place).unwrap();
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["sha256"]), (&"ready".into(), &tus::sha256(&wav).into()), "{track}");
    app.until_clean().await;
}

#[tokio::test]
async fn a_worker_may_die_while_its_client_is_slow_or_gone() {
    let settings = [("UPLOAD_LEASE", "2s"), ("UPLOAD_EXPIRY", "4s"), ("HLS_LADDER", "aac:64k")];
    let mut app = App::with(&settings).await;
    let wav = sound::wav(3 * 44_100, 44_100);
    // Less than shows what the file is; less than a segment; and enough to be played.
    for (n, sent) in [20, 60_000, 300_000].into_iter().enumerate() {
        let upload = tus::create(&app, "a.wav", &wav).await;
        let mut patch = tus::begin_patch(&app, &upload, 0, wav.len(), &wav[..sent]);
        if sent > 20 {
            let worker = first_worker_of(app.daemon().pid()).await;
            kill(worker, Signal::KILL);
        }
        match n {
            // Its client goes on as if nothing had been.
            0 | 1 => {
                std::io::Write::write_all(&mut patch, &wav[sent..]).unwrap();
                assert_eq!(tus::answer(&mut patch).0, 204);
                let track = app.settled(&upload.track).await;
                assert_eq!((&track["state"], &track["samples"]), (&"ready".into(), &(3 * 44_100).into()), "{track}");
            }
            // It never comes back, and the daemon has died besides.
            _ => {
                drop(patch);
                app.kill_and_boot().await;
                let track = app.settled(&upload.track).await;
                assert_eq!((&track["state"], &track["error"]["code"]), (&"failed".into(), &"upload_expired".into()));
            }
        }
    }
    until_no_worker(&app).await;
    app.until_clean().await;
}

/// Nobody encodes what is gone.
async fn until_no_worker(app: &App) {
    let begun = Instant::now();
    while !workers_of(app.daemon().pid()).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "a worker of nobody");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_daemon_may_die_while_a_track_waits_for_its_next_try() {
    let mut app = App::with(&[("UPLOAD_LEASE", "2s"), ("HLS_LADDER", "aac:64k,flac")]).await;
    let wav = sound::wav(30 * 44_100, 44_100);
    let upload = tus::create(&app, "a.wav", &wav).await;
    let mut patch = tus::begin_patch(&app, &upload, 0, wav.len(), &wav);
    kill(first_worker_of(app.daemon().pid()).await, Signal::KILL);
    assert_eq!(tus::answer(&mut patch).0, 204);
    app.until("backing off", "SELECT count(*) FROM jobs WHERE failures = 1").await;
    app.kill_and_boot().await;
    // Before its first word.
    kill(first_worker_of(app.daemon().pid()).await, Signal::KILL);
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["sha256"]), (&"ready".into(), &tus::sha256(&wav).into()), "{track}");
    assert_eq!(app.ask("SELECT failures::bigint FROM jobs").await, 2, "the third try was the good one");
    app.until_clean().await;
}
