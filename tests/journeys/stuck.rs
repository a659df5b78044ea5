//! Nothing stays "processing": a track that nothing works on is taken up again (UP-23).

use crate::support::{app::App, tus};

#[tokio::test]
async fn a_track_without_a_live_job_is_taken_up_again_and_settles() {
    let app = App::with(&[("TRACK_PROCESSING_STUCK_AFTER", "1s")]).await;
    let upload = tus::whole(&app, "notes.flac", b"no sound in here, only words, and not many of them either").await;
    assert_eq!(app.settled(&upload.track).await["error"]["code"], "unsupported_media");
    // As a lost job would leave it: the track waits, its bytes are stored, and the only job is over.
    let mut db = app.daemon().connect().await;
    let waits =
        "UPDATE tracks SET state = 'ingesting', reason = NULL, detail = NULL, updated_at = now() - interval '1 hour'";
    assert_eq!(sqlx::query(waits).execute(&mut db).await.unwrap().rows_affected(), 1);
    let track = app.settled(&upload.track).await;
    assert_eq!((track["state"].as_str(), track["error"]["code"].as_str()), (Some("failed"), Some("unsupported_media")));
    assert_eq!(
        app.ask("SELECT count(*) FROM jobs WHERE failures = 1 AND dead_at IS NOT NULL").await,
        1,
        "by the sweep"
    );
}
