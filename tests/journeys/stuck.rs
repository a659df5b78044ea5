//! Nothing stays "processing": a track that nothing works on is taken up again, and one that never gets anywhere fails.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{
    app::{App, PATIENCE},
    sound, tus,
};

/// The daemon's warnings that name this track.
fn warnings(app: &App, track: &str) -> Vec<Value> {
    let said = app.daemon().said();
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["level"] == "WARN" && line["track.id"] == *track).collect()
}

/// No node gets hold of a job: where encodes are asked for, nobody answers.
const UNREACHABLE: &str = "CREATE FUNCTION unreachable() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'nobody is there'; END $$;
    CREATE TRIGGER unreachable BEFORE UPDATE ON jobs FOR EACH ROW WHEN (NEW.token > OLD.token)
        EXECUTE FUNCTION unreachable()";

#[tokio::test]
async fn an_upload_whose_encode_cant_be_started_succeeds_and_is_encoded_later() {
    // UP-22, HLS-13, and UP-23's end of it: nobody has to come back and ask.
    let app = App::start().await;
    let mut db = app.daemon().connect().await;
    sqlx::raw_sql(UNREACHABLE).execute(&mut db).await.unwrap();
    let wav = sound::wav(2 * 44_100, 44_100);
    let upload = tus::whole(&app, "a.wav", &wav).await;
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!((&track["state"], &track["sha256"]), (&"ingesting".into(), &tus::sha256(&wav).into()), "{track}");
    // It goes on trying meanwhile, and complains of the track once.
    let begun = Instant::now();
    while app.daemon().said().matches("no jobs could be claimed").count() < 2 {
        assert!(begun.elapsed() < PATIENCE, "nobody tries");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let told = warnings(&app, &upload.track);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["message"], "live encode not started; it starts when stored");
    assert_eq!(app.track(&upload.track).await["state"], "ingesting");

    sqlx::raw_sql("DROP TRIGGER unreachable ON jobs").execute(&mut db).await.unwrap();
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["sha256"]), (&"ready".into(), &tus::sha256(&wav).into()), "{track}");
    assert_eq!(app.ask("SELECT count(*) FROM uploads WHERE state = 'stored'").await, 1);
    app.until_clean().await;
}

/// Every job ends as soon as it is begun, and its track hears nothing of it.
const LOST: &str = "CREATE FUNCTION lost() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.done_at := now(); NEW.lease_until := NULL; RETURN NEW; END $$;
    CREATE TRIGGER lost BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION lost()";

#[tokio::test]
async fn a_track_that_five_rescues_didnt_help_has_failed_and_may_be_tried_again() {
    // UP-23
    let app = App::with(&[("TRACK_PROCESSING_STUCK_AFTER", "1s")]).await;
    let mut db = app.daemon().connect().await;
    sqlx::raw_sql(LOST).execute(&mut db).await.unwrap();
    let wav = sound::wav(2 * 44_100, 44_100);
    let upload = tus::whole(&app, "a.wav", &wav).await;
    let track = app.settled(&upload.track).await;
    assert_eq!((track["state"].as_str(), track["error"]["code"].as_str()), (Some("failed"), Some("stuck")), "{track}");
    assert_eq!(app.ask("SELECT rescues::bigint FROM jobs").await, 5, "rescues");
    let told = warnings(&app, &upload.track);
    let rescues = told.iter().filter(|line| line["message"] == "stuck track taken up again").count();
    let failed = told.iter().filter(|line| line["message"] == "track failed" && line["code"] == "stuck").count();
    assert_eq!((rescues, failed), (5, 1), "{told:#?}");

    sqlx::raw_sql("DROP TRIGGER lost ON jobs").execute(&mut db).await.unwrap();
    let answer = app.post(&format!("/api/v1/tracks/{}/retry", upload.track)).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["sha256"]), (&"ready".into(), &tus::sha256(&wav).into()), "{track}");
    app.until_clean().await;
}

