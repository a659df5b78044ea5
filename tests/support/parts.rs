//! Partial and final uploads (tus extension concatenation), as a client makes them.

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use super::{
    app::{App, PATIENCE},
    tus::{self, Upload, request},
};

/// `POST /files` with that `Upload-Concat`.
pub fn post(app: &App, concat: &str) -> RequestBuilder {
    request(app, Method::POST, "/files").header("Upload-Concat", concat)
}

/// A partial upload of so many bytes, none of them sent.
pub async fn opened(app: &App, length: usize) -> Upload {
    let answer = post(app, "partial").header("Upload-Length", length).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    assert!(!answer.headers().contains_key("millrace-track"), "a partial is no track");
    Upload { path: answer.headers()["location"].to_str().unwrap().to_owned(), track: String::new() }
}

/// A partial upload with its bytes.
pub async fn stored(app: &App, bytes: &[u8]) -> Upload {
    let partial = opened(app, bytes.len()).await;
    if !bytes.is_empty() {
        let answer = tus::patch(app, &partial, 0, bytes).await;
        assert_eq!(answer.status(), 204, "{:?}", answer.text().await);
    }
    partial
}

/// `final;` and the partials' paths.
pub fn named(partials: &[&Upload]) -> String {
    format!("final;{}", partials.iter().map(|p| p.path.as_str()).collect::<Vec<_>>().join(" "))
}

/// A final upload of those, which promises the digest of `bytes`.
pub async fn joined(app: &App, partials: &[&Upload], bytes: &[u8]) -> Upload {
    let said = tus::metadata(&[("filename", "joined.bin"), ("sha256", &tus::sha256(bytes))]);
    let answer = post(app, &named(partials)).header("Upload-Metadata", said).send().await.unwrap();
    assert_eq!(answer.status(), 201, "{:?}", answer.text().await);
    assert!(!answer.headers().contains_key("upload-offset"));
    tus::upload(&answer)
}

/// Waits until it is stored, and compares it with the bytes.
pub async fn assert_joined(app: &App, whole: &Upload, bytes: &[u8]) {
    let begun = Instant::now();
    let head = loop {
        let head = tus::head(app, whole).await;
        if head.status() != 200 {
            panic!("it has ended: {}", ended(app, whole).await);
        }
        if head.headers().contains_key("upload-offset") {
            break head;
        }
        assert!(begun.elapsed() < PATIENCE, "never joined");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(tus::number(head.headers(), "upload-offset"), bytes.len() as u64);
    assert_eq!(tus::number(head.headers(), "upload-length"), bytes.len() as u64);
    let track = app.track(&whole.track).await;
    assert_eq!((&track["sha256"], &track["size"]), (&tus::sha256(bytes).into(), &bytes.len().into()), "{track}");
}

/// Waits until the final upload has ended without its bytes; how, and its track with it.
pub async fn failed(app: &App, whole: &Upload) -> String {
    let begun = Instant::now();
    while tus::head(app, whole).await.status() == 200 {
        assert!(begun.elapsed() < PATIENCE, "never ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    app.track_when(&whole.track, "failed", |t| t["state"] == "failed").await;
    ended(app, whole).await
}

/// The reason that a request hears, or the state.
async fn ended(app: &App, whole: &Upload) -> String {
    let answer = tus::patch(app, whole, 0, b"").await;
    assert_eq!(answer.status(), 410);
    let problem: Value = answer.json().await.unwrap();
    problem["reason"].as_str().or(problem["detail"].as_str()).unwrap().to_owned()
}

/// The status and the code of a refusal.
pub async fn refusal(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.unwrap();
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}
