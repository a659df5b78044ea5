//! `download/{flac,wav,mp3,aac,opus}`: made once for all who ask, followed while they are made, kept, and forgotten.

use std::time::{Duration, Instant};

use reqwest::{
    Method,
    header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, RANGE},
};

use super::{
    Shelf,
    download::{link, path},
};
use crate::{
    media_worker::support::{decoded, ffmpeg},
    support::{app::App, app::PATIENCE, player, sound, tus},
};

/// All that a growing download gave, and whether it ended well.
async fn all(answer: reqwest::Response) -> (Vec<u8>, bool) {
    let mut answer = answer;
    let mut bytes = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(some)) => bytes.extend_from_slice(&some),
            Ok(None) => return (bytes, true),
            Err(_) => return (bytes, false),
        }
    }
}

async fn ready(app: &App, name: &str, bytes: &[u8]) -> String {
    let track = tus::whole(app, name, bytes).await.track;
    assert_eq!(app.settled(&track).await["state"], "ready");
    track
}

#[tokio::test]
async fn eight_ask_at_once_and_one_worker_makes_it() {
    let shelf = Shelf::start().await;
    let path = path(&link(&shelf.app, &shelf.track, "flac").await.unwrap());
    let asked = (0..8).map(|_| async { all(player::get(&shelf.app, &path).await).await });
    let got = futures_util::future::join_all(asked).await;
    assert!(got.iter().all(|(bytes, whole)| *whole && *bytes == got[0].0));
    let wav = sound::wav(7 * 44_100, 44_100);
    let plain = ffmpeg(&got[0].0, &[], &["-f", "s16le"], "out.raw");
    assert!(plain == wav[44..], "bit by bit");
    assert_eq!(
        shelf.app.ask("SELECT count(*) FROM jobs WHERE kind = 'render' AND done_at IS NOT NULL AND token = 1").await,
        1
    );
    assert_eq!(shelf.app.ask("SELECT count(*) FROM renditions WHERE whole_at IS NOT NULL").await, 1);
    // Whole now: with a length, a name, and any part of it.
    let told = link(&shelf.app, &shelf.track, "flac").await.unwrap();
    assert_eq!((&told["size"], &told["filename"]), (&got[0].0.len().into(), &"a.flac".into()));
    let head = player::ask(&shelf.app, Method::HEAD, &path).await;
    assert_eq!(head.headers()[CONTENT_LENGTH], got[0].0.len().to_string());
    assert_eq!(head.headers()[CONTENT_TYPE], "audio/flac");
    assert_eq!(head.headers()[CONTENT_DISPOSITION], "attachment; filename=\"a.flac\"; filename*=UTF-8''a.flac");
    assert_eq!(head.headers()[ETAG], format!("\"{}\"", tus::sha256(&got[0].0)));
    let border = 256 << 10;
    let range = format!("bytes={}-{}", border - 2, border + 1);
    let part = shelf.ask(Method::GET, &path).header(RANGE, range).send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert!(part.bytes().await.unwrap() == got[0].0[border - 2..border + 2], "across two pieces");
    // Another title is another file; the old one stays until nobody has asked for it in a while.
    let titled = shelf.app.http.patch(shelf.app.url(&format!("/api/v1/tracks/{}", shelf.track)));
    let titled =
        titled.bearer_auth(&shelf.app.token).json(&serde_json::json!({ "title": "New" })).send().await.unwrap();
    assert_eq!(titled.status(), 200);
    let (new, whole) = all(player::get(&shelf.app, &path).await).await;
    assert!(whole && new != got[0].0 && new.windows(9).any(|w| w == b"TITLE=New"));
    shelf.app.until_clean().await;
    let mut db = shelf.app.daemon().connect().await;
    sqlx::query("UPDATE renditions SET used_at = now() - interval '31 days'").execute(&mut db).await.unwrap();
    shelf
        .app
        .until(
            "forgotten",
            "SELECT ((SELECT count(*) FROM renditions) + (SELECT count(*) FROM store_trash) = 0)::int::bigint",
        )
        .await;
    shelf.app.until_clean().await;
    assert!(shelf.app.files("objects/renditions").is_empty());
}

