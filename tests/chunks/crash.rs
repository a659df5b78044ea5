//! `kill -9` between the steps of a chunk and of an end.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use sqlx::Connection;

use crate::support::{
    app::App,
    chunks::{self, Upload},
    sound::noise,
};

/// The shortest part that the settings let through.
const PART: usize = 5 << 20;

async fn until(app: &App, what: &'static str) {
    while app.ask(what).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn small() -> (App, Vec<u8>, Upload) {
    let app = App::with(&[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = noise(3 * PART + 9, 1);
    let upload = chunks::create(&app, "x.bin", &bytes).await;
    chunks::put_of(&app, &upload, &bytes, 0).await;
    chunks::put_of(&app, &upload, &bytes, 2).await;
    (app, bytes, upload)
}

async fn goes_on(app: &App, upload: &Upload, bytes: &[u8]) {
    let told = chunks::progress(app, upload).await;
    assert_eq!(told["received"], json!([[0, PART], [2 * PART, 3 * PART]]), "what was acknowledged, and nothing else");
    // No claim of the dead is in the way.
    for n in [3, 1] {
        chunks::put_of(app, upload, bytes, n).await;
    }
    chunks::complete_as(app, upload, bytes).await;
    assert!(chunks::stored(app, upload) == bytes);
    assert_eq!(app.ask("SELECT count(*) FROM upload_claims").await, 0);
    app.until_clean().await;
}

#[tokio::test]
async fn killed_between_the_claim_and_the_store() {
    let (mut app, bytes, upload) = small().await;
    let _half = chunks::begin_put(&app, &upload, 1, PART, &upload.piece(&bytes, 1)[..PART / 2]);
    until(&app, "SELECT count(*) FROM upload_claims").await;
    app.kill_and_boot().await;
    goes_on(&app, &upload, &bytes).await;
}

#[tokio::test]
async fn killed_between_the_store_and_the_rows() {
    let (mut app, bytes, upload) = small().await;
    let mut half = chunks::begin_put(&app, &upload, 3, 9, &upload.piece(&bytes, 3)[..5]);
    until(&app, "SELECT count(*) FROM upload_claims").await;
    // The commit waits for this row; the store doesn't.
    let mut db = app.daemon().connect().await;
    let mut hold = db.begin().await.unwrap();
    sqlx::query("SELECT FROM uploads FOR UPDATE").execute(&mut *hold).await.unwrap();
    std::io::Write::write_all(&mut half, &upload.piece(&bytes, 3)[5..]).unwrap();
    let file = app.files("multipart").pop().unwrap();
    while std::fs::metadata(&file).unwrap().len() < bytes.len() as u64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    app.kill();
    drop((hold, half));
    app.boot().await;
    goes_on(&app, &upload, &bytes).await;
}

#[tokio::test]
async fn killed_while_it_is_sealed_it_is_sealed_by_itself() {
    let (mut app, bytes, upload) = small().await;
    for n in [1, 3] {
        chunks::put_of(&app, &upload, &bytes, n).await;
    }
    let mut db = app.daemon().connect().await;
    let mut hold = db.begin().await.unwrap();
    sqlx::query("SELECT FROM tracks FOR UPDATE").execute(&mut *hold).await.unwrap();
    let asked = app.post(&format!("{}/complete", upload.path()));
    let asked = tokio::spawn(async move { asked.send().await });
    until(&app, "SELECT count(*) FROM uploads WHERE state = 'sealing'").await;
    app.kill();
    drop(hold);
    assert!(asked.await.unwrap().is_err());
    app.boot().await;
    app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    chunks::complete_as(&app, &upload, &bytes).await;
    assert!(chunks::stored(&app, &upload) == bytes);
    app.until_clean().await;
}

#[tokio::test]
async fn a_restart_goes_on_with_the_digest_where_it_was() {
    let app = App::with(&[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let mut app = app;
    let bytes = noise(4 * PART, 3);
    let upload = chunks::create(&app, "x.bin", &bytes).await;
    for n in [1, 0] {
        chunks::put_of(&app, &upload, &bytes, n).await;
    }
    // The state behind what waited comes to its row a moment after the answer.
    until(&app, "SELECT count(*) FROM upload_parts WHERE part_no = 2 AND sha_state IS NOT NULL").await;
    app.kill_and_boot().await;
    for n in [2, 3] {
        chunks::put_of(&app, &upload, &bytes, n).await;
    }
    chunks::complete_as(&app, &upload, &bytes).await;
    assert_eq!(app.ask("SELECT count(*) FROM uploads WHERE deferred").await, 0);
}

#[tokio::test]
async fn thirty_kills_at_random_bytes_lose_nothing() {
    let mut dice = StdRng::seed_from_u64(0x6368_756e);
    let mut app = App::with(&[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let mut kills = 0;
    while kills < 30 {
        let bytes = noise(3 * PART + dice.random_range(0..PART), dice.random());
        let upload = chunks::create(&app, "x.bin", &bytes).await;
        let mut missing: Vec<usize> = (0..upload.count).collect();
        while !missing.is_empty() {
            let n = missing[dice.random_range(0..missing.len())];
            let chunk = upload.piece(&bytes, n);
            if dice.random_bool(0.3) {
                let cut = dice.random_range(0..=chunk.len());
                let socket = chunks::begin_put(&app, &upload, n, chunk.len(), &chunk[..cut]);
                app.kill_and_boot().await;
                drop(socket);
                kills += 1;
            } else {
                chunks::put_of(&app, &upload, &bytes, n).await;
                missing.retain(|m| *m != n);
            }
            let told = chunks::progress(&app, &upload).await;
            let ranges: Vec<(usize, usize)> = serde_json::from_value(told["received"].clone()).unwrap();
            let is_there = |n: usize| ranges.iter().any(|(from, to)| (*from..*to).contains(&(n * upload.chunk_bytes)));
            assert!((0..upload.count).all(|n| missing.contains(&n) || is_there(n)), "{missing:?}: {told}");
        }
        chunks::complete_as(&app, &upload, &bytes).await;
        assert!(chunks::stored(&app, &upload) == bytes);
    }
    app.until_clean().await;
}
