//! `kill -9` of the real daemon at random bytes: what was acknowledged is there, what is stored is right, nothing is left.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use sqlx::Connection;

use crate::support::{
    app::{App, PATIENCE},
    sound::noise,
    tus::{self, Upload, begin_patch},
};

/// One upload through as many kills as the dice give it; returns how many.
async fn through_kills(app: &mut App, dice: &mut StdRng) -> u32 {
    let size = [3_000_000, 10_485_760, 10_485_761, 25_000_000][dice.random_range(0..4)];
    let bytes = noise(size, dice.random());
    let upload = tus::create(app, "x.bin", &bytes).await;
    let (mut acknowledged, mut kills) = (0, 0);
    loop {
        let offset = tus::offset(app, &upload).await as usize;
        assert!(offset >= acknowledged, "offset went back from {acknowledged} to {offset}");
        acknowledged = offset;
        if offset == size {
            break;
        }
        let end = (offset + [700_000, 8_000_000, size][dice.random_range(0..3)]).min(size);
        if dice.random_bool(0.5) {
            let cut = dice.random_range(offset..=end);
            let socket = begin_patch(app, &upload, offset as u64, end - offset, &bytes[offset..cut]);
            app.kill_and_boot().await;
            drop(socket);
            kills += 1;
        } else {
            let answer = tus::patch(app, &upload, offset as u64, &bytes[offset..end]).await;
            assert_eq!(answer.status(), 204);
            acknowledged = end;
        }
    }
    verify(app, &upload, &bytes).await;
    kills
}

async fn verify(app: &App, upload: &Upload, bytes: &[u8]) {
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(bytes));
    let file = app.data.join("store/objects/tracks").join(&upload.track).join(upload.path.rsplit('/').next().unwrap());
    assert_eq!(tus::sha256(&std::fs::read(file).unwrap()), tus::sha256(bytes));
}

#[tokio::test]
async fn a_hundred_kills_lose_nothing() {
    // U1, P0, P1. The seed is printed by the assertion's location; change it here to replay another.
    let mut dice = StdRng::seed_from_u64(0x4d69_6c6c);
    let mut app = App::start().await;
    let mut kills = 0;
    while kills < 100 {
        kills += through_kills(&mut app, &mut dice).await;
    }
    app.until_clean().await;
}

#[tokio::test]
async fn kill_after_acked_tail() {
    // Both reference servers put the offset back to 0 here.
    let mut app = App::start().await;
    let bytes = noise(3 << 20, 12);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes[..1 << 20]).await.status(), 204);
    let _running = begin_patch(&app, &upload, 1 << 20, 2 << 20, &bytes[1 << 20..2 << 20]);
    app.kill_and_boot().await;
    assert!(tus::offset(&app, &upload).await >= 1 << 20);
    app.kill_and_boot().await;
    let offset = tus::offset(&app, &upload).await as usize;
    assert_eq!(tus::patch(&app, &upload, offset as u64, &bytes[offset..]).await.status(), 204);
    verify(&app, &upload, &bytes).await;
}

/// Sends the second half while we hold `locks`, and kills the daemon once it stands `at` a point behind which it can't get.
async fn killed_at(locks: &'static str, at: &'static str, is_object_there: bool) {
    let mut app = App::start().await;
    let bytes = noise(2 << 20, 13);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes[..1 << 20]).await.status(), 204);
    let mut db = app.daemon().connect().await;
    let mut held = db.begin().await.unwrap();
    sqlx::raw_sql(locks).execute(&mut *held).await.unwrap();
    let mut last = begin_patch(&app, &upload, 1 << 20, 1 << 20, &bytes[1 << 20..]);
    app.until("at that point", at).await;
    let begun = Instant::now();
    while app.files("objects").is_empty() == is_object_there {
        assert!(begun.elapsed() < PATIENCE, "the object is there, or isn't: {:?}", app.files("objects"));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    app.kill();
    drop(held);
    assert_eq!(tus::answer(&mut last).0, 0, "nobody was told that it is done");
    app.boot().await;
    // No client asks: only the track is looked at.
    verify(&app, &upload, &bytes).await;
    app.until_clean().await;
}

#[tokio::test]
async fn an_upload_killed_between_its_last_byte_and_its_object_is_sealed_by_itself() {
    // The row of the last byte is committed. The edge `Seal` wants to write into `transition`: no object is asked for.
    let whole = "SELECT count(*) FROM uploads WHERE committed = length AND state = 'receiving'";
    killed_at("LOCK TABLE transition IN EXCLUSIVE MODE", whole, false).await;
}

#[tokio::test]
async fn an_upload_killed_between_its_object_and_the_row_that_says_so_is_stored_by_itself() {
    // The object is complete, and the edge `Store` wants the track's row.
    let sealing = "SELECT count(*) FROM uploads WHERE state = 'sealing'";
    killed_at("SELECT FROM tracks FOR UPDATE", sealing, true).await;
}
