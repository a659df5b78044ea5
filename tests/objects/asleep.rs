//! A node that falls asleep in mid-encode: another one takes the job over, and the sleeper changes nothing when it wakes.

use rustix::process::Signal;

use super::nodes::nodes;
use crate::support::{app::App, player, s3::Strict, sound::wav, tus};

const SECONDS: u32 = 60;
const TAKEN_OVER: &str = "SELECT count(*) FROM jobs WHERE token = 2 AND node IS NOT NULL";

#[tokio::test]
async fn an_encode_of_a_sleeping_node_is_done_once_by_another() {
    // HLS-10, HLS-11. The store and the database are all that the two share.
    let store = Strict::start();
    let apps = nodes(&store.settings(), 2, &[("UPLOAD_LEASE", "2s")]).await;
    let (sleeper, other) = (&apps[0], &apps[1]);
    let bytes = wav(SECONDS * 44_100, 44_100);
    let upload = tus::whole(sleeper, "x.wav", &bytes).await;
    other.track_when(&upload.track, "begun", |t| t["segments_ready"].as_i64() >= Some(1)).await;
    sleeper.daemon().signal(Signal::STOP);
    assert_ne!(other.track(&upload.track).await["state"], "ready", "too late: nothing is left to take over");
    let held = "SELECT count(*) FROM jobs WHERE token = 1 AND done_at IS NULL";
    assert_eq!(other.ask(held).await, 1, "the sleeper has it");

    other.until("taken over", TAKEN_OVER).await;
    // In the midst of the other's work.
    sleeper.daemon().signal(Signal::CONT);
    let track = other.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["sha256"]), (&"ready".into(), &tus::sha256(&bytes).into()), "{track}");
    assert_eq!(track["samples"], SECONDS * 44_100);

    let once = "SELECT count(*) FROM transition WHERE to_state = 'ready'";
    assert_eq!(other.ask(once).await, 1, "ready once");
    let done = "SELECT count(*) FROM jobs WHERE token = 2 AND failures = 0 AND done_at IS NOT NULL";
    assert_eq!(other.ask(done).await, 1, "done under the second token");
    assert_one_run(other, &upload.track).await;
    // What each of them serves is the same, and is the whole of it.
    let entry = player::stream(other, &upload.track).await;
    for rung in player::rungs(other, &entry).await {
        assert!(rung.is_ended() && rung.micros() == u64::from(SECONDS) * 1_000_000);
        assert!(player::download(other, &rung).await == player::download(sleeper, &rung).await);
    }
}

/// One run, written under the token that finished it, with as many segments in every rung and an object for each.
async fn assert_one_run(app: &App, track: &str) {
    let mut db = app.daemon().connect().await;
    let runs: Vec<(i32, i64, bool)> =
        sqlx::query_as("SELECT run, token, finished_at IS NOT NULL FROM runs").fetch_all(&mut db).await.unwrap();
    assert_eq!(runs, [(1, 2, true)], "{track}");
    let sql = "SELECT count(*), sum(samples)::bigint FROM segments GROUP BY rung";
    let rungs: Vec<(i64, i64)> = sqlx::query_as(sql).fetch_all(&mut db).await.unwrap();
    assert_eq!(rungs.len(), 4);
    assert!(rungs.iter().all(|rung| *rung == rungs[0] && rung.1 == i64::from(SECONDS) * 44_100), "{rungs:?}");
}
