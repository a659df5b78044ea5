//! Which protocol a request on `/files` speaks, and that both tell the same of one upload.

use reqwest::Method;
use serde_json::Value;

use crate::support::{
    app::App,
    ietf::{self, PARTIAL, text},
    sound::noise,
    tus::{self, OCTETS},
};

#[tokio::test]
async fn one_mark_is_enough_and_that_of_tus_goes_first() {
    let app = App::start().await;
    let post = || app.post("/files");
    let created = [
        post().header("Upload-Complete", "?0"),
        post().header("Upload-Incomplete", "?1"),
        post().header("Upload-Draft-Interop-Version", "8").header("Upload-Complete", "?0"),
        post().header("Tus-Resumable", "1.0.0").header("Upload-Complete", "?0").header("Upload-Length", "5"),
    ];
    for (n, case) in created.into_iter().enumerate() {
        let answer = case.send().await.unwrap();
        assert_eq!(answer.status(), 201, "case {n}");
        assert_eq!(answer.headers().contains_key("tus-resumable"), n == 3, "case {n}");
    }
    for (refused, status) in [
        (post().header("Upload-Length", "5"), 412),
        (post().header("Content-Type", OCTETS), 412),
        (post().header("Content-Type", PARTIAL), 400),
        (post().header("Upload-Draft-Interop-Version", "5"), 400),
    ] {
        let answer = refused.send().await.unwrap();
        let tus = text(&answer, "tus-version") == "1.0.0";
        assert_eq!((answer.status().as_u16(), tus), (status, status == 412));
    }
}

#[tokio::test]
async fn without_any_mark_the_verbs_on_an_upload_are_the_drafts() {
    let app = App::start().await;
    let upload = tus::create(&app, "x.bin", b"hello").await;
    let bare = |method| app.http.request(method, app.url(&upload.path)).bearer_auth(&app.token);
    let head = bare(Method::HEAD).send().await.unwrap();
    assert_eq!((head.status().as_u16(), text(&head, "upload-complete")), (204, "?0"));
    let patch = bare(Method::PATCH).header("Upload-Offset", "0").header("Upload-Complete", "?0");
    assert_eq!(patch.body("hello").send().await.unwrap().status(), 415);
    assert_eq!(bare(Method::DELETE).send().await.unwrap().status(), 204);
    assert_eq!(tus::head(&app, &upload).await.status(), 410);
}

#[tokio::test]
async fn an_upload_may_be_begun_by_one_door_and_ended_by_the_other() {
    let app = App::start().await;
    let bytes = noise(300_000, 97);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes[..100_000]).await.status(), 204);
    assert_eq!(ietf::offset(&app, &upload).await, (100_000, false));
    assert_eq!(ietf::append(&app, &upload, 100_000, true, &bytes[100_000..]).await.status(), 201);
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
    let upload = ietf::create(&app, Some(bytes.len())).await;
    assert_eq!(ietf::append(&app, &upload, 0, false, &bytes[..100_000]).await.status(), 204);
    assert_eq!(tus::offset(&app, &upload).await, 100_000);
    assert_eq!(tus::patch(&app, &upload, 100_000, &bytes[100_000..]).await.status(), 204);
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
    app.until_clean().await;
}

#[tokio::test]
async fn the_method_may_come_in_a_header() {
    let app = App::start().await;
    let upload = ietf::create(&app, None).await;
    let post =
        |method: &'static str| ietf::request(&app, Method::POST, &upload.path).header("X-HTTP-Method-Override", method);
    let patch =
        post("PATCH").header("Content-Type", PARTIAL).header("Upload-Offset", "0").header("Upload-Complete", "?0");
    assert_eq!(patch.body("hello").send().await.unwrap().status(), 204);
    let head = post("HEAD").send().await.unwrap();
    assert_eq!((head.status().as_u16(), text(&head, "upload-offset")), (204, "5"));
    assert_eq!(post("DELETE").send().await.unwrap().status(), 204);
    let other: Value = post("TRACE").send().await.unwrap().json().await.unwrap();
    assert_eq!(other["code"], "method_not_allowed");
}

#[tokio::test]
async fn other_pages_may_upload_and_read_every_field() {
    let app = App::start().await;
    let post = ietf::request(&app, Method::POST, "/files").header("Origin", "https://elsewhere.example");
    let answer = post.header("Upload-Complete", "?1").body("hello").send().await.unwrap();
    assert_eq!(text(&answer, "access-control-allow-origin"), "*");
    let exposed = text(&answer, "access-control-expose-headers").to_lowercase();
    let exposed: Vec<&str> = exposed.split(", ").collect();
    for name in answer.headers().keys().map(http::HeaderName::as_str) {
        let is_ours = ["upload-", "repr-", "millrace-", "location"].iter().any(|start| name.starts_with(start));
        assert!(!is_ours || exposed.contains(&name), "{name} can't be read");
    }
    for name in ["accept-patch", "upload-incomplete", "upload-length", "retry-after", "location"] {
        assert!(exposed.contains(&name), "{name}");
    }
}
