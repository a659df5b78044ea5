//! `OPTIONS` and `POST /files`.

use reqwest::Method;
use serde_json::Value;

use crate::support::{
    app::App,
    ietf::{self, Raw, TYPES, chunked, problem, request, text},
    sound::noise,
    tus,
};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn options_tells_the_limits_and_what_a_patch_is_for_both_doors() {
    let app = App::start().await;
    for path in ["/files", "/files/00000000000000000000000000000000"] {
        let answer = app.http.request(Method::OPTIONS, app.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 204);
        assert_eq!(text(&answer, "accept-patch"), "application/partial-upload, application/offset+octet-stream");
        assert_eq!(text(&answer, "upload-limit"), "max-size=2147483648, max-age=86400");
        assert_eq!(text(&answer, "tus-version"), "1.0.0");
    }
    let older = request(&app, Method::OPTIONS, "/files").header("Upload-Draft-Interop-Version", "8");
    let answer = older.header("Upload-Complete", "?1").send().await.unwrap();
    assert_eq!(answer.status(), 204, "what else it says doesn't matter");
}

#[tokio::test]
async fn a_whole_file_in_one_request() {
    let app = App::start().await;
    let bytes = noise(11 * MIB + 5, 31);
    let post = request(&app, Method::POST, "/files").header("Upload-Complete", "?1").body(bytes.clone());
    let answer = post.send().await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(text(&answer, "upload-complete"), "?1");
    assert_eq!(text(&answer, "upload-offset"), bytes.len().to_string());
    assert!(text(&answer, "location").starts_with("/files/"));
    assert!(text(&answer, "upload-limit").starts_with("max-size=2147483648, max-age="));
    let upload = tus::upload(&answer);
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(
        (track["sha256"].as_str(), track["size"].as_u64()),
        (Some(&*tus::sha256(&bytes)), Some(bytes.len() as u64))
    );
    app.until_clean().await;
}

#[tokio::test]
async fn a_whole_file_of_unknown_length() {
    let app = App::start().await;
    let bytes = noise(MIB + 3, 32);
    let post = request(&app, Method::POST, "/files").header("Upload-Complete", "?1").body(chunked(&bytes));
    let answer = post.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), text(&answer, "upload-complete")), (201, "?1"));
    let upload = tus::upload(&answer);
    assert_eq!(text(&ietf::head(&app, &upload).await, "upload-length"), bytes.len().to_string());
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
}

#[tokio::test]
async fn some_of_it_or_none_and_the_rest_by_append() {
    let app = App::start().await;
    let bytes = noise(300_000, 33);
    for first in [0, 100_000] {
        let post = request(&app, Method::POST, "/files").header("Upload-Complete", "?0");
        let answer = post.header("Upload-Length", bytes.len()).body(bytes[..first].to_vec()).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), text(&answer, "upload-complete")), (201, "?0"));
        assert_eq!(text(&answer, "upload-offset"), first.to_string());
        assert!(!text(&answer, "upload-limit").is_empty());
        let upload = tus::upload(&answer);
        assert_eq!(ietf::offset(&app, &upload).await, (first as u64, false));
        assert_eq!(ietf::append(&app, &upload, first as u64, true, &bytes[first..]).await.status(), 201);
        let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
        assert_eq!(track["sha256"], tus::sha256(&bytes));
    }
    app.until_clean().await;
}

#[tokio::test]
async fn an_empty_file_is_complete_only_when_that_is_said() {
    let app = App::start().await;
    let post = |complete: &'static str| request(&app, Method::POST, "/files").header("Upload-Complete", complete);
    let answer = post("?1").header("Upload-Length", "0").body("").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), text(&answer, "upload-complete")), (201, "?1"));
    let track = app.settled(&tus::upload(&answer).track).await;
    assert_eq!(track["error"]["code"], "empty_media", "{track}");
    let open = tus::upload(&post("?0").header("Upload-Length", "0").send().await.unwrap());
    assert_eq!(ietf::offset(&app, &open).await, (0, false));
    assert_eq!(ietf::append(&app, &open, 0, true, b"").await.status(), 201);
    assert_eq!(ietf::offset(&app, &open).await, (0, true));
}

#[tokio::test]
async fn the_files_name_and_type_are_told_by_the_usual_fields() {
    let app = App::start().await;
    let post = request(&app, Method::POST, "/files").header("Upload-Complete", "?0");
    let named = "inline; filename=\"take.flac\"; filename*=UTF-8''%C3%86r%C3%B8%20%E2%80%93%20take%202.flac";
    let answer = post.header("Content-Disposition", named).header("Content-Type", "audio/flac").send().await.unwrap();
    let upload = tus::upload(&answer);
    assert_eq!(app.track(&upload.track).await["title"], "Ærø – take 2");
    let as_tus = tus::head(&app, &upload).await;
    let said = tus::metadata(&[("filename", "Ærø – take 2.flac"), ("filetype", "audio/flac")]);
    assert_eq!(text(&as_tus, "upload-metadata"), said, "the other door tells the same");
    // What this draft has no field for may be told as in tus.
    let more = tus::metadata(&[("title", "Another")]);
    let post = request(&app, Method::POST, "/files").header("Upload-Complete", "?0").header("Upload-Metadata", more);
    let upload = tus::upload(&post.header("Content-Disposition", named).send().await.unwrap());
    assert_eq!(app.track(&upload.track).await["title"], "Another");
}

