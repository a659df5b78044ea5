//! Any order, one after the other or all at once: the file is right, and so is its digest.

use futures_util::{StreamExt, stream};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;

use crate::support::{
    app::App,
    chunks::{self, Upload},
    sound::{noise, wav},
    tus::sha256,
};

/// The shortest part that the settings let through.
const PART: usize = 5 << 20;

#[tokio::test]
async fn three_one_two_is_one_two_three() {
    // UP-5, UP-6
    let app = App::with(&[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = noise(2 * PART + 5, 1);
    let upload = chunks::create(&app, "x.bin", &bytes).await;
    assert_eq!((upload.chunk_bytes, upload.count), (PART, 3));
    let told = chunks::progress(&app, &upload).await;
    let size = bytes.len();
    assert_eq!(told, json!({ "state": "opened", "size": size, "offset": 0, "received": [], "track_id": upload.track }));
    chunks::put_of(&app, &upload, &bytes, 2).await;
    let told = chunks::progress(&app, &upload).await;
    assert_eq!(
        (&told["state"], &told["offset"], &told["received"]),
        (&json!("receiving"), &json!(0), &json!([[2 * PART, size]]))
    );
    chunks::put_of(&app, &upload, &bytes, 0).await;
    let told = chunks::progress(&app, &upload).await;
    assert_eq!((&told["offset"], &told["received"]), (&json!(PART), &json!([[0, PART], [2 * PART, size]])));
    let (status, told) = chunks::complete(&app, &upload).await;
    assert_eq!(
        (status, &told["code"], &told["missing"], &told["missing_count"]),
        (409, &json!("chunks_missing"), &json!([1]), &json!(1))
    );
    chunks::put_of(&app, &upload, &bytes, 1).await;
    assert_eq!(chunks::progress(&app, &upload).await["received"], json!([[0, size]]));
    assert_eq!(deferred(&app).await, 0);
    chunks::complete_as(&app, &upload, &bytes).await;
    chunks::complete_as(&app, &upload, &bytes).await;
    let told = chunks::progress(&app, &upload).await;
    assert_eq!((&told["state"], &told["sha256"]), (&json!("stored"), &json!(sha256(&bytes))));
    assert!(chunks::stored(&app, &upload) == bytes);
    assert_eq!(app.ask("SELECT count(*) FROM upload_parts").await, 0, "UP-8: only the terminal row is left");
    assert_eq!(app.ask("SELECT count(*) FROM upload_claims").await, 0);
    assert_eq!(deferred(&app).await, 0, "every byte was read once");
    app.until_clean().await;
}

async fn deferred(app: &App) -> i64 {
    app.ask("SELECT count(*) FROM uploads WHERE deferred").await
}

/// All chunks, `ways` at once, each `swap` places from where it belongs at most.
async fn scatter(app: &App, upload: &Upload, bytes: &[u8], ways: usize, swap: usize, seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..upload.count).collect();
    for at in 0..order.len() {
        let other = (at + dice.random_range(0..=swap)).min(order.len() - 1);
        order.swap(at, other);
    }
    stream::iter(order).for_each_concurrent(ways, |n| chunks::put_of(app, upload, bytes, n)).await;
}

#[tokio::test]
async fn eight_ways_out_of_order_a_quarter_gibibyte_fits_into_its_memory() {
    let app = App::start().await;
    let before = resident(&app, "VmHWM:");
    let bytes = noise(256 << 20, 2);
    let upload = chunks::create(&app, "x.bin", &bytes).await;
    scatter(&app, &upload, &bytes, 8, 7, 3).await;
    let begun = std::time::Instant::now();
    chunks::complete_as(&app, &upload, &bytes).await;
    println!("complete took {:?}, deferred: {}", begun.elapsed(), deferred(&app).await);
    let grown = resident(&app, "VmHWM:") - before;
    println!("memory grew by {} MiB", grown >> 10);
    assert!(grown < (128 + 64) << 10, "grew by {} MiB", grown >> 10);
    assert!(chunks::stored(&app, &upload) == bytes);
    app.until_clean().await;
}

/// A line of the process's own account, in KiB.
fn resident(app: &App, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", app.daemon().pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn whatever_the_order_and_the_memory_the_digest_is_right() {
    // Little memory: what is far ahead can't wait for its turn, and the digest has gaps.
    let app = App::with(&[("UPLOAD_PART_BYTES", "5MiB"), ("UPLOAD_MEMORY_BYTES", "24MiB")]).await;
    for seed in 0..4 {
        let bytes = noise(8 * PART + 77 * seed as usize, seed);
        let upload = chunks::create(&app, "x.bin", &bytes).await;
        scatter(&app, &upload, &bytes, 4, 9, seed).await;
        chunks::complete_as(&app, &upload, &bytes).await;
        assert!(chunks::stored(&app, &upload) == bytes);
    }
    app.until_clean().await;
}

#[tokio::test]
async fn from_last_to_first_the_digest_waits_for_one_read_of_the_object() {
    let app = App::with(&[("UPLOAD_PART_BYTES", "5MiB"), ("UPLOAD_MEMORY_BYTES", "24MiB")]).await;
    let bytes = noise(8 * PART, 9);
    let upload = chunks::create(&app, "x.bin", &bytes).await;
    for n in (0..8).rev() {
        chunks::put_of(&app, &upload, &bytes, n).await;
    }
    chunks::complete_as(&app, &upload, &bytes).await;
    assert_eq!(deferred(&app).await, 1);
    assert!(chunks::stored(&app, &upload) == bytes);
}

#[tokio::test]
async fn it_plays_before_its_chunks_have_all_come() {
    let app =
        App::with(&[("UPLOAD_PART_BYTES", "5MiB"), ("HLS_SEGMENT_SECONDS", "2"), ("HLS_LADDER", "aac:64k")]).await;
    let bytes = wav(44_100 * 160, 44_100);
    let upload = chunks::create(&app, "a.wav", &bytes).await;
    for n in [1, 0, 2] {
        chunks::put_of(&app, &upload, &bytes, n).await;
    }
    app.track_when(&upload.track, "playable", |t| t["state"] == "playable").await;
    assert!(upload.count > 5);
    for n in (3..upload.count).rev() {
        chunks::put_of(&app, &upload, &bytes, n).await;
    }
    chunks::complete_as(&app, &upload, &bytes).await;
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["sha256"]), (&json!("ready"), &json!(sha256(&bytes))), "{track}");
    app.until_clean().await;
}

#[tokio::test]
async fn nothing_at_all_is_whole_when_its_client_says_so() {
    let app = App::start().await;
    let upload = chunks::create(&app, "empty.wav", &[]).await;
    assert_eq!(upload.count, 0);
    assert_eq!(chunks::put(&app, &upload, 0, b"x").await.status(), 404);
    chunks::complete_as(&app, &upload, &[]).await;
}
