//! `OPTIONS` and `POST /files`.

use api::accounts::flow;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::{
    app::App,
    tus::{self, OCTETS, request},
};

#[tokio::test]
async fn options_tells_what_is_spoken() {
    let app = App::start().await;
    let answer = app.http.request(Method::OPTIONS, app.url("/files")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let header = |name: &str| answer.headers()[name].to_str().unwrap();
    assert_eq!(header("tus-version"), "1.0.0");
    assert_eq!(
        header("tus-extension"),
        "creation,creation-with-upload,creation-defer-length,expiration,checksum,checksum-trailer,termination,concatenation,\
         concatenation-unfinished"
    );
    assert_eq!(header("tus-max-size"), "2147483648", "UP-17");
}

#[tokio::test]
async fn the_track_exists_before_the_first_byte() {
    let app = App::start().await;
    let upload = tus::create(&app, "Ærø – take 2.wav", b"1234").await;
    let track = app.track(&upload.track).await;
    assert_eq!(track["state"], "ingesting");
    assert_eq!(track["title"], "Ærø – take 2");
    assert_eq!(track["upload"]["offset"], 0);
}

#[tokio::test]
async fn bad_creations_get_a_reason_and_leave_no_row() {
    let app = App::with(&[("UPLOAD_MAX_BYTES", "1MiB")]).await;
    let post = || request(&app, Method::POST, "/files");
    let cases = [
        (post(), 400, "length_required"),
        (post().header("Upload-Length", "-1"), 400, "bad_header"),
        (post().header("Upload-Length", "1e3"), 400, "bad_header"),
        (post().header("Upload-Length", "99999999999999999999"), 400, "bad_header"),
        (post().header("Upload-Length", "1048577"), 413, "upload_too_large"),
        (post().header("Upload-Length", "5").header("Upload-Metadata", "filename ???"), 400, "bad_metadata"),
        (post().header("Upload-Length", "5").header("Upload-Metadata", "a YQ==,a YQ=="), 400, "bad_metadata"),
        (
            post().header("Upload-Length", "5").header("Upload-Metadata", "k ".to_owned() + &"A".repeat(5000)),
            400,
            "bad_metadata",
        ),
        (app.post("/files").header("Upload-Length", "5").header("Tus-Resumable", "0.2.0"), 412, "unsupported_version"),
        (app.post("/files").header("Upload-Length", "5"), 412, "unsupported_version"),
    ];
    for (n, (case, status, code)) in cases.into_iter().enumerate() {
        let answer = case.send().await.unwrap();
        let told = answer.status().as_u16();
        let problem: Value = answer.json().await.unwrap();
        assert_eq!((told, problem["code"].as_str()), (status, Some(code)), "case {n}: {problem}");
        assert!(problem["request_id"].is_string());
    }
    assert_eq!(app.ask("SELECT count(*) FROM uploads").await, 0);
    let exact = post().header("Upload-Length", "1048576").send().await.unwrap();
    assert_eq!(exact.status(), 201, "UP-17: exactly the limit is accepted");
}

#[tokio::test]
async fn nobody_and_listeners_may_not_create() {
    let app = App::start().await;
    let post = |token: &str| {
        let post = app.http.post(app.url("/files")).header("Tus-Resumable", "1.0.0").header("Upload-Length", "5");
        if token.is_empty() { post } else { post.bearer_auth(token) }
    };
    assert_eq!(post("").send().await.unwrap().status(), 401);
    assert_eq!(post("not-a-token").send().await.unwrap().status(), 401);
    let db = sqlx::PgPool::connect(&app.daemon().database_url()).await.unwrap();
    for (role, status) in [("listener", 403), ("creator", 201)] {
        let account = flow::create_user(&db, "Somebody", role).await.unwrap();
        let token = flow::create_token(&db, account, "test").await.unwrap().reveal().to_owned();
        let answer = post(&token).send().await.unwrap();
        assert_eq!(answer.status(), status, "{role}");
        if status == 403 {
            assert_eq!(answer.json::<Value>().await.unwrap()["code"], "forbidden");
            assert_eq!(app.ask("SELECT count(*) FROM uploads").await, 0);
        }
    }
}

#[tokio::test]
async fn creation_with_upload_takes_the_bytes_along() {
    let app = App::start().await;
    let post = request(&app, Method::POST, "/files").header("Upload-Length", "5").header("Content-Type", OCTETS);
    let answer = post.body("hello").send().await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(tus::number(answer.headers(), "upload-offset"), 5);
    assert!(answer.headers().contains_key("location") && answer.headers().contains_key("upload-expires"));
    let part = request(&app, Method::POST, "/files").header("Upload-Length", "9").header("Content-Type", OCTETS);
    let answer = part.body("hello").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), tus::number(answer.headers(), "upload-offset")), (201, 5));
}

#[tokio::test]
async fn an_empty_file_is_complete_at_once_and_its_track_says_why_it_fails() {
    let app = App::start().await;
    let upload = tus::create(&app, "nothing.flac", b"").await;
    assert_eq!(tus::offset(&app, &upload).await, 0);
    let track = app.settled(&upload.track).await;
    assert_eq!(track["error"]["code"], "empty_media", "{track}");
    assert_eq!(track["size"], 0);
}

#[tokio::test]
async fn other_pages_may_upload_too() {
    // CORS: a preflight answers, and a page can read what it needs.
    let app = App::start().await;
    let preflight = app
        .http
        .request(Method::OPTIONS, app.url("/files"))
        .header("Origin", "https://elsewhere.example")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "tus-resumable, upload-length, authorization")
        .send()
        .await
        .unwrap();
    assert!(preflight.status().is_success());
    let header = |name: &str| preflight.headers()[name].to_str().unwrap().to_lowercase();
    for name in ["upload-length", "upload-defer-length", "upload-checksum", "upload-concat", "upload-metadata"] {
        assert!(header("access-control-allow-headers").contains(name), "{name}");
    }
    for name in ["upload-concat", "upload-defer-length", "tus-checksum-algorithm", "upload-expires", "millrace-track"] {
        assert!(header("access-control-expose-headers").contains(name), "{name}");
    }
    assert!(header("access-control-allow-methods").contains("patch"));
    assert!(header("access-control-expose-headers").contains("location"));
    assert!(!preflight.headers().contains_key("access-control-allow-credentials"));
}
