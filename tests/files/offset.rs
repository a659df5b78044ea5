//! `HEAD /files/{id}`.

use crate::support::{
    app::App,
    sound::{noise, wav},
    tus::{self, begin_patch},
};

#[tokio::test]
async fn it_tells_what_was_said_and_what_is_durable() {
    let app = App::start().await;
    let upload = tus::create(&app, "x.bin", b"hello").await;
    let head = tus::head(&app, &upload).await;
    let header = |name: &str| head.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("upload-offset"), "0");
    assert_eq!(header("upload-length"), "5");
    assert_eq!(header("cache-control"), "no-store");
    assert!(header("upload-metadata").starts_with("filename eC5iaW4="));
    assert_eq!(header("millrace-track"), upload.track);
}

#[tokio::test]
async fn unknown_and_foreign_are_the_same_404() {
    let app = App::start().await;
    for path in ["/files/00000000000000000000000000000000", "/files/nonsense", "/files/..%2f..%2fetc%2fpasswd"] {
        let answer = tus::head(&app, &tus::Upload { path: path.into(), track: String::new() }).await;
        assert_eq!(answer.status(), 404, "{path}");
        assert!(!answer.headers().contains_key("upload-offset"));
    }
}

#[tokio::test]
async fn head_never_blocks_while_bytes_are_coming() {
    let app = App::start().await;
    let bytes = noise(1 << 20, 4);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    let _running = begin_patch(&app, &upload, 0, bytes.len(), &bytes[..1000]);
    for _ in 0..20 {
        assert_eq!(tus::offset(&app, &upload).await, 0, "received, not durable: not told");
    }
}

#[tokio::test]
async fn an_idle_upload_expires_and_is_swept() {
    // expiration: 410, then bytes and rows go; the track says why.
    let app = App::with(&[("UPLOAD_EXPIRY", "4s")]).await;
    let bytes = wav(25_000, 44_100);
    let upload = tus::create(&app, "tone.wav", &bytes).await;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes[..50_000]).await.status(), 204);
    assert_eq!(app.files("multipart").len(), 1);
    let track = app.settled(&upload.track).await;
    assert_eq!(track["error"]["code"], "upload_expired");
    assert_eq!(tus::head(&app, &upload).await.status(), 410);
    assert_eq!(tus::patch(&app, &upload, 50_000, &bytes[50_000..]).await.status(), 410);
    app.until_clean().await;
}
