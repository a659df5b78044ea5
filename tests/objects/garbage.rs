//! Garbage in a bucket: aborts that are repeated, uploads that nobody has; and the way from one store to the other.

use std::time::{Duration, Instant};

use pipeline::store::{S3, Store, contract::part, s3};

use super::app;
use crate::support::{
    app::{App, PATIENCE},
    player,
    s3::{Action, Answer, Op, Rule, Strict},
    sound::{noise, wav},
    tus::{self, request},
};

const MIB: usize = 1 << 20;
const ID: &str = "0123456789abcdef0123456789abcdef";

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "never {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_abort_is_repeated_until_the_store_agrees() {
    // UP-13, UP-16
    let store = Strict::start();
    let app = app(store.settings(), &[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = noise(12 * MIB, 40);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes[..11 * MIB]).await.status(), 204);
    assert_eq!(store.multiparts().len(), 1);
    let broken = store.faults().add(Rule::on(Op::Abort, Action::Answer(Answer::INTERNAL_ERROR)));
    assert_eq!(request(&app, reqwest::Method::DELETE, &upload.path).send().await.unwrap().status(), 204);
    until("tried", async || broken.hits() > 0).await;
    until("told", async || app.ask("SELECT count(*) FROM store_trash WHERE tries > 0").await > 0).await;
    assert_eq!(store.multiparts().len(), 1);
    store.faults().heal();
    until("aborted", async || store.multiparts().is_empty()).await;
    until("deleted", async || store.keys("tails/").is_empty()).await;
    until("forgotten", async || app.ask("SELECT count(*) FROM store_trash").await == 0).await;
}