#[tokio::test]
async fn a_track_without_a_live_job_is_taken_up_again_and_settles() {
    let app = App::with(&[("TRACK_PROCESSING_STUCK_AFTER", "1s")]).await;
    let upload = tus::whole(&app, "notes.flac", b"no sound in here, only words, and not many of them either").await;
    assert_eq!(app.settled(&upload.track).await["error"]["code"], "unsupported_media");
    // UP-23. As a lost job would leave it: the track waits, its bytes are stored, and the only job is over.
    let mut db = app.daemon().connect().await;
    let waits =
        "UPDATE tracks SET state = 'ingesting', reason = NULL, detail = NULL, updated_at = now() - interval '1 hour'";
    assert_eq!(sqlx::query(waits).execute(&mut db).await.unwrap().rows_affected(), 1);
    let track = app.settled(&upload.track).await;
    assert_eq!((track["state"].as_str(), track["error"]["code"].as_str()), (Some("failed"), Some("unsupported_media")));
    assert_eq!(
        app.ask("SELECT count(*) FROM jobs WHERE rescues = 1 AND failures = 0 AND dead_at IS NOT NULL").await,
        1,
        "by the sweep"
    );
}

/// As lost transactions, old bugs and hands in the database would leave a track: nobody would ever move it. Each with what
/// the sweep makes of it.
const ORPHANED: [(&str, &str, &str); 6] = [
    ("its job is done", "UPDATE jobs SET done_at = now(), dead_at = NULL", "ready"),
    ("its job is buried", "UPDATE jobs SET dead_at = now(), done_at = NULL", "ready"),
    ("its job is missing", "DELETE FROM jobs", "ready"),
    ("its job waits for ever", "UPDATE jobs SET run_after = 'infinity', done_at = NULL", "ready"),
    (
        "its job waits for ever, and its holder is dead",
        "UPDATE jobs SET run_after = 'infinity', done_at = NULL, node = gen_random_uuid(),
                lease_until = now() - interval '1 hour'",
        "ready",
    ),
    (
        "its upload is gone",
        "UPDATE tracks SET stored_at = NULL, run = NULL; DELETE FROM upload_parts; DELETE FROM uploads",
        "failed",
    ),
];

#[tokio::test]
async fn whatever_nobody_would_ever_move_is_moved() {
    // UP-23
    let app = App::with(&[("TRACK_PROCESSING_STUCK_AFTER", "1s"), ("HLS_LADDER", "aac:64k")]).await;
    let wav = sound::wav(44_100, 44_100);
    let upload = tus::whole(&app, "a.wav", &wav).await;
    assert_eq!(app.settled(&upload.track).await["state"], "ready");
    let mut db = app.daemon().connect().await;
    for (what, sql, wanted) in ORPHANED {
        // No edge leads here: a hand without the guard's consent.
        let back = format!(
            "SET session_replication_role = replica;
             UPDATE tracks SET state = 'ingesting', updated_at = now() - interval '1 hour'; {sql};
             SET session_replication_role = origin"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(back)).execute(&mut db).await.unwrap();
        let track = app.settled(&upload.track).await;
        assert_eq!(track["state"], wanted, "{what}: {track}");
        if wanted == "failed" {
            assert_eq!(track["error"]["code"], "upload_lost", "{what}");
        }
    }
    let mut told = warnings(&app, &upload.track);
    let begun = Instant::now();
    // It says so once it is so.
    while told.iter().all(|line| line["message"] != "track failed") {
        assert!(begun.elapsed() < PATIENCE, "nobody says so: {told:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
        told = warnings(&app, &upload.track);
    }
    let said = |message: &str| told.iter().filter(|line| line["message"] == message).count();
    assert_eq!((said("stuck track taken up again"), said("track failed")), (5, 1), "once each: {told:#?}");
    let metrics = super::watched::metrics(&app).await;
    assert_eq!(metrics["millrace_tracks_rescued_total"], 5.0);
    assert_eq!(metrics[r#"millrace_tracks_failed_total{reason="upload_lost"}"#], 1.0);
}
