//! The virus scan: nothing is published that clamd hasn't called clean, whichever way it saw the bytes.

use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use serde_json::Value;

use crate::{
    postgres::daemon,
    support::{
        app::{App, PATIENCE},
        clamd::{Clamd, Manner, eicar},
        sound::{noise, wav},
        tus::{self, OCTETS, Upload, metadata, request},
    },
};

/// A daemon that scans, and the scanner.
async fn scanning(more: &[(&str, &str)]) -> (App, Clamd) {
    let folder = daemon::folder();
    let socket = folder.path().join("clamd.ctl");
    let clamd = Clamd::listen(&socket);
    let address = format!("unix:{}", socket.display());
    let data = folder.path().join("data");
    let settings = [&[("CLAMD_ADDR", address.as_str())], more].concat();
    (App::at(folder, data, &settings).await, clamd)
}

/// A second of sound with something in it.
fn infected() -> Vec<u8> {
    let mut bytes = wav(88_200, 44_100);
    let at = bytes.len() - 5_000;
    let eicar = eicar();
    bytes[at..at + eicar.len()].copy_from_slice(&eicar);
    bytes
}

async fn code(answer: Response, status: u16) -> String {
    assert_eq!(answer.status(), status);
    let problem: Value = answer.json().await.unwrap();
    problem["code"].as_str().unwrap().to_owned()
}

/// The upload is over, its track has failed for that reason, and no byte of it is left.
async fn nothing_published(app: &App, upload: &Upload, reason: &str) {
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["stored"]), (&"failed".into(), &false.into()), "{track}");
    assert_eq!(tus::head(app, upload).await.status(), 410);
    let mut db = app.daemon().connect().await;
    let told: String = sqlx::query_scalar("SELECT reason FROM uploads").fetch_one(&mut db).await.unwrap();
    assert_eq!(told, reason);
    let begun = Instant::now();
    while !app.files("objects/tracks").is_empty() && reason == "infected" {
        assert!(begun.elapsed() < PATIENCE, "left: {:?}", app.files("objects/tracks"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if reason == "infected" {
        app.until_clean().await;
    }
}

async fn published(app: &App, upload: &Upload, bytes: &[u8]) {
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(bytes));
    assert_eq!(app.ask("SELECT count(*) FROM uploads WHERE scan = 'clean'").await, 1);
}

#[tokio::test]
async fn an_infected_upload_is_found_while_it_arrives() {
    // UP-25
    let (app, clamd) = scanning(&[]).await;
    let bytes = infected();
    let upload = tus::create(&app, "x.wav", &bytes).await;
    assert_eq!(code(tus::patch(&app, &upload, 0, &bytes).await, 422).await, "infected");
    assert_eq!(clamd.scans(), [bytes.len()], "seen once, while it came");
    let track = app.settled(&upload.track).await;
    assert_eq!(track["error"]["code"], "infected", "{track}");
    nothing_published(&app, &upload, "infected").await;
}

#[tokio::test]
async fn an_infected_upload_in_pieces_is_found_in_its_object_which_is_deleted() {
    let (app, clamd) = scanning(&[]).await;
    let bytes = infected();
    let upload = tus::create(&app, "x.wav", &bytes).await;
    let half = bytes.len() - 4_980;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes[..half]).await.status(), 204);
    assert_eq!(clamd.scans().iter().filter(|seen| **seen == bytes.len()).count(), 0);
    assert_eq!(code(tus::patch(&app, &upload, half as u64, &bytes[half..]).await, 422).await, "infected");
    assert_eq!(clamd.scans().last(), Some(&bytes.len()), "read back, every byte");
    nothing_published(&app, &upload, "infected").await;
}

#[tokio::test]
async fn creation_with_upload_is_scanned_too() {
    let (app, _clamd) = scanning(&[]).await;
    let bytes = infected();
    let post = request(&app, Method::POST, "/files").header("Upload-Length", bytes.len());
    let post = post.header("Content-Type", OCTETS).header("Upload-Metadata", metadata(&[("filename", "x.wav")]));
    assert_eq!(code(post.body(bytes).send().await.unwrap(), 422).await, "infected");
    assert_eq!(app.ask("SELECT count(*) FROM tracks WHERE stored_at IS NOT NULL").await, 0);
}

#[tokio::test]
async fn a_clean_upload_is_scanned_once_either_way() {
    let (app, clamd) = scanning(&[]).await;
    let bytes = noise(3 << 20, 20);
    let upload = tus::whole(&app, "x.bin", &bytes).await;
    published(&app, &upload, &bytes).await;
    assert_eq!(clamd.scans(), [bytes.len()]);

    let upload = tus::create(&app, "y.bin", &bytes).await;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes[..1 << 20]).await.status(), 204);
    assert_eq!(tus::patch(&app, &upload, 1 << 20, &bytes[1 << 20..]).await.status(), 204);
    assert_eq!(clamd.scans().iter().filter(|seen| **seen == bytes.len()).count(), 2);
}

