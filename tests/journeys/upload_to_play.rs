//! A file is uploaded, plays while it arrives, and afterwards is exactly what was sent.

use std::io::Write;

use api::accounts::flow;
use serde_json::Value;
use sqlx::PgPool;

use crate::{
    media_worker::support as media,
    support::{
        app::App,
        player, sound,
        tus::{self, Upload},
    },
};

/// Some music that nobody made for this test.
const MUSIC: &str = "/usr/share/sonic-pi/samples/loop_garzul.flac";

#[tokio::test]
async fn it_plays_before_half_of_it_has_arrived() {
    let app = App::start().await;
    let wav = sound::wav(40 * 44_100, 44_100);
    let upload = tus::create(&app, "slow.wav", &wav).await;
    let half = wav.len() / 2;
    let mut socket = tus::begin_patch(&app, &upload, 0, wav.len(), &wav[..1000]);
    // A bit less than half of it, in pieces as a line brings them.
    let sent = half - 100_000;
    for piece in wav[1000..sent].chunks(200_000) {
        socket.write_all(piece).unwrap();
    }
    app.track_when(&upload.track, "playable", |t| t["state"] == "playable").await;
    let begun = app.track_when(&upload.track, "two segments long", |t| t["segments_ready"].as_i64() >= Some(2)).await;
    assert!(begun["upload"]["offset"].as_u64().unwrap() <= sent as u64 && begun["sha256"].is_null(), "{begun}");

    let entry = player::stream(&app, &upload.track).await;
    assert!(entry.ends_with("/live.m3u8"));
    let rungs = player::rungs(&app, &entry).await;
    assert_eq!(rungs.len(), 4);
    for rung in &rungs {
        assert!(rung.text.contains("#EXT-X-PLAYLIST-TYPE:EVENT") && !rung.is_ended());
        assert!(!rung.segments().is_empty(), "{}", rung.text);
        for path in [rung.init(), rung.segments()[0].clone()] {
            assert_eq!(player::status(&app, &path).await, 200);
        }
        let vod = rung.path.replace("live.m3u8", "vod.m3u8");
        assert_eq!(player::status(&app, &vod).await, 404, "not before it is ready");
    }
    assert_closed_to_others(&app, &upload, &entry).await;

    socket.write_all(&wav[sent..]).unwrap();
    assert_eq!(tus::answer(&mut socket).0, 204);
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["sha256"]), (&"ready".into(), &tus::sha256(&wav).into()), "{track}");
    assert_eq!(track["samples"], 40 * 44_100);
    assert_eq!(assert_whole(&app, &track).await.len(), 4);
    let grown = player::rungs(&app, &entry).await;
    assert!(grown.iter().all(player::List::is_ended), "who began while it grew hears the end");
    app.until_clean().await;
}

/// Nobody but the uploader gets in, or learns that there is something.
async fn assert_closed_to_others(app: &App, upload: &Upload, entry: &str) {
    let db = PgPool::connect(&app.daemon().database_url()).await.unwrap();
    let other = flow::create_user(&db, "Other", "creator").await.unwrap();
    let token = flow::create_token(&db, other, "test").await.unwrap().reveal().to_owned();
    let path = format!("/api/v1/tracks/{}", upload.track);
    for path in [path.clone(), format!("{path}/stream")] {
        let answer = app.http.get(app.url(&path)).bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(player::status(app, &path).await, 401, "{path}");
    }
    let grant = entry.split('/').nth(2).unwrap();
    let without = entry.replace(grant, &"A".repeat(grant.len()));
    let answer = app.http.get(app.url(&without)).bearer_auth(&token).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(player::status(app, &entry.replace(&format!("{grant}/"), "")).await, 404);
}

/// Every rung is there to its last sample; returns their playlists.
async fn assert_whole(app: &App, track: &Value) -> Vec<player::List> {
    let entry = player::stream(app, track["id"].as_str().unwrap()).await;
    assert!(entry.ends_with("/index.m3u8"));
    let number = |name: &str| track[name].as_u64().unwrap();
    let micros = number("samples") * 1_000_000 / number("rate");
    let rungs = player::rungs(app, &entry).await;
    for rung in &rungs {
        assert!(rung.text.contains("#EXT-X-PLAYLIST-TYPE:VOD") && rung.is_ended());
        assert!(rung.micros().abs_diff(micros) <= 1, "{} isn't {micros}", rung.micros());
        let segments = rung.segments();
        for path in [&segments[0], segments.last().unwrap()] {
            assert_eq!(player::status(app, path).await, 200);
        }
    }
    rungs
}

