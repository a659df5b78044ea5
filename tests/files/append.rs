//! `PATCH /files/{id}`.

use std::{
    io::Write,
    net::{Shutdown, TcpStream},
};

use reqwest::Method;
use serde_json::Value;

use crate::support::{
    app::App,
    player,
    sound::noise,
    tus::{self, OCTETS, request},
};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn in_many_pieces_it_is_the_same_file() {
    // UP-4, UP-6, UP-8: one file under its name, the digest that `sha256sum` tells, no working row left.
    let app = App::start().await;
    let bytes = noise(21 * MIB + 17, 1);
    let upload = tus::create(&app, "noise.bin", &bytes).await;
    let mut at = 0;
    for piece in [1, 999_999, 3 * MIB, 10 * MIB, 1, MIB, 7 * MIB] {
        let end = (at + piece).min(bytes.len());
        let answer = tus::patch(&app, &upload, at as u64, &bytes[at..end]).await;
        assert_eq!(answer.status(), 204);
        assert_eq!(tus::number(answer.headers(), "upload-offset"), end as u64);
        assert!(answer.headers().contains_key("upload-expires"));
        assert_eq!(answer.headers()["millrace-track"], *upload.track);
        at = end;
    }
    assert_eq!(at, bytes.len());
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
    assert_eq!(track["size"], bytes.len());
    let objects = app.files("objects/tracks");
    assert_eq!(objects.len(), 1);
    assert_eq!(tus::sha256(&std::fs::read(&objects[0]).unwrap()), tus::sha256(&bytes));
    assert_eq!(
        app.ask("SELECT count(*) FROM upload_parts").await + app.ask("SELECT count(*) FROM upload_tails").await,
        0
    );
    app.until_clean().await;
}

#[tokio::test]
async fn a_body_that_is_not_what_its_head_says_is_the_clients_mistake() {
    // P4: 400, and what came before it is kept.
    let app = App::start().await;
    let cases = [("Transfer-Encoding: chunked", "5\r\nhello\r\nZZ\r\n"), ("Content-Length: 99", "hello")];
    for (said, sent) in cases {
        let upload = tus::create(&app, "x.bin", &[0; 100]).await;
        let mut socket = TcpStream::connect(app.host()).unwrap();
        let head = format!(
            "PATCH {} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nAuthorization: Bearer {}\r\nContent-Type: {OCTETS}\r\n\
             Upload-Offset: 0\r\n{said}\r\n\r\n{sent}",
            upload.path, app.token
        );
        socket.write_all(head.as_bytes()).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        assert_eq!(tus::answer(&mut socket).0, 400, "{said}");
        assert_eq!(tus::offset(&app, &upload).await, 5, "{said}");
    }
}

#[tokio::test]
async fn refusals_say_why_and_write_nothing() {
    let app = App::start().await;
    let bytes = noise(1000, 2);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes[..100]).await.status(), 204);
    let patch = || request(&app, Method::PATCH, &upload.path).body(bytes[100..200].to_vec());
    let typed = || patch().header("Content-Type", OCTETS);
    let old = app.http.patch(app.url(&upload.path)).bearer_auth(&app.token).header("Content-Type", OCTETS).body("x");
    let cases = [
        (typed().header("Upload-Offset", "99"), 409, "wrong_offset"),
        (typed().header("Upload-Offset", "101"), 409, "wrong_offset"),
        (typed().header("Upload-Offset", "x"), 400, "bad_header"),
        (typed(), 400, "offset_required"),
        (patch().header("Content-Type", "text/plain").header("Upload-Offset", "100"), 415, "unsupported_media_type"),
        (typed().header("Upload-Offset", "100").header("Upload-Checksum", "sha1 AA=="), 400, "bad_checksum"),
        (old.header("Upload-Offset", "100").header("Tus-Resumable", "2"), 412, "unsupported_version"),
        (typed().header("Upload-Offset", "950"), 413, "past_upload_length"),
    ];
    for (n, (case, status, code)) in cases.into_iter().enumerate() {
        let answer = case.send().await.unwrap();
        let (told, true_offset) = (answer.status().as_u16(), answer.headers().get("upload-offset").cloned());
        let problem: Value = answer.json().await.unwrap();
        assert_eq!((told, problem["code"].as_str()), (status, Some(code)), "case {n}: {problem}");
        if status == 409 {
            assert_eq!(true_offset.unwrap(), "100", "the true offset is told");
        }
        assert_eq!(tus::offset(&app, &upload).await, 100, "case {n}");
    }
}