#[tokio::test]
async fn a_scanner_that_falls_behind_is_left_and_asked_again_at_the_end() {
    let (app, clamd) = scanning(&[]).await;
    clamd.next(&[Manner::Stall]);
    let mut bytes = noise(24 << 20, 21);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    let answer = tus::patch(&app, &upload, 0, &bytes).await;
    assert_eq!(answer.status(), 204, "ingest waited for no scanner");
    published(&app, &upload, &bytes).await;
    assert_eq!(clamd.scans(), [bytes.len()]);
    // The same, and there is something to find.
    clamd.next(&[Manner::Stall]);
    let at = bytes.len() - 100;
    bytes[at..at + eicar().len()].copy_from_slice(&eicar());
    let upload = tus::create(&app, "y.bin", &bytes).await;
    assert_eq!(code(tus::patch(&app, &upload, 0, &bytes).await, 422).await, "infected");
}

#[tokio::test]
async fn a_scanner_that_hangs_up_is_asked_again_at_the_end() {
    let (app, clamd) = scanning(&[]).await;
    clamd.next(&[Manner::Cut(1 << 20)]);
    let bytes = infected_noise(4 << 20);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    assert_eq!(code(tus::patch(&app, &upload, 0, &bytes).await, 422).await, "infected");
    assert_eq!(clamd.scans().len(), 2);
    nothing_published(&app, &upload, "infected").await;
}

fn infected_noise(len: usize) -> Vec<u8> {
    let mut bytes = noise(len, 22);
    bytes[1000..1000 + eicar().len()].copy_from_slice(&eicar());
    bytes
}

#[tokio::test]
async fn what_is_too_large_to_scan_is_not_published() {
    let (app, clamd) = scanning(&[]).await;
    clamd.always(Manner::Limit(1 << 20));
    let bytes = noise(2 << 20, 23);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    assert_eq!(code(tus::patch(&app, &upload, 0, &bytes).await, 422).await, "too_large_to_scan");
    nothing_published(&app, &upload, "too_large_to_scan").await;
    // One that fits is.
    let small = noise(1 << 20, 24);
    published(&app, &tus::whole(&app, "y.bin", &small).await, &small).await;
}

#[tokio::test]
async fn while_the_scanner_is_away_nothing_is_published_and_nothing_is_lost() {
    let folder = daemon::folder();
    let socket = folder.path().join("clamd.ctl");
    let address = format!("unix:{}", socket.display());
    let data = folder.path().join("data");
    let app = App::at(folder, data, &[("CLAMD_ADDR", &address)]).await;
    let bytes = noise(2 << 20, 25);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    let answer = tus::patch(&app, &upload, 0, &bytes).await;
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(code(answer, 503).await, "unavailable");
    assert_eq!(tus::offset(&app, &upload).await, bytes.len() as u64, "every byte is acknowledged");
    assert_eq!(app.track(&upload.track).await["stored"], false);
    assert_eq!(tus::patch(&app, &upload, bytes.len() as u64, b"").await.status(), 503, "and still");
    let clamd = Clamd::listen(&socket);
    published(&app, &upload, &bytes).await;
    assert_eq!(clamd.scans(), [bytes.len()]);
}

#[tokio::test]
async fn a_scanner_that_is_silent_or_in_trouble_counts_as_away() {
    let (app, clamd) = scanning(&[("CLAMD_TIMEOUT", "500ms")]).await;
    clamd.always(Manner::Stall);
    let bytes = noise(1 << 20, 26);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes).await.status(), 503);
    clamd.always(Manner::Error);
    let begun = Instant::now();
    while clamd.scans().is_empty() {
        assert!(begun.elapsed() < PATIENCE, "never asked again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(app.track(&upload.track).await["stored"], false, "an error is no verdict");
    clamd.always(Manner::Well);
    published(&app, &upload, &bytes).await;
}

#[tokio::test]
async fn the_ietfs_door_is_scanned_like_any() {
    let (app, _clamd) = scanning(&[]).await;
    let bytes = infected();
    let post = app.post("/files").header("Upload-Draft-Interop-Version", "8").header("Upload-Complete", "?1");
    let answer = post.header("Content-Type", "audio/wav").body(bytes).send().await.unwrap();
    assert_eq!(answer.headers()["upload-complete"], "?1", "no byte more would help");
    assert_eq!(code(answer, 422).await, "infected");
    assert_eq!(app.ask("SELECT count(*) FROM tracks WHERE stored_at IS NOT NULL").await, 0);
}