#[tokio::test]
async fn an_upload_that_only_the_store_knows_is_aborted() {
    let store = Strict::start();
    store.backdate(Duration::from_secs(48 * 3600));
    let app = app(store.settings(), &[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = noise(12 * MIB, 41);
    let ours = tus::create(&app, "x.bin", &bytes).await;
    assert_eq!(tus::patch(&app, &ours, 0, &bytes[..11 * MIB]).await.status(), 204);
    let site = store.site();
    let settings =
        s3::Settings::new(&site.endpoint, &site.region, &site.bucket, &site.access_key_id, &site.secret_access_key);
    let behind = S3::open(s3::Settings { force_path_style: true, ..settings });
    let lost = behind.begin(&format!("tracks/{ID}/{ID}")).await.unwrap();
    behind.put_part(&lost, &part(1, 0, b"abc"), &[], 0, vec!["abc".into()]).await.unwrap();
    // A second one for the key of an upload that lives: its row names the first.
    let key = store.multiparts().into_iter().map(|(key, _)| key).find(|key| *key != lost.key).unwrap();
    behind.begin(&key).await.unwrap();
    behind.put(&format!("tails/{ID}/0-1-1"), "tail".into()).await.unwrap();
    // Somebody was killed while it tried what the store can do.
    behind.begin("probe/examine").await.unwrap();
    behind.put(&format!("probe/{ID}"), "millrace".into()).await.unwrap();
    assert_eq!(store.multiparts().len(), 4);

    let (status, told, errors) = app.run(&["blobs", "gc"]);
    assert!(status.success() && told.contains("5 that no row names"), "{told}{errors}");
    assert_eq!(store.multiparts().len(), 1);
    assert!(store.keys(&format!("tails/{ID}/")).is_empty() && store.keys("probe/").is_empty());
    assert_eq!(tus::patch(&app, &ours, 11 * MIB as u64, &bytes[11 * MIB..]).await.status(), 204);
    let track = app.track_when(&ours.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
}

/// It plays, to the last segment of every rung.
async fn plays(app: &App, track: &str) {
    let entry = player::stream(app, track).await;
    for rung in player::rungs(app, &entry).await {
        assert!(rung.is_ended() && !player::download(app, &rung).await.is_empty());
    }
}

#[tokio::test]
async fn everything_moves_to_a_bucket_and_back() {
    let store = Strict::start();
    let mut app = App::start().await;
    // One goes in parts, one has a ladder.
    let (large, sound) = (noise(40 * MIB, 42), wav(88_200, 44_100));
    let large = (tus::whole(&app, "large.bin", &large).await, large);
    app.settled(&large.0.track).await;
    let small = tus::whole(&app, "x.wav", &sound).await;
    assert_eq!(app.settled(&small.track).await["state"], "ready");
    for (name, value) in store.settings().pairs() {
        app.set(name, value);
    }
    let (status, _, errors) = app.run(&["blobs", "migrate", "--to", "s3"]);
    assert!(status.code() == Some(1) && errors.contains("another millrace"), "beside a daemon: {errors}");
    let half = tus::create(&app, "half.bin", &large.1).await;
    assert_eq!(tus::patch(&app, &half, 0, &large.1[..MIB]).await.status(), 204);
    assert!(app.ended_by(rustix::process::Signal::TERM).success());
    let (status, _, errors) = app.run(&["blobs", "migrate", "--to", "s3"]);
    assert!(status.code() == Some(1) && errors.contains("under way"), "{errors}");
    app.set("TRACK_STORAGE_BACKEND", "local");
    app.boot().await;
    assert_eq!(request(&app, reqwest::Method::DELETE, &half.path).send().await.unwrap().status(), 204);
    app.until_clean().await;
    assert!(app.ended_by(rustix::process::Signal::TERM).success());

    // Broken off once, and gone on with.
    let _broken = store
        .faults()
        .add(Rule::on(Op::PutObject, Action::Answer(Answer { status: 403, code: "AccessDenied" })).key(".m4s").skip(3));
    let (status, _, errors) = app.run(&["blobs", "migrate", "--to", "s3"]);
    assert!(status.code() == Some(1) && errors.contains("run the same command again"), "{errors}");
    store.faults().heal();
    let (status, told, errors) = app.run(&["blobs", "migrate", "--to", "s3"]);
    assert!(status.success() && told.contains("TRACK_STORAGE_BACKEND=s3"), "{told}{errors}");
    std::fs::remove_dir_all(app.data.join("store/objects")).unwrap();
    app.set("TRACK_STORAGE_BACKEND", "s3");
    app.boot().await;
    plays(&app, &small.track).await;
    let (status, told, errors) = app.run(&["blobs", "verify"]);
    assert!(status.success(), "{told}{errors}");
    let kept = store.keys("tracks/").into_iter().any(|key| store.object(&key).is_some_and(|bytes| bytes == large.1));
    assert!(kept, "the object is the file");

    assert!(app.ended_by(rustix::process::Signal::TERM).success());
    let (status, told, errors) = app.run(&["blobs", "migrate", "--to", "local"]);
    assert!(status.success(), "{told}{errors}");
    app.set("TRACK_STORAGE_BACKEND", "local");
    app.boot().await;
    plays(&app, &small.track).await;
    let (status, told, errors) = app.run(&["blobs", "verify"]);
    assert!(status.success(), "{told}{errors}");
}

#[tokio::test]
async fn a_bucket_that_isnt_configured_is_missed_by_name() {
    // UP-15, S3-7
    let mut app = App::start().await;
    tus::whole(&app, "x.bin", b"here").await;
    let files = app.files("objects");
    assert!(app.ended_by(rustix::process::Signal::TERM).success());
    for args in [&["blobs", "migrate", "--to", "s3"][..], &["blobs", "migrate", "--to", "s3", "--json"]] {
        let (status, told, errors) = app.run(args);
        assert!(!status.success() && errors.contains("S3_BUCKET"), "{told}{errors}");
    }
    assert_eq!(app.files("objects"), files);
    app.boot().await;
    assert_eq!(app.ask("SELECT count(*) FROM tracks WHERE storage_backend = 'local' AND file_path <> ''").await, 1);
}