#[tokio::test]
async fn a_byte_past_the_length_is_refused_even_when_it_comes_in_chunks() {
    let app = App::start().await;
    let bytes = noise(300_000, 3);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    let longer = [bytes.clone(), b"!".to_vec()].concat();
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(
        longer.chunks(50_000).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>(),
    ));
    let sent = request(&app, Method::PATCH, &upload.path)
        .header("Content-Type", OCTETS)
        .header("Upload-Offset", "0")
        .body(body)
        .send()
        .await;
    assert_eq!(sent.unwrap().status(), 413);
    assert_eq!(tus::offset(&app, &upload).await, 0);
    assert_eq!(tus::patch(&app, &upload, 0, &bytes).await.status(), 204, "and the upload goes on");
    app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
}

#[tokio::test]
async fn a_wrong_promise_is_never_published() {
    // UP-6, UP-7: the client declared another digest.
    let app = App::start().await;
    let bytes = crate::support::sound::wav(44_100 * 3, 44_100);
    let said = tus::metadata(&[("filename", "tone.wav"), ("sha256", &"00".repeat(32))]);
    let post = request(&app, Method::POST, "/files").header("Upload-Length", bytes.len());
    let upload = tus::upload(&post.header("Upload-Metadata", said).send().await.unwrap());
    let answer = tus::patch(&app, &upload, 0, &bytes).await;
    assert_eq!(answer.status(), 422);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "digest_mismatch");
    assert_eq!(problem["found"], tus::sha256(&bytes));
    let track = app.settled(&upload.track).await;
    assert_eq!((track["state"].as_str(), track["error"]["code"].as_str()), (Some("failed"), Some("digest_mismatch")));
    assert_eq!(app.get(&format!("/api/v1/tracks/{}/stream", upload.track)).send().await.unwrap().status(), 409);
    assert!(app.files("objects/tracks").is_empty(), "nothing under its final name");
    let head = tus::head(&app, &upload).await;
    assert_eq!(head.status(), 410);
}

#[tokio::test]
async fn what_played_before_its_promise_was_broken_stops_playing() {
    // UP-6, UP-7: early segments were the uploader's only, and they disappear.
    let app = App::start().await;
    let bytes = crate::support::sound::wav(44_100 * 30, 44_100);
    let said = tus::metadata(&[("filename", "tone.wav"), ("sha256", &"00".repeat(32))]);
    let post = request(&app, Method::POST, "/files").header("Upload-Length", bytes.len());
    let upload = tus::upload(&post.header("Upload-Metadata", said).send().await.unwrap());
    let sent = bytes.len() / 3 * 2;
    let mut socket = tus::begin_patch(&app, &upload, 0, bytes.len(), &bytes[..sent]);
    app.track_when(&upload.track, "playable", |t| t["state"] == "playable").await;
    let entry = player::stream(&app, &upload.track).await;
    let list = player::rungs(&app, &entry).await.swap_remove(0);
    let paths = [entry, list.path.clone(), list.init(), list.segments().swap_remove(0)];
    for path in &paths {
        assert_eq!(player::status(&app, path).await, 200, "{path}");
    }
    socket.write_all(&bytes[sent..]).unwrap();
    assert_eq!(tus::answer(&mut socket).0, 422);
    for path in &paths {
        assert_eq!(player::status(&app, path).await, 403, "{path}");
    }
    let track = app.settled(&upload.track).await;
    assert_eq!((track["state"].as_str(), track["error"]["code"].as_str()), (Some("failed"), Some("digest_mismatch")));
    assert_eq!(app.get(&format!("/api/v1/tracks/{}/stream", upload.track)).send().await.unwrap().status(), 409);
}

#[tokio::test]
async fn the_method_may_come_in_a_header() {
    let app = App::start().await;
    let upload = tus::create(&app, "x.bin", b"hello").await;
    let post =
        |method: &'static str| request(&app, Method::POST, &upload.path).header("X-HTTP-Method-Override", method);
    let answer =
        post("PATCH").header("Content-Type", OCTETS).header("Upload-Offset", "0").body("hello").send().await.unwrap();
    assert_eq!(answer.status(), 204);
    assert_eq!(post("HEAD").send().await.unwrap().status(), 200);
    assert_eq!(post("DELETE").send().await.unwrap().status(), 204);
    assert_eq!(post("TRACE").send().await.unwrap().status(), 405);
}
