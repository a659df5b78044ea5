//! What no row names is found and deleted; what a row names never is. And `millrace blobs`.

use std::{
    fs::{self, File},
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;

use crate::{
    media_worker::pictures,
    support::{
        app::{App, PATIENCE},
        sound::{noise, wav},
        tus,
    },
};

const ID: &str = "0123456789abcdef0123456789abcdef";

/// A file of the store that was last written so long ago.
fn plant(app: &App, path: &str, age: Duration) -> PathBuf {
    let path = app.data.join("store").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, b"nobody's").unwrap();
    set_age(&path, age);
    path
}

fn set_age(path: &PathBuf, age: Duration) {
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

fn planted_orphans(app: &App, age: Duration) -> Vec<PathBuf> {
    let kinds = [
        format!("objects/tracks/{ID}/{ID}"),
        format!("objects/partials/{ID}"),
        format!("objects/tails/{ID}/0-1-1"),
        format!("objects/hls/{ID}/1/0/init.mp4"),
        format!("objects/hls/{ID}/1/0/0.m4s"),
        format!("objects/hls/{ID}/1/peaks.dat"),
        format!("objects/hls/{ID}/1/artwork/{ID}.jpg"),
        format!("objects/renditions/{ID}/{ID}/1/0"),
        format!("multipart/tracks/{ID}/{ID}"),
    ];
    kinds.iter().map(|path| plant(app, path, age)).collect()
}

async fn until_gone(paths: &[PathBuf]) {
    let begun = Instant::now();
    while let Some(left) = paths.iter().find(|path| path.exists()) {
        assert!(begun.elapsed() < PATIENCE, "never deleted: {}", left.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_sweep_takes_what_is_old_and_unnamed_and_nothing_else() {
    // UP-13
    let app = App::with(&[("ORPHAN_SWEEP", "100ms"), ("ORPHAN_AGE", "2h")]).await;
    let day = Duration::from_secs(24 * 3600);
    let cover = pictures::written(&pictures::cover(700, 700), image::ImageFormat::Png);
    let sound = pictures::flac(&wav(88_200, 44_100), "image/png", &cover);
    let ready = tus::whole(&app, "x.flac", &sound).await;
    let track = app.settled(&ready.track).await;
    assert_eq!((&track["state"], track["artwork"].as_array().map(Vec::len)), (&"ready".into(), Some(3)));
    let bytes = noise(12 << 20, 30);
    let half = tus::create(&app, "y.bin", &bytes).await;
    assert_eq!(tus::patch(&app, &half, 0, &bytes[..11 << 20]).await.status(), 204);
    let kept = app.files("");
    kept.iter().for_each(|path| set_age(path, day));
    let foreign = [plant(&app, "objects/tracks/readme", day), plant(&app, "objects/backups/db", day)];
    let young = plant(&app, &format!("objects/tracks/{ID}/{}", ID.replace('0', "f")), Duration::from_secs(60));
    until_gone(&planted_orphans(&app, day)).await;

    for path in kept.iter().chain(&foreign).chain([&young]) {
        assert!(path.exists(), "{} was taken", path.display());
    }
    assert_eq!(tus::patch(&app, &half, 11 << 20, &bytes[11 << 20..]).await.status(), 204);
    let (status, told, errors) = app.run(&["blobs", "verify", "--json"]);
    assert!(status.success(), "{told}{errors}");
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap()["tracks"], 2);
}

#[tokio::test]
async fn a_sweep_that_races_with_uploads_and_encodes_takes_nothing_of_theirs() {
    // Without any grace for age, as often as it can: only the rows protect what is under way.
    let app = App::with(&[("ORPHAN_SWEEP", "10ms"), ("ORPHAN_AGE", "0s")]).await;
    let sound = wav(44_100, 44_100);
    let uploads = (0..4).map(|_| async {
        let mut tracks = Vec::new();
        for n in 0..6 {
            let upload = tus::create(&app, "x.wav", &sound).await;
            let cut = sound.len() * n / 6;
            assert_eq!(tus::patch(&app, &upload, 0, &sound[..cut]).await.status(), 204);
            assert_eq!(tus::patch(&app, &upload, cut as u64, &sound[cut..]).await.status(), 204);
            tracks.push(upload.track);
        }
        tracks
    });
    for track in futures_util::future::join_all(uploads).await.concat() {
        let track = app.settled(&track).await;
        assert_eq!(track["state"], "ready", "{track}");
    }
    let (status, told, errors) = app.run(&["blobs", "verify"]);
    assert!(status.success(), "{told}{errors}");
    assert!(app.ask("SELECT count(*) FROM orphan_sweep WHERE kept > 0").await == 1, "it never swept");
}

#[tokio::test]
async fn gc_shows_before_it_deletes_and_never_takes_most_of_a_store() {
    let app = App::start().await;
    let orphans = planted_orphans(&app, Duration::from_secs(2 * 24 * 3600));
    let (status, told, errors) = app.run(&["blobs", "gc", "--dry-run", "--json"]);
    assert!(status.success(), "{told}{errors}");
    let told: Value = serde_json::from_str(&told).unwrap();
    let all = orphans.len();
    assert_eq!((&told["count"], told["orphans"].as_array().unwrap().len()), (&all.into(), all));
    assert!(orphans.iter().all(|path| path.exists()), "a dry run deletes nothing");
    let (status, told, errors) = app.run(&["blobs", "gc"]);
    assert!(status.success() && told.contains(&format!("{all} that no row names")), "{told}{errors}");
    assert!(!orphans.iter().any(|path| path.exists()));

    // As a wrong DATABASE_URL looks: a full store, and nobody knows it.
    let many: Vec<_> = (0..150)
        .map(|n| plant(&app, &format!("objects/tracks/{ID}/{n:032x}"), Duration::from_secs(2 * 24 * 3600)))
        .collect();
    let (status, _, errors) = app.run(&["blobs", "gc"]);
    assert_eq!(status.code(), Some(1));
    assert!(errors.contains("--force"), "{errors}");
    assert!(many.iter().all(|path| path.exists()));
    assert!(app.run(&["blobs", "gc", "--older-than", "3d"]).0.success(), "all of it is younger");
    assert!(many.iter().all(|path| path.exists()));
    assert!(app.run(&["blobs", "gc", "--force"]).0.success());
    assert!(!many.iter().any(|path| path.exists()));
}

#[tokio::test]
async fn verify_names_each_byte_that_rots() {
    let app = App::start().await;
    let sound = wav(88_200, 44_100);
    let upload = tus::whole(&app, "x.wav", &sound).await;
    assert_eq!(app.settled(&upload.track).await["state"], "ready");
    let (status, told, errors) = app.run(&["blobs", "verify"]);
    assert!(status.success() && told.contains(": 0 differ"), "{told}{errors}");

    let segment = app.files("objects/hls").into_iter().find(|path| path.ends_with("0.m4s")).unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[100] ^= 1;
    fs::write(&segment, bytes).unwrap();
    fs::remove_file(&app.files("objects/tracks")[0]).unwrap();
    let (status, told, _) = app.run(&["blobs", "verify", "--json"]);
    assert_eq!(status.code(), Some(1));
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["wrong_count"], 2, "{told}");
    let what = told["wrong"].to_string();
    assert!(what.contains("missing") && what.contains("SHA-256") && what.contains("0.m4s"), "{what}");
}
