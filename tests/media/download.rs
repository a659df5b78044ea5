//! `download/original`: the very bytes that were uploaded, and what HTTP says about them.
//! URL-2: a download's link opens for DOWNLOAD_URL_TTL, thirty minutes unless set.

use std::time::{Duration, SystemTime};

use reqwest::{
    Method,
    header::{
        ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE,
        RANGE,
    },
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Shelf;
use crate::support::{app::App, player, sound, tus};

/// The link and what is told with it, or the refusal's status and code.
pub(crate) async fn link(app: &App, track: &str, format: &str) -> Result<Value, (u16, String)> {
    let answer = app.get(&format!("/api/v1/tracks/{track}/download?format={format}")).send().await.unwrap();
    let status = answer.status().as_u16();
    let told: Value = answer.json().await.unwrap();
    if status == 200 { Ok(told) } else { Err((status, told["code"].as_str().unwrap().to_owned())) }
}

pub(crate) fn path(told: &Value) -> String {
    told["url"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_original_comes_back_whole_or_in_parts() {
    let shelf = Shelf::start().await;
    let sent = sound::wav(7 * 44_100, 44_100);
    let told = link(&shelf.app, &shelf.track, "original").await.unwrap();
    assert_eq!((told["format"].as_str(), told["filename"].as_str()), (Some("original"), Some("a.wav")));
    assert_eq!(told["size"], sent.len());
    let path = path(&told);
    let answer = player::get(&shelf.app, &path).await;
    let etag = answer.headers()[ETAG].clone();
    assert_eq!(etag, format!("\"{}\"", pipeline::publish::hex(&Sha256::digest(&sent))));
    assert_eq!(answer.headers()[CONTENT_TYPE], "audio/wav");
    assert_eq!(answer.headers()[CONTENT_LENGTH], sent.len().to_string());
    assert_eq!(answer.headers()[CONTENT_DISPOSITION], "attachment; filename=\"a.wav\"; filename*=UTF-8''a.wav");
    assert!(answer.bytes().await.unwrap() == sent);
    let head = player::ask(&shelf.app, Method::HEAD, &path).await;
    assert_eq!((head.status().as_u16(), &head.headers()[CONTENT_LENGTH]), (200, &answer_len(&sent)));
    assert_eq!(head.headers()[ACCEPT_RANGES], "bytes");
    // Across the borders of reads.
    let (len, read) = (sent.len(), 512 << 10);
    for part in [0..1, read - 1..read + 1, 100..2 * read + 7, len - 3..len] {
        let range = format!("bytes={}-{}", part.start, part.end - 1);
        let answer = shelf.ask(Method::GET, &path).header(RANGE, &range).send().await.unwrap();
        assert_eq!(answer.status(), 206, "{range}");
        assert_eq!(answer.headers()[CONTENT_RANGE], format!("bytes {}-{}/{len}", part.start, part.end - 1));
        assert!(answer.bytes().await.unwrap() == sent[part], "{range}");
    }
    let ask = async |name, value: &str, range: &str| {
        let asked = shelf.ask(Method::GET, &path).header(name, value).header(RANGE, range);
        asked.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask(IF_RANGE, etag.to_str().unwrap(), "bytes=0-9").await, 206);
    assert_eq!(ask(IF_RANGE, "\"of something else\"", "bytes=0-9").await, 200);
    assert_eq!(ask(IF_NONE_MATCH, etag.to_str().unwrap(), "bytes=0-9").await, 304);
    assert_eq!(ask(IF_NONE_MATCH, "\"x\"", &format!("bytes={len}-")).await, 416);
    assert_eq!(ask(IF_NONE_MATCH, "\"x\"", "bytes=0-1,5-9").await, 416, "one range");
}

fn answer_len(bytes: &[u8]) -> http::HeaderValue {
    bytes.len().into()
}

#[tokio::test]
async fn a_link_to_keep_is_no_link_to_play_and_lasts_half_an_hour() {
    let shelf = Shelf::start().await;
    let told = link(&shelf.app, &shelf.track, "original").await.unwrap();
    let until = time::OffsetDateTime::parse(
        told["expires_at"].as_str().unwrap(),
        &time::format_description::well_known::Rfc3339,
    );
    let lasts = until.unwrap() - time::OffsetDateTime::from(SystemTime::now());
    assert!((1795.0..=1801.0).contains(&lasts.as_seconds_f64()), "{lasts}");
    let path = path(&told);
    let keeps = path.split('/').nth(2).unwrap();
    assert_eq!(shelf.refusal(&shelf.entry.replace(shelf.grant(), keeps)).await, "link_not_valid");
    assert_eq!(shelf.refusal(&path.replace(keeps, shelf.grant())).await, "link_not_valid");
    assert_eq!(shelf.refusal(&format!("{path}?x")).await, "link_not_valid");
    assert_eq!(shelf.status(&path.replace("/original", "/exe")).await, 404);
    let mut forged = keeps.to_owned();
    forged.replace_range(20..21, if &keeps[20..21] == "A" { "B" } else { "A" });
    assert_eq!(shelf.refusal(&path.replace(keeps, &forged)).await, "link_not_valid");
    // Revoked: the track's generation is another.
    let mut db = shelf.app.daemon().connect().await;
    sqlx::query("UPDATE tracks SET generation = generation + 1").execute(&mut db).await.unwrap();
    assert_eq!(shelf.refusal(&path).await, "link_not_valid");
}

#[tokio::test]
async fn a_link_ends_at_its_time() {
    let shelf = Shelf::with(&[("DOWNLOAD_URL_TTL", "1s")]).await;
    let path = path(&link(&shelf.app, &shelf.track, "original").await.unwrap());
    let begun = std::time::Instant::now();
    while shelf.status(&path).await == 200 {
        assert!(begun.elapsed() < Duration::from_secs(5), "it never ends");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(shelf.refusal(&path).await, "link_expired");
}

#[tokio::test]
async fn only_what_is_there_and_verified_can_be_kept() {
    let app = App::start().await;
    let upload = tus::create(&app, "half.wav", &vec![0; 4_000_000]).await;
    let code = link(&app, &upload.track, "original").await.unwrap_err();
    assert_eq!(code, (409, "not_stored_yet".to_owned()));
    assert_eq!(link(&app, &upload.track, "flac").await.unwrap_err().1, "not_stored_yet");
    assert_eq!(link(&app, &upload.track, "exe").await.unwrap_err(), (400, "bad_format".to_owned()));
    let nobody = "0123456789abcdef0123456789abcdef";
    assert_eq!(link(&app, nobody, "original").await.unwrap_err().0, 404);
    // Noise is no music, but it is its owner's.
    let noise = sound::noise(300_000, 7);
    let failed = tus::whole(&app, "so \"called\"\u{202e}.wav", &noise).await;
    assert_eq!(app.settled(&failed.track).await["state"], "failed");
    let told = link(&app, &failed.track, "original").await.unwrap();
    let answer = player::get(&app, &path(&told)).await;
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/octet-stream");
    assert_eq!(
        answer.headers()[CONTENT_DISPOSITION],
        "attachment; filename=\"so -called-.wav\"; filename*=UTF-8''so%20-called-.wav"
    );
    assert!(answer.bytes().await.unwrap() == noise);
    assert_eq!(link(&app, &failed.track, "flac").await.unwrap_err(), (409, "not_playable".to_owned()));
}