#[tokio::test]
async fn every_format_comes_and_a_lossy_source_keeps_its_original_alone() {
    let shelf = Shelf::start().await;
    for (format, begins, media_type) in [
        ("wav", &b"RIFF"[..], "audio/wav"),
        ("mp3", b"ID3\x04", "audio/mpeg"),
        ("aac", b"\0\0\0", "audio/mp4"),
        ("opus", b"OggS", "audio/ogg"),
    ] {
        let answer = player::get(&shelf.app, &path(&link(&shelf.app, &shelf.track, format).await.unwrap())).await;
        assert_eq!((answer.status().as_u16(), answer.headers()[CONTENT_TYPE].to_str().unwrap()), (200, media_type));
        let (bytes, whole) = all(answer).await;
        assert!(whole && bytes.starts_with(begins), "{format}");
        let seconds = decoded(&bytes).len() as f64 / 2.0 / if format == "opus" { 48_000.0 } else { 44_100.0 };
        assert!((seconds - 7.0).abs() < 0.024, "{format}: {seconds} s");
    }
    let mp3 = ffmpeg(&sound::wav(44_100, 44_100), &[], &["-b:a", "192k"], "a.mp3");
    let lossy = ready(&shelf.app, "lossy.mp3", &mp3).await;
    for format in ["flac", "wav", "mp3", "aac", "opus"] {
        assert_eq!(link(&shelf.app, &lossy, format).await.unwrap_err(), (409, "no_lossless_source".to_owned()));
    }
    let original = path(&link(&shelf.app, &lossy, "original").await.unwrap());
    assert!(player::bytes(&shelf.app, &original).await == mp3);
    assert_eq!(shelf.status(&original.replace("/original", "/flac")).await, 404, "nor by a link that was altered");
}

#[tokio::test]
async fn a_kill_in_the_middle_cuts_off_and_the_next_holder_goes_on_with_the_same_bytes() {
    let mut app = App::with(&[("HLS_LADDER", "aac:64k")]).await;
    // Long enough to be caught in the middle of: the coder makes some seconds' work of it.
    let flac = ffmpeg(&sound::wav(50 * 44_100, 44_100), &[], &[], "a.flac");
    let track = ready(&app, "a.flac", &flac).await;
    let path = path(&link(&app, &track, "aac").await.unwrap());
    let mut growing = player::get(&app, &path).await;
    let first = growing.chunk().await.unwrap().unwrap();
    assert!(growing.headers().get(CONTENT_LENGTH).is_none(), "nobody knows yet");
    app.kill();
    let (more, whole) = all(growing).await;
    assert!(!whole, "never a clean end over a part of a file");
    app.boot().await;
    let (again, whole) = all(player::get(&app, &path).await).await;
    let early = [&first[..], &more].concat();
    assert!(whole && again.starts_with(&early) && again.len() > early.len());
    assert_eq!(app.ask("SELECT attempt::bigint FROM renditions").await, 1, "the same bytes: no second attempt");
    assert!(player::bytes(&app, &path).await == again);
    app.until_clean().await;
}

#[tokio::test]
async fn a_piece_that_isn_t_what_was_made_before_is_never_joined_to_others() {
    let shelf = Shelf::start().await;
    let path = path(&link(&shelf.app, &shelf.track, "wav").await.unwrap());
    let (made, _) = all(player::get(&shelf.app, &path).await).await;
    // As if another build had made it: its first piece had other bytes, and its end never came.
    let mut db = shelf.app.daemon().connect().await;
    let other = "UPDATE rendition_pieces SET sha = sha256('other') WHERE n = 0;
        DELETE FROM rendition_pieces WHERE n > 0;
        UPDATE renditions SET whole_at = NULL;
        UPDATE jobs SET done_at = NULL WHERE kind = 'render'";
    sqlx::raw_sql(other).execute(&mut db).await.unwrap();
    shelf.app.until("made anew", "SELECT count(*) FROM renditions WHERE whole_at IS NOT NULL AND attempt = 2").await;
    assert!(player::bytes(&shelf.app, &path).await == made);
    shelf.app.until_clean().await;
}

#[tokio::test]
async fn what_can_t_be_made_is_said_with_a_stable_code() {
    let shelf = Shelf::start().await;
    // The stored bytes aren't sound any more: as rot would have it.
    let object = shelf.app.files("objects/tracks").swap_remove(0);
    let len = std::fs::metadata(&object).unwrap().len() as usize;
    std::fs::write(&object, sound::noise(len, 3)).unwrap();
    let path = path(&link(&shelf.app, &shelf.track, "opus").await.unwrap());
    let begun = Instant::now();
    let answer = player::get(&shelf.app, &path).await;
    let status = answer.status().as_u16();
    let told: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(
        (status, told["code"].as_str(), told["reason"].as_str()),
        (409, Some("not_made"), Some("unsupported_media"))
    );
    assert!(begun.elapsed() < PATIENCE / 2);
    let again = player::get(&shelf.app, &path).await.json::<serde_json::Value>().await.unwrap();
    assert_eq!(again["code"], "not_made", "and again, without another try");
    tokio::time::timeout(Duration::from_secs(20), shelf.app.until_clean()).await.unwrap();
}
