//! creation-defer-length: the size comes later, once, by PATCH.

use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use crate::support::{
    app::App,
    sound::noise,
    tus::{self, OCTETS, Upload, request},
};

const MIB: usize = 1 << 20;

async fn deferred(app: &App) -> Upload {
    let answer = request(app, Method::POST, "/files").header("Upload-Defer-Length", "1").send().await.unwrap();
    assert_eq!(answer.status(), 201);
    tus::upload(&answer)
}

fn patch(app: &App, upload: &Upload, offset: usize) -> RequestBuilder {
    request(app, Method::PATCH, &upload.path).header("Content-Type", OCTETS).header("Upload-Offset", offset)
}

/// What HEAD says of the length: itself, or that it is to come.
async fn told(app: &App, upload: &Upload) -> (Option<String>, Option<String>) {
    let head = tus::head(app, upload).await;
    let header = |name: &str| head.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
    (header("upload-length"), header("upload-defer-length"))
}

async fn refusal(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.unwrap();
    (status, problem["code"].as_str().unwrap().to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

async fn assert_stored(app: &App, upload: &Upload, bytes: &[u8]) {
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(
        (track["sha256"].as_str(), track["size"].as_u64()),
        (Some(&*tus::sha256(bytes)), Some(bytes.len() as u64))
    );
}

#[tokio::test]
async fn the_length_comes_with_the_last_bytes() {
    let app = App::start().await;
    let bytes = noise(21 * MIB + 17, 41);
    let upload = deferred(&app).await;
    let mut at = 0;
    for end in [3 * MIB, 20 * MIB] {
        assert_eq!(told(&app, &upload).await, (None, Some("1".into())));
        assert_eq!(tus::patch(&app, &upload, at as u64, &bytes[at..end]).await.status(), 204);
        at = end;
    }
    let last = patch(&app, &upload, at).header("Upload-Length", bytes.len()).body(bytes[at..].to_vec());
    let answer = last.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), tus::number(answer.headers(), "upload-offset")), (204, bytes.len() as u64));
    assert_eq!(told(&app, &upload).await, (Some(bytes.len().to_string()), None));
    assert_stored(&app, &upload, &bytes).await;
    app.until_clean().await;
}

#[tokio::test]
async fn the_length_comes_in_an_empty_patch_when_all_is_there() {
    // The last part has been a tail until now.
    let app = App::start().await;
    for len in [5, 10 * MIB, 12 * MIB + 1] {
        let bytes = noise(len, 42);
        let upload = deferred(&app).await;
        assert_eq!(tus::patch(&app, &upload, 0, &bytes).await.status(), 204);
        assert_eq!(app.track(&upload.track).await["stored"], false, "nobody has said that this is all");
        let answer = patch(&app, &upload, len).header("Upload-Length", len).send().await.unwrap();
        assert_eq!(answer.status(), 204);
        assert_stored(&app, &upload, &bytes).await;
        let again = patch(&app, &upload, len).header("Upload-Length", len).send().await.unwrap();
        assert_eq!(again.status(), 204, "the answer was lost: the client asks again");
    }
    app.until_clean().await;
}

#[tokio::test]
async fn the_length_comes_before_the_bytes_and_then_holds() {
    let app = App::start().await;
    let upload = deferred(&app).await;
    let answer = patch(&app, &upload, 0).header("Upload-Length", "5").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), tus::number(answer.headers(), "upload-offset")), (204, 0));
    assert_eq!(told(&app, &upload).await, (Some("5".into()), None));
    let more = tus::patch(&app, &upload, 0, b"hello!").await;
    assert_eq!(refusal(more).await, refused(413, "past_upload_length"));
    let other = patch(&app, &upload, 0).header("Upload-Length", "6").body("hello!").send().await.unwrap();
    assert_eq!(refusal(other).await, refused(400, "bad_length"));
    let same = patch(&app, &upload, 0).header("Upload-Length", "5").body("hello").send().await.unwrap();
    assert_eq!(same.status(), 204);
    let late = patch(&app, &upload, 5).header("Upload-Length", "6").send().await.unwrap();
    assert_eq!(refusal(late).await, refused(400, "bad_length"), "stored, and still not another length");
    assert_stored(&app, &upload, b"hello").await;
}

