//! What one account may hold and begin: bytes, open uploads, creations a minute.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::{Method, Response};
use serde_json::Value;

use crate::support::{
    app::{App, PATIENCE},
    sound::noise,
    tus::{self, Upload, request},
};

const KIB: usize = 1 << 10;

async fn create(app: &App, length: usize) -> Response {
    request(app, Method::POST, "/files").header("Upload-Length", length).send().await.unwrap()
}

/// The code of a refusal, and what it says in `Retry-After`.
async fn refused(answer: Response, status: u16) -> (String, Option<u64>) {
    assert_eq!(answer.status(), status);
    let wait = answer.headers().get("retry-after").map(|v| v.to_str().unwrap().parse().unwrap());
    let problem: Value = answer.json().await.unwrap();
    (problem["code"].as_str().unwrap().to_owned(), wait)
}

/// Twenty creations at once; how many were made, and why the others weren't.
async fn twenty_at_once(app: &App, length: usize) -> (usize, Vec<String>) {
    let answers = join_all((0..20).map(|_| create(app, length))).await;
    let (mut made, mut codes) = (0, Vec::new());
    for answer in answers {
        if answer.status() == 201 {
            made += 1;
        } else {
            let problem: Value = answer.json().await.unwrap();
            codes.push(problem["code"].as_str().unwrap().to_owned());
        }
    }
    (made, codes)
}

#[tokio::test]
async fn twenty_at_once_against_a_limit_of_five_are_five() {
    let app = App::with(&[("UPLOAD_ACCOUNT_OPEN", "5")]).await;
    let (made, codes) = twenty_at_once(&app, 10).await;
    assert_eq!((made, codes.len()), (5, 15));
    assert!(codes.iter().all(|code| code == "too_many_uploads"), "{codes:?}");
    assert_eq!(app.ask("SELECT count(*) FROM uploads").await, 5, "what was refused left a row");
    let (code, wait) = refused(create(&app, 10).await, 429).await;
    assert!(code == "too_many_uploads" && wait.is_some_and(|s| s > 0));
    // Who ends one may begin one.
    let mut db = app.daemon().connect().await;
    let id: uuid::Uuid = sqlx::query_scalar("SELECT id FROM uploads LIMIT 1").fetch_one(&mut db).await.unwrap();
    let ended = request(&app, Method::DELETE, &format!("/files/{id}")).send().await.unwrap();
    assert_eq!(ended.status(), 204);
    assert_eq!(create(&app, 10).await.status(), 201);
    assert_eq!(create(&app, 10).await.status(), 429);
}

#[tokio::test]
async fn a_loop_gone_wild_is_told_when_to_come_back() {
    let app = App::with(&[("UPLOAD_CREATIONS_PER_MINUTE", "7")]).await;
    let (made, codes) = twenty_at_once(&app, 10).await;
    assert_eq!(made, 7);
    assert!(codes.iter().all(|code| code == "too_fast"), "{codes:?}");
    let (_, wait) = refused(create(&app, 10).await, 429).await;
    assert!(wait.is_some_and(|s| (1..=61).contains(&s)), "{wait:?}");
    // As if that minute had gone by for one of them.
    let mut db = app.daemon().connect().await;
    let older = "UPDATE uploads SET created_at = created_at - interval '61 s'
                  WHERE id = (SELECT id FROM uploads ORDER BY created_at LIMIT 1)";
    sqlx::query(older).execute(&mut db).await.unwrap();
    assert_eq!(create(&app, 10).await.status(), 201);
    assert_eq!(create(&app, 10).await.status(), 429);
}

#[tokio::test]
async fn bytes_are_reserved_when_promised_and_given_back() {
    let app = App::with(&[("UPLOAD_ACCOUNT_BYTES", "1MiB")]).await;
    let (made, codes) = twenty_at_once(&app, 300 * KIB).await;
    assert_eq!((made, codes.len()), (3, 17), "three times 300 KiB fit in 1 MiB");
    assert!(codes.iter().all(|code| code == "quota_exceeded"), "{codes:?}");
    let mut db = app.daemon().connect().await;
    let ids: Vec<uuid::Uuid> = sqlx::query_scalar("SELECT id FROM uploads").fetch_all(&mut db).await.unwrap();
    for id in &ids[1..] {
        assert_eq!(request(&app, Method::DELETE, &format!("/files/{id}")).send().await.unwrap().status(), 204);
    }
    // What is stored stays counted.
    let bytes = noise(300 * KIB, 3);
    let first = Upload { path: format!("/files/{}", ids[0]), track: String::new() };
    assert_eq!(tus::patch(&app, &first, 0, &bytes).await.status(), 204);
    assert_eq!(refused(create(&app, 725 * KIB).await, 413).await, ("quota_exceeded".into(), None));
    assert_eq!(create(&app, 724 * KIB).await.status(), 201, "exactly the rest is accepted");
    assert_eq!(create(&app, 1).await.status(), 413);
    assert_eq!(create(&app, 0).await.status(), 201, "nothing needs no room");
}

