//! A real store from end to end: the track, the bucket, the disk, and what is said when the store is gone.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::app;
use crate::{
    media_worker::support as media,
    support::{app::App, garage::Garage, player, sound::wav, tus},
};

async fn health(app: &App) -> (u16, Value) {
    let answer = app.http.get(app.url("/health/deep")).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Files below a folder that hold these bytes.
fn holding(folder: &Path, needle: &[u8], found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            holding(&path, needle, found);
        } else if fs::read(&path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle)) {
            found.push(path);
        }
    }
}

#[tokio::test]
async fn a_track_lives_in_the_bucket_and_nowhere_else() {
    // UP-1, UP-2, UP-20
    let garage = Garage::start().await;
    let app = app(garage.settings(), &[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let (status, report) = health(&app).await;
    let found = &report["dependencies"];
    assert_eq!((status, &found["s3"]["state"], &found["store"]["state"]), (200, &json!("ok"), &json!("disabled")));

    let file = wav(70 * 44_100, 44_100);
    assert!(file.len() > 10 << 20, "three parts");
    let upload = tus::whole(&app, "song.wav", &file).await;
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["sha256"]), (&json!("ready"), &json!(tus::sha256(&file))), "{track}");
    assert_eq!(app.ask("SELECT count(*) FROM tracks WHERE storage_backend = 's3' AND file_path IS NULL").await, 1);

    let keys = garage.objects("").await;
    let site = garage.site();
    let mut same = 0;
    for key in keys.iter().filter(|key| key.contains("source") || !key.contains("hls")) {
        same += usize::from(site.read(key).await == file);
    }
    assert_eq!(same, 1, "one object is the file, byte for byte: {keys:?}");
    for list in player::rungs(&app, &player::stream(&app, &upload.track).await).await {
        assert!(media::decoded(&player::download(&app, &list).await).len() >= 70 * 44_100 * 2, "it plays to its end");
    }
    app.until_clean().await;
    assert!(garage.multiparts().await.is_empty());
    let mut found = Vec::new();
    holding(&app.data, &file[6 << 20..][..64], &mut found);
    assert!(found.is_empty() && app.files("").is_empty(), "payload on the disk: {found:?}");
}

#[tokio::test]
async fn a_store_that_is_down_is_told_and_heals_without_a_restart() {
    // UP-20
    let mut garage = Garage::start().await;
    let app = app(garage.settings(), &[]).await;
    assert_eq!(health(&app).await.0, 200);
    let upload = tus::create(&app, "a.wav", &wav(44_100, 44_100)).await;
    garage.kill();
    let (status, report) = health(&app).await;
    assert_eq!((status, &report["dependencies"]["s3"]["state"]), (503, &json!("failed")));
    assert_eq!(&report["dependencies"]["db"]["state"], &json!("ok"));
    assert!(!report.to_string().contains("127.0.0.1"), "why is for the log");
    assert_eq!(tus::patch(&app, &upload, 0, &wav(44_100, 44_100)).await.status(), 503);
    garage.boot().await;
    assert_eq!(health(&app).await.0, 200);
    let offset = tus::offset(&app, &upload).await;
    let rest = &wav(44_100, 44_100)[offset as usize..];
    assert_eq!(tus::patch(&app, &upload, offset, rest).await.status(), 204);
    assert_eq!(app.settled(&upload.track).await["state"], "ready");
}

#[derive(Debug, PartialEq, Eq)]
enum Went {
    Skipped,
    Passed,
}

/// From upload to `ready`, if the daemon says that its store is there.
async fn critical_s3(app: &App) -> Went {
    if health(app).await.1["dependencies"]["s3"]["state"] != json!("ok") {
        return Went::Skipped;
    }
    let file = wav(4410, 44_100);
    let upload = tus::whole(app, "a.wav", &file).await;
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["sha256"]), (&json!("ready"), &json!(tus::sha256(&file))), "{track}");
    Went::Passed
}

#[tokio::test]
async fn critical_s3_is_skipped_only_while_the_store_is_down() {
    // UP-19
    let mut garage = Garage::start().await;
    let app = app(garage.settings(), &[]).await;
    assert_eq!(critical_s3(&app).await, Went::Passed);
    garage.kill();
    assert_eq!(critical_s3(&app).await, Went::Skipped);
    garage.boot().await;
    assert_eq!(critical_s3(&app).await, Went::Passed);
}
