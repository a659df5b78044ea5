//! Every state in which an encode can be, and what may befall it there: its track is `ready`, or has failed for a reason,
//! within the lease and a minute.
//!
//! A state is reached for certain: a trigger holds the statement that leaves it, until what is to befall the encode has.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use super::workers::workers_of;
use crate::{
    postgres::daemon::kill,
    support::{
        app::{App, PATIENCE},
        sound,
        tus::{self, Upload},
    },
};

const LEASE: Duration = Duration::from_secs(2);
/// What the product promises.
const WITHIN: Duration = Duration::from_secs(60);

/// A state: the statement that would leave it, when it is that one, and what the database says of the track meanwhile.
struct State {
    name: &'static str,
    statement: &'static str,
    when: &'static str,
    is_so: &'static str,
    /// Whether a worker lives in it.
    has_worker: bool,
}

const fn state(name: &'static str, statement: &'static str, when: &'static str, is_so: &'static str) -> State {
    State { name, statement, when, is_so, has_worker: true }
}

const STATES: [State; 8] = [
    State {
        has_worker: false,
        ..state(
            "no job taken",
            "UPDATE ON jobs",
            "NEW.token > OLD.token",
            "SELECT count(*) = 1 FROM jobs WHERE subject = $1 AND token = 0 AND lease_until IS NULL",
        )
    },
    state(
        "locked in, before its run",
        "INSERT ON runs",
        "true",
        "SELECT (SELECT lease_until > now() FROM jobs WHERE subject = $1)
            AND NOT EXISTS (SELECT FROM runs WHERE track_id = $1)",
    ),
    state(
        "init stored without its row",
        "INSERT ON rungs",
        "true",
        "SELECT count(*) = 1 AND NOT EXISTS (SELECT FROM rungs WHERE track_id = $1) FROM runs WHERE track_id = $1",
    ),
    state(
        "first segment stored without its row",
        "INSERT ON segments",
        "NEW.n = 0",
        "SELECT count(*) > 0 AND NOT EXISTS (SELECT FROM segments WHERE track_id = $1) FROM rungs WHERE track_id = $1",
    ),
    state(
        "rows of first segments without Play",
        "UPDATE ON tracks",
        "NEW.state = 'playable'",
        "SELECT count(*) > 0 AND (SELECT state = 'ingesting' FROM tracks WHERE id = $1)
           FROM segments WHERE track_id = $1",
    ),
    state(
        "playable, in mid-track",
        "INSERT ON segments",
        // Of AAC, which FLAC is ahead of.
        "NEW.n = 2 AND NEW.rung = 0",
        "SELECT count(*) > 1 AND (SELECT state = 'playable' FROM tracks WHERE id = $1)
           FROM segments WHERE track_id = $1",
    ),
    State {
        has_worker: false,
        ..state(
            "all segments, run not finished",
            "UPDATE ON runs",
            "NEW.finished_at IS NOT NULL",
            "SELECT count(*) = 14 AND NOT EXISTS (SELECT FROM runs WHERE track_id = $1 AND finished_at IS NOT NULL)
               FROM segments WHERE track_id = $1",
        )
    },
    State {
        has_worker: false,
        ..state(
            "run finished, track not",
            "UPDATE ON tracks",
            "NEW.state = 'ready'",
            "SELECT count(*) = 1 AND (SELECT state = 'playable' FROM tracks WHERE id = $1)
               FROM runs WHERE track_id = $1 AND finished_at IS NOT NULL",
        )
    },
];

/// What befalls an encode.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Blow {
    DaemonKilled,
    WorkerKilled,
    ConnectionsCut,
    DatabaseKilled,
    DaemonAsleep,
}

/// A key of the database's own locks, which nobody else uses.
const KEY: i64 = 0x656e_6473;
const HELD: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";

/// Whoever comes to leave the state waits while this lives.
struct Hold(PgConnection);

impl Hold {
    async fn of(app: &App, state: &State) -> Self {
        let mut db = app.daemon().connect().await;
        let sql = format!(
            "CREATE OR REPLACE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN PERFORM pg_advisory_xact_lock_shared({KEY}); RETURN NEW; END $$;
             DROP TRIGGER IF EXISTS held ON jobs; DROP TRIGGER IF EXISTS held ON runs;
             DROP TRIGGER IF EXISTS held ON rungs; DROP TRIGGER IF EXISTS held ON segments;
             DROP TRIGGER IF EXISTS held ON tracks;
             CREATE TRIGGER held BEFORE {} FOR EACH ROW WHEN ({}) EXECUTE FUNCTION held();
             SELECT pg_advisory_lock({KEY})",
            state.statement, state.when
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut db).await.unwrap();
        Self(db)
    }