/// An upload whose length is said later.
async fn deferred(app: &App) -> Upload {
    let answer = request(app, Method::POST, "/files").header("Upload-Defer-Length", "1").send().await.unwrap();
    assert_eq!(answer.status(), 201);
    tus::upload(&answer)
}

#[tokio::test]
async fn a_length_that_is_said_late_is_promised_then() {
    let app = App::with(&[("UPLOAD_ACCOUNT_BYTES", "1MiB")]).await;
    let uploads = join_all((0..5).map(|_| deferred(&app))).await;
    let said = uploads.iter().map(|upload| {
        let patch = request(&app, Method::PATCH, &upload.path).header("Content-Type", tus::OCTETS);
        patch.header("Upload-Offset", 0).header("Upload-Length", 300 * KIB).send()
    });
    let answers = join_all(said).await.into_iter().map(|answer| answer.unwrap().status().as_u16());
    let (taken, refused): (Vec<_>, Vec<_>) = answers.partition(|status| *status == 204);
    assert_eq!((taken.len(), refused), (3, vec![413; 2]), "all at once, and three have room");
    assert_eq!(create(&app, 200 * KIB).await.status(), 413);
}

#[tokio::test]
async fn finals_of_the_same_partial_each_need_room() {
    let app = App::with(&[("UPLOAD_ACCOUNT_BYTES", "1MiB")]).await;
    let bytes = noise(400 * KIB, 6);
    let post = || request(&app, Method::POST, "/files");
    let partial = post().header("Upload-Length", bytes.len()).header("Upload-Concat", "partial").send().await.unwrap();
    let path = partial.headers()["location"].to_str().unwrap().to_owned();
    let partial = Upload { path: path.clone(), track: String::new() };
    assert_eq!(tus::patch(&app, &partial, 0, &bytes).await.status(), 204);
    let finals = join_all((0..4).map(|_| post().header("Upload-Concat", format!("final;{path}")).send())).await;
    assert!(finals.into_iter().all(|answer| answer.unwrap().status() == 201));
    let begun = Instant::now();
    while app.ask("SELECT count(*) FROM uploads WHERE kind = 'final' AND state IN ('stored', 'failed')").await < 4 {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(app.ask("SELECT count(*) FROM uploads WHERE kind = 'final' AND state = 'stored'").await, 2);
    assert_eq!(app.ask("SELECT count(*) FROM uploads WHERE reason = 'quota_exceeded'").await, 2);
}

#[tokio::test]
async fn an_upload_of_unknown_length_grows_as_far_as_the_account_goes() {
    let app = App::with(&[("UPLOAD_ACCOUNT_BYTES", "1MiB")]).await;
    assert_eq!(create(&app, 500 * KIB).await.status(), 201);
    let upload = deferred(&app).await;
    let bytes = noise(600 * KIB, 4);
    assert_eq!(tus::patch(&app, &upload, 0, &bytes[..200 * KIB]).await.status(), 204);
    let (code, _) = refused(tus::patch(&app, &upload, 200 * KIB as u64, &bytes[200 * KIB..]).await, 413).await;
    assert_eq!(code, "quota_exceeded");
    let offset = tus::offset(&app, &upload).await as usize;
    assert!((200 * KIB..=524 * KIB).contains(&offset), "{offset}");
    // What it committed counts for others.
    assert_eq!(create(&app, 330 * KIB).await.status(), 413);
}

#[tokio::test]
async fn a_limit_that_was_lowered_meanwhile_holds_at_the_seal() {
    let mut app = App::with(&[("UPLOAD_ACCOUNT_BYTES", "1MiB")]).await;
    let bytes = noise(800 * KIB, 5);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes[..400 * KIB]).await.status(), 204);
    app.set("UPLOAD_ACCOUNT_BYTES", "700KiB");
    app.kill_and_boot().await;
    let (code, _) = refused(tus::patch(&app, &upload, 400 * KIB as u64, &bytes[400 * KIB..]).await, 413).await;
    assert_eq!(code, "quota_exceeded");
    assert_eq!(app.settled(&upload.track).await["state"], "failed");
    assert_eq!(app.ask("SELECT count(*) FROM uploads WHERE state = 'failed' AND reason = 'quota_exceeded'").await, 1);
    assert!(app.files("objects").is_empty(), "nothing was published");
}

#[tokio::test]
async fn others_have_their_own() {
    let mut app = App::with(&[("UPLOAD_ACCOUNT_OPEN", "1"), ("UPLOAD_ACCOUNT_BYTES", "1MiB")]).await;
    assert_eq!(create(&app, 1 << 20).await.status(), 201);
    assert_eq!(create(&app, 0).await.status(), 429);
    let db = sqlx::PgPool::connect(&app.daemon().database_url()).await.unwrap();
    let other = api::accounts::flow::create_user(&db, "other", "creator").await.unwrap();
    app.token = api::accounts::flow::create_token(&db, other, "test").await.unwrap().reveal().to_owned();
    assert_eq!(create(&app, 1 << 20).await.status(), 201);
}