#[tokio::test]
async fn bad_creations_get_a_reason_and_leave_no_row() {
    let app = App::with(&[("UPLOAD_MAX_BYTES", "1MiB")]).await;
    let post = || request(&app, Method::POST, "/files");
    let last = || post().header("Upload-Complete", "?1");
    let more = || post().header("Upload-Complete", "?0");
    let inconsistent = "inconsistent_upload_length";
    let cases = [
        (post(), 400, "complete_required"),
        (post().header("Upload-Complete", "true"), 400, "complete_required"),
        (post().header("Upload-Complete", "1"), 400, "complete_required"),
        (last().header("Upload-Length", "100").body("hello"), 400, inconsistent),
        (last().header("Upload-Length", "4").body("hello"), 400, inconsistent),
        (more().header("Upload-Length", "4").body("hello"), 400, inconsistent),
        (more().header("Upload-Length", "1048577"), 413, "upload_too_large"),
        (last().body(vec![0; MIB + 1]), 413, "upload_too_large"),
        (more().body(vec![0; MIB + 1]), 413, "upload_too_large"),
        (last().header("Content-Digest", "sha-256=:AAAA:").body("hello"), 400, "bad_digest"),
        (last().header("Repr-Digest", "sha-256=1").body("hello"), 400, "bad_digest"),
        (more().header("Upload-Metadata", "filename ???"), 400, "bad_metadata"),
    ];
    for (n, (case, status, code)) in cases.into_iter().enumerate() {
        let answer = case.send().await.unwrap();
        assert_eq!(text(&answer, "upload-complete"), "?0", "case {n}");
        assert_eq!(text(&answer, "upload-draft-interop-version"), "8", "case {n}");
        assert_eq!(text(&answer, "upload-limit"), "max-size=1048576", "case {n}");
        let (told, problem) = problem(answer).await;
        assert_eq!((told, problem["code"].as_str()), (status, Some(code)), "case {n}: {problem}");
        let kind =
            if code == inconsistent { format!("{TYPES}inconsistent-upload-length") } else { "about:blank".into() };
        assert_eq!(problem["type"], kind, "case {n}");
        assert!(problem["request_id"].is_string());
    }
    assert_eq!(app.ask("SELECT count(*) FROM uploads").await, 0);
    let exact = last().body(vec![0; MIB]).send().await.unwrap();
    assert_eq!(exact.status(), 201, "exactly the limit is accepted");
}

#[tokio::test]
async fn the_limit_holds_for_bytes_that_nobody_announced() {
    let app = App::with(&[("UPLOAD_MAX_BYTES", "1MiB")]).await;
    for complete in ["?1", "?0"] {
        let post = request(&app, Method::POST, "/files").header("Upload-Complete", complete);
        let answer = post.body(chunked(&noise(MIB + 1, 34))).send().await.unwrap();
        assert!(text(&answer, "upload-limit").starts_with("max-size=1048576"));
        let (status, problem) = problem(answer).await;
        assert_eq!((status, &problem["code"]), (413, &Value::from("upload_too_large")), "{complete}");
    }
    assert!(app.files("objects/tracks").is_empty());
}

#[tokio::test]
async fn a_length_of_another_type_is_as_if_absent() {
    let app = App::start().await;
    for length in ["\"5\"", "5.0", "-5", "?1", "5, 5"] {
        let post = request(&app, Method::POST, "/files").header("Upload-Complete", "?0");
        let upload = tus::upload(&post.header("Upload-Length", length).send().await.unwrap());
        assert_eq!(text(&ietf::head(&app, &upload).await, "upload-length"), "", "{length}");
    }
}

#[tokio::test]
async fn who_may_not_upload_is_told_before_it_sends() {
    let app = App::start().await;
    let post = app.http.post(app.url("/files")).header("Upload-Complete", "?1").body("hello");
    assert_eq!(post.send().await.unwrap().status(), 401);
    let app = App::with(&[("UPLOAD_MAX_BYTES", "1MiB")]).await;
    let fields = ["Upload-Complete: ?1", "Expect: 100-continue", "Content-Length: 1048577"];
    let mut socket = Raw::begin(&app, "POST /files", &fields);
    let (interim, answer) = socket.end();
    assert_eq!((interim.len(), answer.status), (0, 413), "no 100 (Continue)");
}

#[tokio::test]
async fn a_broken_creation_keeps_what_came_and_is_never_complete() {
    let app = App::start().await;
    let bytes = noise(3 * MIB, 35);
    let announced = format!("Content-Length: {}", bytes.len());
    for fields in [[&*announced, "Upload-Complete: ?1"], ["Transfer-Encoding: chunked", "Upload-Complete: ?1"]] {
        let fields = [fields[0], fields[1], "Upload-Draft-Interop-Version: 8"];
        let mut socket = Raw::begin(&app, "POST /files", &fields);
        let path = socket.hear().field("location").unwrap().to_owned();
        if fields[0].starts_with("Transfer") {
            socket.say(format!("{:x}\r\n", bytes.len()).as_bytes());
        }
        socket.say(&bytes[..2 * MIB]);
        drop(socket);
        let upload = tus::Upload { path, track: String::new() };
        let begun = std::time::Instant::now();
        let (mut at, mut complete) = ietf::offset(&app, &upload).await;
        // HEAD stops what still runs, so bytes on their way may be left out: but never put back.
        assert!(!complete && at <= 2 * MIB as u64);
        while at < bytes.len() as u64 {
            assert!(begun.elapsed() < crate::support::app::PATIENCE);
            let answer = ietf::append(&app, &upload, at, true, &bytes[at as usize..]).await;
            assert_eq!(answer.status(), 201);
            (at, complete) = ietf::offset(&app, &upload).await;
        }
        assert!(complete);
        let track = text(&ietf::head(&app, &upload).await, "millrace-track").to_owned();
        let track = app.track_when(&track, "stored", |t| t["stored"] == true).await;
        assert_eq!(track["sha256"], tus::sha256(&bytes));
    }
}
