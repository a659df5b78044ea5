//! `DELETE /files/{id}`.

use reqwest::{Method, Response};

use crate::support::{
    app::App,
    sound::wav,
    tus::{self, Upload, begin_patch, request},
};

async fn delete(app: &App, upload: &Upload) -> Response {
    request(app, Method::DELETE, &upload.path).send().await.unwrap()
}

#[tokio::test]
async fn it_stops_a_running_patch_and_leaves_nothing() {
    let app = App::start().await;
    let bytes = wav(262_144, 44_100);
    let upload = tus::create(&app, "tone.wav", &bytes).await;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes[..1000]).await.status(), 204);
    let mut running = begin_patch(&app, &upload, 1000, bytes.len() - 1000, &bytes[1000..5000]);
    assert_eq!(delete(&app, &upload).await.status(), 204);
    let (status, _) = tus::answer(&mut running);
    assert!(matches!(status, 0 | 400..500), "the running one was told or cut: {status}");
    assert_eq!(tus::head(&app, &upload).await.status(), 410);
    assert_eq!(delete(&app, &upload).await.status(), 410);
    assert_eq!(app.settled(&upload.track).await["error"]["code"], "upload_aborted");
    app.until_clean().await;
}

#[tokio::test]
async fn a_stored_track_outlives_its_upload() {
    let app = App::start().await;
    let upload = tus::whole(&app, "tone.wav", &wav(44_100, 44_100)).await;
    assert_eq!(delete(&app, &upload).await.status(), 204);
    assert_eq!(tus::head(&app, &upload).await.status(), 410);
    assert_eq!(app.settled(&upload.track).await["state"], "ready");
}
