//! `DELETE /files/{id}`.

use reqwest::Method;

use crate::support::{
    app::App,
    ietf::{self, PARTIAL, Raw, request},
    sound::{noise, wav},
    tus,
};

#[tokio::test]
async fn afterwards_there_is_nothing() {
    let app = App::start().await;
    let upload = ietf::create(&app, None).await;
    ietf::append(&app, &upload, 0, false, &wav(25_000, 44_100)[..100_000]).await;
    let delete = || request(&app, Method::DELETE, &upload.path).send();
    assert_eq!(delete().await.unwrap().status(), 204);
    assert_eq!(ietf::head(&app, &upload).await.status(), 410);
    assert_eq!(ietf::append(&app, &upload, 100_000, true, b"x").await.status(), 410);
    assert_eq!(delete().await.unwrap().status(), 410);
    assert_eq!(app.settled(&upload.track).await["error"]["code"], "upload_aborted");
    let unknown = request(&app, Method::DELETE, "/files/00000000000000000000000000000000");
    assert_eq!(unknown.send().await.unwrap().status(), 404);
    app.until_clean().await;
}

#[tokio::test]
async fn a_running_append_is_cut_first() {
    let app = App::start().await;
    let upload = ietf::create(&app, None).await;
    let line = format!("PATCH {}", upload.path);
    let typed = format!("Content-Type: {PARTIAL}");
    let fields = [&*typed, "Content-Length: 200000", "Upload-Offset: 0", "Upload-Complete: ?1"];
    let mut running = Raw::begin(&app, &line, &fields);
    running.say(&noise(100_000, 62));
    let deleted = request(&app, Method::DELETE, &upload.path).send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    let (_, stopped) = running.end();
    assert_ne!(stopped.status / 100, 2);
    assert_eq!(ietf::head(&app, &upload).await.status(), 410);
    app.until_clean().await;
}

#[tokio::test]
async fn of_a_complete_upload_only_the_upload_ends() {
    let app = App::start().await;
    let bytes = wav(44_100, 44_100);
    let upload = ietf::create(&app, None).await;
    assert_eq!(ietf::append(&app, &upload, 0, true, &bytes).await.status(), 201);
    assert_eq!(request(&app, Method::DELETE, &upload.path).send().await.unwrap().status(), 204);
    assert!(matches!(ietf::head(&app, &upload).await.status().as_u16(), 404 | 410));
    let track = app.settled(&upload.track).await;
    assert_eq!((track["state"].as_str(), track["sha256"].as_str()), (Some("ready"), Some(&*tus::sha256(&bytes))));
}
