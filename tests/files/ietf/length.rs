//! Lengths: told early, told late, told twice, and passed.

use crate::support::{
    app::App,
    ietf::{self, TYPES, appending, chunked, problem, text},
    sound::{noise, wav},
    tus::{self, Upload},
};

async fn is_invalid(app: &App, upload: &Upload) {
    assert_eq!(ietf::head(app, upload).await.status(), 410);
    assert_eq!(ietf::append(app, upload, 0, false, b"x").await.status(), 410);
    let track = app.settled(&upload.track).await;
    assert_eq!(track["state"], "failed", "{track}");
}

#[tokio::test]
async fn bytes_past_the_length_make_the_upload_invalid() {
    let app = App::start().await;
    let bytes = wav(60_000, 44_100);
    for announced in [true, false] {
        let upload = ietf::create(&app, Some(150_000)).await;
        let patch = appending(&app, &upload, 0, false);
        let patch = if announced { patch.body(bytes.clone()) } else { patch.body(chunked(&bytes)) };
        let answer = patch.send().await.unwrap();
        assert_eq!(text(&answer, "upload-complete"), "?0");
        let (status, problem) = problem(answer).await;
        assert_eq!((status, problem["type"].as_str()), (400, Some(&*format!("{TYPES}inconsistent-upload-length"))));
        is_invalid(&app, &upload).await;
        assert_eq!(app.track(&upload.track).await["error"]["code"], "too_long");
    }
}

#[tokio::test]
async fn one_byte_past_it_too() {
    let app = App::start().await;
    let upload = ietf::create(&app, Some(50)).await;
    assert_eq!(ietf::append(&app, &upload, 0, false, &[7; 50]).await.status(), 204);
    let (status, _) = problem(ietf::append(&app, &upload, 50, false, b"!").await).await;
    assert_eq!(status, 400);
    is_invalid(&app, &upload).await;
}

#[tokio::test]
async fn fewer_bytes_than_the_length_are_not_the_whole_of_it() {
    // Announced, it is refused; not announced, what came is kept and the upload stays open.
    let app = App::start().await;
    let upload = ietf::create(&app, Some(1000)).await;
    let (status, problem_) = problem(ietf::append(&app, &upload, 0, true, &[7; 999]).await).await;
    assert_eq!((status, problem_["code"].as_str()), (400, Some("inconsistent_upload_length")));
    assert_eq!(ietf::offset(&app, &upload).await, (0, false));
    let answer = appending(&app, &upload, 0, true).body(chunked(&[7; 999])).send().await.unwrap();
    let (status, problem_) = problem(answer).await;
    assert_eq!((status, problem_["code"].as_str()), (400, Some("inconsistent_upload_length")));
    let (at, complete) = ietf::offset(&app, &upload).await;
    assert!(!complete);
    assert_eq!(ietf::append(&app, &upload, at, true, &vec![7; 1000 - at as usize]).await.status(), 201);
}

#[tokio::test]
async fn it_may_be_told_by_an_append_and_then_stands() {
    let app = App::start().await;
    let bytes = noise(1000, 72);
    let upload = ietf::create(&app, None).await;
    let told = appending(&app, &upload, 0, false).header("Upload-Length", "1000").body(bytes[..10].to_vec());
    assert_eq!(told.send().await.unwrap().status(), 204);
    assert_eq!(text(&ietf::head(&app, &upload).await, "upload-length"), "1000");
    for other in ["999", "1001", "5"] {
        let told = appending(&app, &upload, 10, false).header("Upload-Length", other).body("x").send().await.unwrap();
        assert_eq!(problem(told).await.0, 400, "{other}");
        assert_eq!(ietf::offset(&app, &upload).await, (10, false), "{other}");
    }
    let rest = appending(&app, &upload, 10, true).header("Upload-Length", "1000").body(bytes[10..].to_vec());
    assert_eq!(rest.send().await.unwrap().status(), 201);
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
}

#[tokio::test]
async fn below_what_came_or_above_the_limit_it_is_refused() {
    let app = App::with(&[("UPLOAD_MAX_BYTES", "1MiB")]).await;
    let upload = ietf::create(&app, None).await;
    assert_eq!(ietf::append(&app, &upload, 0, false, &[7; 100]).await.status(), 204);
    for (length, status) in [("99", 400), ("1048577", 413)] {
        let answer =
            appending(&app, &upload, 100, false).header("Upload-Length", length).body("x").send().await.unwrap();
        assert_eq!(text(&answer, "upload-limit"), "max-size=1048576");
        assert_eq!(problem(answer).await.0, status, "{length}");
        assert_eq!(ietf::offset(&app, &upload).await, (100, false));
    }
    let answer = ietf::append(&app, &upload, 100, true, &vec![7; 1 << 20]).await;
    assert!(text(&answer, "upload-limit").starts_with("max-size=1048576"));
    assert_eq!(problem(answer).await.0, 413, "the last append says the length, which is too much");
    let answer = appending(&app, &upload, 100, false).body(chunked(&vec![7; 1 << 20])).send().await.unwrap();
    assert!(text(&answer, "upload-limit").starts_with("max-size=1048576"));
    assert_eq!(problem(answer).await.0, 413, "counted");
}

#[tokio::test]
async fn it_is_known_once_the_last_append_came() {
    let app = App::start().await;
    for body in [reqwest::Body::from(vec![7; 32]), chunked(&[7; 32])] {
        let upload = ietf::create(&app, None).await;
        assert_eq!(text(&ietf::head(&app, &upload).await, "upload-length"), "");
        assert_eq!(appending(&app, &upload, 0, true).body(body).send().await.unwrap().status(), 201);
        let head = ietf::head(&app, &upload).await;
        assert_eq!(["upload-length", "upload-offset", "upload-complete"].map(|n| text(&head, n)), ["32", "32", "?1"]);
    }
}