#[tokio::test]
async fn what_cannot_be_the_length_changes_nothing() {
    let app = App::with(&[("UPLOAD_MAX_BYTES", "1MiB")]).await;
    let upload = deferred(&app).await;
    assert_eq!(tus::patch(&app, &upload, 0, b"hello").await.status(), 204);
    let at = |offset| patch(&app, &upload, offset);
    let cases = [
        (at(5).header("Upload-Length", "4"), 400, "bad_length"),
        (at(5).header("Upload-Length", "-1"), 400, "bad_header"),
        (at(5).header("Upload-Length", "1048577"), 413, "upload_too_large"),
        (at(4).header("Upload-Length", "9"), 409, "wrong_offset"),
        (at(5).header("Upload-Length", "6").body("more"), 413, "past_upload_length"),
        (at(5).body(noise(MIB, 43)), 413, "upload_too_large"),
    ];
    for (n, (case, status, code)) in cases.into_iter().enumerate() {
        assert_eq!(refusal(case.send().await.unwrap()).await, refused(status, code), "case {n}");
        assert_eq!(tus::offset(&app, &upload).await, 5, "case {n}");
        assert_eq!(told(&app, &upload).await, (None, Some("1".into())), "case {n}");
    }
    let exact = at(5).header("Upload-Length", MIB).body(noise(MIB - 5, 44)).send().await.unwrap();
    assert_eq!(exact.status(), 204, "exactly the limit");
}

#[tokio::test]
async fn creations_say_one_of_the_two() {
    let app = App::start().await;
    let post = || request(&app, Method::POST, "/files");
    let cases = [
        (post(), "length_required"),
        (post().header("Upload-Length", "5").header("Upload-Defer-Length", "1"), "length_required"),
        (post().header("Upload-Defer-Length", "0"), "bad_header"),
        (post().header("Upload-Defer-Length", "true"), "bad_header"),
        (post().header("Upload-Defer-Length", ""), "bad_header"),
    ];
    for (n, (case, code)) in cases.into_iter().enumerate() {
        assert_eq!(refusal(case.send().await.unwrap()).await, refused(400, code), "case {n}");
    }
    assert_eq!(app.ask("SELECT count(*) FROM uploads").await, 0);
}

#[tokio::test]
async fn bytes_may_come_with_the_creation() {
    let app = App::start().await;
    let bytes = noise(11 * MIB, 45);
    let post = request(&app, Method::POST, "/files").header("Upload-Defer-Length", "1").header("Content-Type", OCTETS);
    let answer = post.body(bytes[..MIB].to_vec()).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), tus::number(answer.headers(), "upload-offset")), (201, MIB as u64));
    let upload = tus::upload(&answer);
    assert_eq!(told(&app, &upload).await, (None, Some("1".into())));
    let rest = patch(&app, &upload, MIB).header("Upload-Length", bytes.len()).body(bytes[MIB..].to_vec());
    assert_eq!(rest.send().await.unwrap().status(), 204);
    assert_stored(&app, &upload, &bytes).await;
}

#[tokio::test]
async fn nothing_at_all_is_a_length_too() {
    let app = App::start().await;
    let upload = deferred(&app).await;
    let answer = patch(&app, &upload, 0).header("Upload-Length", "0").send().await.unwrap();
    assert_eq!(answer.status(), 204);
    let track = app.settled(&upload.track).await;
    assert_eq!((track["error"]["code"].as_str(), track["size"].as_u64()), (Some("empty_media"), Some(0)));
    app.until_clean().await;
}

#[tokio::test]
async fn a_crash_between_the_bytes_and_the_length_forgets_neither() {
    let mut app = App::start().await;
    let bytes = noise(11 * MIB, 46);
    let upload = deferred(&app).await;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes).await.status(), 204);
    app.kill_and_boot().await;
    assert_eq!((tus::offset(&app, &upload).await, told(&app, &upload).await.0), (bytes.len() as u64, None));
    let answer = patch(&app, &upload, bytes.len()).header("Upload-Length", bytes.len()).send().await.unwrap();
    assert_eq!(answer.status(), 204);
    assert_stored(&app, &upload, &bytes).await;
    app.until_clean().await;
}
