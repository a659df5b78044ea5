//! What a file brings along: its words, its picture, its own loudness, and its likeness to what is there already.

use api::accounts::flow;
use image::ImageFormat;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    media_worker::{pictures, support as media},
    support::{
        app::App,
        tus::{self, Upload},
    },
};

/// Eight seconds of music each.
const MUSIC: &str = "/usr/share/sonic-pi/samples/loop_garzul.flac";
const OTHER: &str = "/usr/share/sonic-pi/samples/loop_3d_printer.flac";

fn picture_of(track: &Value, n: usize) -> &str {
    track["artwork"][n]["url"].as_str().unwrap()
}

#[tokio::test]
async fn a_file_s_words_and_picture_are_shown_and_the_owner_s_title_wins() {
    let app = App::start().await;
    let cover = pictures::written(&pictures::cover(900, 900), ImageFormat::Png);
    let file = pictures::flac(&media::song(4.0), "image/png", &cover);
    let upload = tus::whole(&app, "03 - low_tide.flac", &file).await;
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["title"]), (&json!("ready"), &json!("Low tide")), "{track}");
    assert_eq!(track["tags"], json!({ "artist": "Ada", "title": "Low tide" }));
    let (gain, lufs) = (track["replaygain"]["gain"].as_f64(), track["loudness"]["integrated"].as_f64());
    assert!((gain.unwrap() + lufs.unwrap() + 18.0).abs() < 0.01, "{}", track["replaygain"]);

    let sizes: Vec<_> = track["artwork"].as_array().unwrap().iter().map(|p| p["width"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [900, 600, 150]);
    assert_artwork(&app, &upload, &track).await;
    assert_listed(&app, &track).await;

    let mine = tus::metadata(&[("filename", "x.flac"), ("title", "Mine")]);
    let given = said(&app, &mine, &file).await;
    let track = app.settled(&given.track).await;
    assert_eq!((&track["title"], &track["tags"]["title"]), (&json!("Mine"), &json!("Low tide")));
    let same = json!([{ "id": upload.track, "kind": "same_bytes", "title": "Low tide" }]);
    assert_eq!(track["duplicates"], same, "told, and taken all the same");
    app.until_clean().await;
}

async fn said(app: &App, metadata: &str, file: &[u8]) -> Upload {
    let create = tus::request(app, Method::POST, "/files").header("Upload-Length", file.len());
    let upload = tus::upload(&create.header("Upload-Metadata", metadata).send().await.unwrap());
    assert_eq!(tus::patch(app, &upload, 0, file).await.status(), 204);
    upload
}

/// It is kept for ever under its own address, asked anew under another, and nobody else's.
async fn assert_artwork(app: &App, upload: &Upload, track: &Value) {
    let text = |answer: &Response, name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    for (n, side) in [(0, 900), (1, 600), (2, 150)] {
        let answer = app.get(picture_of(track, n)).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), text(&answer, "content-type")), (200, "image/jpeg".to_owned()));
        assert_eq!(text(&answer, "cache-control"), "private, max-age=31536000, immutable");
        let jpeg = image::load_from_memory_with_format(&answer.bytes().await.unwrap(), ImageFormat::Jpeg).unwrap();
        assert_eq!((jpeg.width(), jpeg.height()), (side, side));
    }
    let path = format!("/api/v1/tracks/{}/artwork", upload.track);
    let answer = app.get(&format!("{path}?size=151")).send().await.unwrap();
    assert_eq!(text(&answer, "cache-control"), "private, no-cache", "what it is may change");
    let tag = text(&answer, "etag");
    let again = app.get(&format!("{path}?size=600")).header("if-none-match", &tag).send().await.unwrap();
    assert_eq!((again.status().as_u16(), text(&again, "etag")), (304, tag));
    let bad = app.get(&format!("{path}?size=-1")).send().await.unwrap();
    assert_eq!((bad.status().as_u16(), bad.json::<Value>().await.unwrap()["code"].clone()), (400, json!("bad_size")));
    assert_eq!(app.http.get(app.url(&path)).send().await.unwrap().status(), 401);
    let other = stranger(app).await;
    assert_eq!(app.http.get(app.url(&path)).bearer_auth(&other).send().await.unwrap().status(), 404);
}

/// A list has what a card shows, and not what only one track's page does.
async fn assert_listed(app: &App, track: &Value) {
    let page: Value = app.get("/api/v1/tracks").send().await.unwrap().json().await.unwrap();
    let item = &page["items"][0];
    assert_eq!((&item["artwork"], &item["tags"], &item["duplicates"]), (&track["artwork"], &json!(null), &json!(null)));
}

async fn stranger(app: &App) -> String {
    let db = PgPool::connect(&app.daemon().database_url()).await.unwrap();
    let other = flow::create_user(&db, "Other", "creator").await.unwrap();
    flow::create_token(&db, other, "test").await.unwrap().reveal().to_owned()
}

#[tokio::test]
async fn the_same_song_is_found_again_in_other_bytes_and_only_in_its_own_account() {
    let mut app = App::start().await;
    let [song, another] = [MUSIC, OTHER].map(|path| std::fs::read(path).expect("Debian's sonic-pi-samples"));
    let mp3 = media::ffmpeg(&song, &[], &["-b:a", "96k"], "a.mp3");
    let flac = tus::whole(&app, "a.flac", &song).await;
    let other = tus::whole(&app, "other.flac", &another).await;
    for of in [&flac, &other] {
        let track = app.settled(&of.track).await;
        assert_eq!((&track["state"], &track["duplicates"]), (&json!("ready"), &json!(null)), "{track}");
    }
    let coded = tus::whole(&app, "b.mp3", &mp3).await;
    let track = app.settled(&coded.track).await;
    let alike = |upload: &Upload, title| json!([{ "id": upload.track, "kind": "same_recording", "title": title }]);
    assert_eq!(track["duplicates"], alike(&flac, "a"), "{track}");
    assert_eq!(app.track(&flac.track).await["duplicates"], alike(&coded, "b"), "either tells of the other");
    assert_eq!(app.track(&other.track).await["duplicates"], json!(null));

    let other_token = stranger(&app).await;
    let mine = std::mem::replace(&mut app.token, other_token);
    let theirs = tus::whole(&app, "a.flac", &song).await;
    assert_eq!(app.settled(&theirs.track).await["duplicates"], json!(null), "another account's is nobody's business");
    app.token = mine;
    assert_eq!(app.ask("SELECT count(*) FROM same_recordings").await, 1, "nor even looked at");
    assert_eq!(app.track(&flac.track).await["duplicates"], alike(&coded, "b"));
}