    /// Waits until somebody waits, and looks whether it is so.
    async fn reached(&mut self, state: &State, upload: &Upload) {
        let begun = Instant::now();
        while sqlx::query_scalar::<_, i64>(HELD).fetch_one(&mut self.0).await.unwrap() == 0 {
            assert!(begun.elapsed() < PATIENCE, "never: {}", state.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let track = upload.track.parse::<uuid::Uuid>().unwrap();
        let is_so: bool = sqlx::query_scalar(state.is_so).bind(track).fetch_one(&mut self.0).await.unwrap();
        assert!(is_so, "not so: {}", state.name);
    }

    /// An error means that the database is gone, and with it the lock.
    async fn end(mut self) {
        let _ = sqlx::query("SELECT pg_advisory_unlock_all()").execute(&mut self.0).await;
        let _ = self.0.close().await;
    }
}

/// Brings a track into a state, strikes, and waits for its end.
async fn strike(app: &mut App, state: &State, blow: Blow, wav: &[u8]) {
    let mut hold = Hold::of(app, state).await;
    let upload = tus::create(app, "a.wav", wav).await;
    // Not waited for: the end of the upload wants the job's row, which whoever is held has.
    let mut patch = tus::begin_patch(app, &upload, 0, wav.len(), wav);
    hold.reached(state, &upload).await;
    let daemon = app.daemon().pid();
    let begun = Instant::now();
    match blow {
        Blow::DaemonKilled => {
            app.kill();
            hold.end().await;
            app.boot().await;
        }
        Blow::WorkerKilled => {
            let [worker] = workers_of(daemon)[..] else { panic!("a worker: {}", state.name) };
            kill(worker, Signal::KILL);
            hold.end().await;
        }
        Blow::ConnectionsCut => {
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE datname = current_database() AND pid <> pg_backend_pid()";
            sqlx::query(cut).execute(&mut hold.0).await.unwrap();
            hold.end().await;
        }
        Blow::DatabaseKilled => {
            kill(app.daemon().postmaster(), Signal::KILL);
            hold.end().await;
        }
        Blow::DaemonAsleep => {
            kill(daemon, Signal::STOP);
            let over = "SELECT count(*) FROM jobs WHERE lease_until > now()";
            while sqlx::query_scalar::<_, i64>(over).fetch_one(&mut hold.0).await.unwrap() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            kill(daemon, Signal::CONT);
            hold.end().await;
        }
    }
    let what = format!("{}, {blow:?}", state.name);
    // However the request ends, its client goes on until it has sent everything.
    tus::answer(&mut patch);
    sent(app, &upload, wav, begun, &what).await;
    ends(app, &upload, wav, begun, &what).await;
}

/// A client that resumes.
async fn sent(app: &App, upload: &Upload, wav: &[u8], begun: Instant, what: &str) {
    loop {
        assert!(begun.elapsed() < LEASE + WITHIN, "{what}: never sent");
        let answer = tus::head(app, upload).await;
        if answer.status() == 200 {
            let offset = tus::number(answer.headers(), "upload-offset");
            if offset == wav.len() as u64 {
                return;
            }
            tus::patch(app, upload, offset, &wav[offset as usize..]).await;
        }
    }
}

/// The track is ready in time, and is what was sent.
async fn ends(app: &App, upload: &Upload, wav: &[u8], begun: Instant, what: &str) {
    let track = loop {
        let track = track_as_it_can(app, &upload.track).await;
        if matches!(track["state"].as_str(), Some("ready" | "failed")) {
            break track;
        }
        assert!(begun.elapsed() < LEASE + WITHIN, "{what}: {track}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let samples = (wav.len() as u64 - 44) / 4;
    assert_eq!((&track["state"], &track["samples"]), (&"ready".into(), &samples.into()), "{what}: {track}");
    assert_eq!(track["sha256"], tus::sha256(wav), "{what}");
    println!("{what}: {:.1} s", begun.elapsed().as_secs_f32());
}

/// Nothing while the daemon can't say.
async fn track_as_it_can(app: &App, id: &str) -> Value {
    match app.get(&format!("/api/v1/tracks/{id}")).send().await {
        Ok(answer) => answer.json().await.unwrap_or_default(),
        Err(_) => Value::Null,
    }
}

async fn start() -> (App, Vec<u8>) {
    let settings = [("UPLOAD_LEASE", "2s"), ("HLS_LADDER", "aac:64k,flac"), ("HLS_SEGMENT_SECONDS", "2")];
    // Seven segments in each of two rungs: more than the socket between daemon and worker holds.
    (App::with(&settings).await, sound::wav(12 * 44_100, 44_100))
}

#[tokio::test]
async fn the_daemon_may_die_in_every_state() {
    let (mut app, wav) = start().await;
    for state in &STATES {
        strike(&mut app, state, Blow::DaemonKilled, &wav).await;
    }
    app.until_clean().await;
}

#[tokio::test]
async fn the_worker_or_the_database_may_go_in_every_state() {
    let (mut app, wav) = start().await;
    for state in &STATES {
        if state.has_worker {
            strike(&mut app, state, Blow::WorkerKilled, &wav).await;
        }
        strike(&mut app, state, Blow::ConnectionsCut, &wav).await;
    }
    strike(&mut app, &STATES[5], Blow::DatabaseKilled, &wav).await;
    for state in [&STATES[3], &STATES[7]] {
        strike(&mut app, state, Blow::DaemonAsleep, &wav).await;
    }
    app.until_clean().await;
}
