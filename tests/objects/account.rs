//! What an account may do is the same by every door, and on S3 as on a disk: bytes, open uploads, creations a minute, and
//! nothing infected. What was done by one door counts for the others.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::app;
use crate::{
    postgres::daemon,
    support::{
        app::App,
        chunks,
        clamd::{Clamd, eicar},
        ietf,
        s3::Strict,
        sound::noise,
        tus::{self, OCTETS},
    },
};

const DOORS: [&str; 3] = ["tus", "ietf", "chunks"];
const KIB: usize = 1 << 10;

/// The creation of an upload of so many bytes.
fn creation(app: &App, door: &str, bytes: usize) -> RequestBuilder {
    match door {
        "tus" => tus::request(app, Method::POST, "/files").header("Upload-Length", bytes),
        "ietf" => {
            let post = ietf::request(app, Method::POST, "/files").header("Upload-Complete", "?0");
            post.header("Upload-Length", bytes)
        }
        _ => app.post("/api/v1/uploads").json(&json!({ "filename": "x.bin", "size": bytes })),
    }
}

/// Status and code; no code when it was made.
async fn created(app: &App, door: &str, bytes: usize) -> (u16, String) {
    coded(creation(app, door, bytes)).await
}

async fn coded(request: RequestBuilder) -> (u16, String) {
    let (status, told): (u16, Value) = chunks::answer(request).await;
    (status, told["code"].as_str().unwrap_or_default().to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn bytes_are_counted_over_all_doors() {
    let store = Strict::start();
    let app = app(store.settings(), &[("UPLOAD_ACCOUNT_BYTES", "1MiB")]).await;
    for door in DOORS {
        assert_eq!(created(&app, door, 300 * KIB).await.0, 201, "{door}");
    }
    for door in DOORS {
        assert_eq!(created(&app, door, 300 * KIB).await, refused(413, "quota_exceeded"), "{door}");
        assert_eq!(created(&app, door, KIB).await.0, 201, "{door}: there is room for less");
    }
}

/// With this limit set to 3, one upload by each door is all, whichever is tried.
async fn three_are_all(limit: &str, code: &str) {
    let store = Strict::start();
    let app = app(store.settings(), &[(limit, "3")]).await;
    for door in DOORS {
        assert_eq!(created(&app, door, 10).await.0, 201, "{door}");
    }
    for door in DOORS {
        assert_eq!(created(&app, door, 10).await, refused(429, code), "{door}");
    }
}

#[tokio::test]
async fn open_uploads_are_counted_over_all_doors() {
    three_are_all("UPLOAD_ACCOUNT_OPEN", "too_many_uploads").await;
}

#[tokio::test]
async fn creations_are_counted_over_all_doors() {
    three_are_all("UPLOAD_CREATIONS_PER_MINUTE", "too_fast").await;
}

/// Sends a file by this door; how its end was answered.
async fn whole(app: &App, door: &str, bytes: &[u8]) -> (u16, String) {
    match door {
        "tus" => {
            let post = creation(app, door, bytes.len()).header("Content-Type", OCTETS);
            coded(post.body(bytes.to_vec())).await
        }
        "ietf" => {
            let upload = ietf::create(app, Some(bytes.len())).await;
            coded(ietf::appending(app, &upload, 0, true).body(bytes.to_vec())).await
        }
        _ => {
            let upload = chunks::create(app, "x.bin", bytes).await;
            for n in (0..upload.count).rev() {
                chunks::put_of(app, &upload, bytes, n).await;
            }
            coded(app.post(&format!("{}/complete", upload.path()))).await
        }
    }
}

#[tokio::test]
async fn nothing_infected_comes_in_by_any_door() {
    let store = Strict::start();
    let folder = daemon::folder();
    let socket = folder.path().join("clamd.ctl");
    let clamd = Clamd::listen(&socket);
    let address = format!("unix:{}", socket.display());
    let app = app(store.settings(), &[("CLAMD_ADDR", &address)]).await;
    let clean = noise(6 << 20, 7);
    let mut infected = clean.clone();
    let at = infected.len() - 200;
    infected[at..at + eicar().len()].copy_from_slice(&eicar());
    for door in DOORS {
        assert_eq!(whole(&app, door, &infected).await, refused(422, "infected"), "{door}");
    }
    assert_eq!(app.ask("SELECT count(*) FROM uploads WHERE reason = 'infected'").await, 3);
    assert_eq!(app.ask("SELECT count(*) FROM tracks WHERE stored_at IS NOT NULL").await, 0);
    assert!(clamd.scans().contains(&infected.len()), "every byte was seen");
    for door in DOORS {
        assert!(matches!(whole(&app, door, &clean).await.0, 200..=204), "{door}");
    }
    app.until("deleted", "SELECT (count(*) = 0)::int::bigint FROM store_trash").await;
    assert_eq!(store.keys("tracks/").len(), 3, "of the infected ones nothing is left");
}
