//! `HEAD /files/{id}`, and GET, which says the same.

use reqwest::Method;

use crate::support::{
    app::App,
    ietf::{self, PARTIAL, Raw, request, text},
    sound::{noise, wav},
    tus::{self, Upload},
};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn it_tells_what_is_durable_and_what_is_known() {
    let app = App::start().await;
    let upload = ietf::create(&app, Some(100)).await;
    ietf::append(&app, &upload, 0, false, &noise(32, 51)).await;
    for method in [Method::HEAD, Method::GET] {
        let answer = request(&app, method, &upload.path).send().await.unwrap();
        assert_eq!(answer.status(), 204);
        let told = ["upload-offset", "upload-complete", "upload-length", "cache-control", "millrace-track"];
        assert_eq!(told.map(|name| text(&answer, name)), ["32", "?0", "100", "no-store", &upload.track]);
        let limit = text(&answer, "upload-limit");
        let age: u64 = limit.strip_prefix("max-size=2147483648, max-age=").unwrap().parse().unwrap();
        assert!((86_300..=86_400).contains(&age), "{limit}");
        assert_eq!(text(&answer, "repr-digest"), "");
    }
    let unknown = ietf::create(&app, None).await;
    assert!(!ietf::head(&app, &unknown).await.headers().contains_key("upload-length"));
}

#[tokio::test]
async fn a_request_that_tells_what_it_asks_is_refused() {
    let app = App::start().await;
    let upload = ietf::create(&app, Some(100)).await;
    for (name, value) in [("Upload-Offset", "10"), ("Upload-Complete", "?0"), ("Upload-Complete", "?1")] {
        let answer = request(&app, Method::HEAD, &upload.path).header(name, value).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{name}");
        let bare = app.http.head(app.url(&upload.path)).bearer_auth(&app.token).header(name, value);
        assert_eq!(bare.send().await.unwrap().status(), 400, "{name} without a version");
    }
}

#[tokio::test]
async fn unknown_and_foreign_are_the_same_404() {
    let app = App::start().await;
    for path in ["/files/00000000000000000000000000000000", "/files/nonsense", "/files/..%2f..%2fetc%2fpasswd"] {
        let answer = ietf::head(&app, &Upload { path: path.into(), track: String::new() }).await;
        assert_eq!(answer.status(), 404, "{path}");
        assert!(!answer.headers().contains_key("upload-offset"));
    }
}

#[tokio::test]
async fn the_offset_told_is_accepted_next_whatever_was_running() {
    let app = App::start().await;
    let bytes = noise(12 * MIB, 52);
    for sent in [0, 1, 3 * MIB, 11 * MIB] {
        let upload = ietf::create(&app, None).await;
        let typed = format!("Content-Type: {PARTIAL}");
        let announced = format!("Content-Length: {}", bytes.len());
        let line = format!("PATCH {}", upload.path);
        let mut running = Raw::begin(
            &app,
            &line,
            &[&typed, &announced, "Upload-Offset: 0", "Upload-Complete: ?1", "Expect: 100-continue"],
        );
        assert_eq!(running.hear().status, 100, "it runs");
        running.say(&bytes[..sent]);
        let (at, complete) = ietf::offset(&app, &upload).await;
        assert!(at <= sent as u64 && !complete);
        // The client that hung sends the rest after all: nobody listens any more.
        let _ = std::io::Write::write_all(&mut running.0, &bytes[sent..]);
        assert_eq!(
            ietf::append(&app, &upload, at, true, &bytes[at as usize..]).await.status(),
            201,
            "at {at} of {sent}"
        );
        let (_, stopped) = running.end();
        assert_ne!(stopped.status / 100, 2);
        let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
        assert_eq!(track["sha256"], tus::sha256(&bytes));
    }
    app.until_clean().await;
}

#[tokio::test]
async fn what_is_complete_goes_on_telling_so() {
    let app = App::start().await;
    let bytes = noise(1000, 53);
    let upload = ietf::create(&app, None).await;
    let last = ietf::append(&app, &upload, 0, true, &bytes).await;
    let digest = text(&last, "repr-digest").to_owned();
    for _ in 0..2 {
        let answer = ietf::head(&app, &upload).await;
        assert_eq!(answer.status(), 204);
        let told = ["upload-offset", "upload-complete", "upload-length", "millrace-track", "repr-digest"];
        assert_eq!(told.map(|name| text(&answer, name)), ["1000", "?1", "1000", &upload.track, &digest]);
        app.settled(&upload.track).await;
    }
    assert!(digest.starts_with("sha-256=:"));
}

#[tokio::test]
async fn an_idle_upload_expires() {
    let app = App::with(&[("UPLOAD_EXPIRY", "4s")]).await;
    let upload = ietf::create(&app, None).await;
    assert_eq!(ietf::append(&app, &upload, 0, false, &wav(25_000, 44_100)[..50_000]).await.status(), 204);
    let track = app.settled(&upload.track).await;
    assert_eq!(track["error"]["code"], "upload_expired");
    assert_eq!(ietf::head(&app, &upload).await.status(), 410);
    assert_eq!(ietf::append(&app, &upload, 50_000, true, b"x").await.status(), 410);
    app.until_clean().await;
}
