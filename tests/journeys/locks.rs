//! Rows that several steps of one journey lock: always upload, then job, then track.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use crate::support::{
    app::{App, PATIENCE},
    sound, tus,
};

const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
const DEADLOCKS: &str = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";

async fn number(db: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(db).await.unwrap()
}

#[tokio::test]
async fn the_last_byte_and_the_first_look_at_a_track_dont_deadlock() {
    let app = App::start().await;
    let wav = sound::wav(44_100, 44_100);
    let upload = tus::create(&app, "a.wav", &wav).await;
    let mut db = app.daemon().connect().await;
    // While we hold the track, the sealing of its upload and the opening of its run both come to want it.
    let mut holder = app.daemon().connect().await;
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT FROM tracks FOR UPDATE").execute(&mut *held).await.unwrap();
    let mut socket = tus::begin_patch(&app, &upload, 0, wav.len(), &wav);
    let begun = Instant::now();
    while number(&mut db, WAITING).await < 2 {
        assert!(begun.elapsed() < PATIENCE, "they never met");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    held.rollback().await.unwrap();
    assert_eq!(tus::answer(&mut socket).0, 204);
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["sha256"]), (&"ready".into(), &tus::sha256(&wav).into()), "{track}");
    assert_eq!(number(&mut db, DEADLOCKS).await, 0);
}