#[tokio::test]
async fn flac_comes_back_sample_by_sample() {
    let app = App::start().await;
    let file = std::fs::read(MUSIC).expect("Debian's sonic-pi-samples");
    let raw = media::ffmpeg(&file, &[], &["-f", "s16le"], "out.raw");
    let source: Vec<i16> = raw.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    let upload = tus::whole(&app, "loop.flac", &file).await;
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["lossless"]), (&"ready".into(), &true.into()), "{track}");
    let samples = source.len() as u64 / 2;
    assert_eq!((&track["samples"], &track["rate"]), (&samples.into(), &44_100.into()));
    assert_eq!(track["start_pad"], 1024, "what the edit list of an AAC rung says");
    let rungs = assert_whole(&app, &track).await;
    assert_eq!(rungs.len(), 4);
    for (n, rung) in rungs.iter().enumerate() {
        let whole = player::download(&app, rung).await;
        assert_eq!(timeline(&app, rung).await, samples);
        let heard = media::decoded(&whole);
        if n == 3 {
            assert!(heard == source, "the FLAC rung is the source, bit for bit");
        } else {
            // A decoder gives the last packet whole; the timeline above says where the sound ends in it.
            let over = heard.len().checked_sub(source.len()).expect("nothing is missing");
            assert!(over < 2 * 1024, "{over}");
        }
        assert_eq!(media::lag(&source, &heard), 0, "rung {n}");
    }
}

/// Samples that the boxes of a rung tell, without the coder's priming.
async fn timeline(app: &App, rung: &player::List) -> u64 {
    use pipeline::media::fmp4;
    let init = fmp4::init(&player::bytes(app, &rung.init()).await).unwrap();
    let mut end = 0;
    for path in rung.segments() {
        let segment = fmp4::segment(&player::bytes(app, &path).await, &init).unwrap();
        assert_eq!(segment.tfdt, end, "{path}");
        end += segment.duration;
    }
    end - u64::from(init.media_time)
}

#[tokio::test]
async fn m4a_with_its_index_last_is_ready_after_its_last_byte() {
    let app = App::start().await;
    let file = media::ffmpeg(&media::song(9.0), &[], &["-c:a", "aac", "-b:a", "192k"], "a.m4a");
    let at = |name: &[u8]| file.windows(4).position(|w| w == name).unwrap();
    assert!(at(b"moov") > at(b"mdat"), "the index is at the end");
    let upload = tus::create(&app, "a.m4a", &file).await;
    let cut = file.len() - 1000;
    assert_eq!(tus::patch(&app, &upload, 0, &file[..cut]).await.status(), 204);
    assert_eq!(app.track(&upload.track).await["state"], "ingesting");
    assert_eq!(tus::patch(&app, &upload, cut as u64, &file[cut..]).await.status(), 204);
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["sha256"]), (&"ready".into(), &tus::sha256(&file).into()), "{track}");
    assert_eq!(track["samples"], 9 * 44_100);
    assert_eq!(assert_whole(&app, &track).await.len(), 3, "no FLAC of what was lossy");
}

#[tokio::test]
async fn what_is_no_music_is_kept_and_says_why_it_failed_each_time() {
    let app = App::start().await;
    let foreign = media::ffmpeg(&media::song(1.0), &[], &["-c:a", "wmav2"], "a.wma");
    let text = b"It was a dark and stormy night; the rain fell in torrents.\n".repeat(40);
    for (name, bytes) in [("a.wma", foreign), ("novel.flac", text)] {
        let upload = tus::whole(&app, name, &bytes).await;
        let stored = |t: &Value| t["state"] == "failed" && t["stored"] == true;
        let track = app.track_when(&upload.track, "failed and stored", stored).await;
        assert_eq!(track["error"]["code"], "unsupported_media", "{track}");
        assert_eq!(track["sha256"], tus::sha256(&bytes));
        let kept = app.files(&format!("objects/tracks/{}", upload.track));
        assert_eq!(std::fs::read(&kept[0]).unwrap(), bytes, "{name}");
        for _ in 0..2 {
            let answer = app.post(&format!("/api/v1/tracks/{}/retry", upload.track)).send().await.unwrap();
            assert!(answer.status().is_success(), "{}", answer.status());
            assert_eq!(app.settled(&upload.track).await["error"], track["error"], "{name}");
        }
    }
    assert_eq!(app.ask("SELECT count(*) FROM jobs WHERE done_at IS NULL AND dead_at IS NULL").await, 0);
    app.until_clean().await;
}
